//! The frames of AMQP 0-9-1 as the broker reads and writes them.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, gen_frame, parse_frame};
use amq_protocol::protocol::AMQPClass;
use lapin::BasicProperties;

/// The largest frame, in bytes: an eighth of RabbitMQ's default (<https://www.rabbitmq.com/docs/configure#config-items>),
/// because each connection of the client has buffers for 64 of them (lapin 4.12.3, `io_loop.rs`), and frozen
/// environments keep theirs.
pub(super) const FRAME_BYTES_MAX: u32 = 16_384;

/// Bytes of a frame around its payload: AMQP 0-9-1, section 2.3.5.
const AROUND_BYTES: usize = 8;

/// The class of messages.
const BASIC: u16 = 60;

/// Bytes of a frame that was not read to its end.
#[derive(Default)]
pub(super) struct Reader(Vec<u8>);

impl Reader {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Returns the next frame that is complete.
    pub(super) fn next(&mut self) -> Option<AMQPFrame> {
        let (left, frame) = {
            let (rest, frame) = parse_frame(self.0.as_slice()).ok()?;
            (rest.len(), frame)
        };
        self.0.drain(..self.0.len() - left);
        Some(frame)
    }
}

/// Returns the bytes of a method.
pub(super) fn method(channel: u16, method: AMQPClass) -> Vec<u8> {
    bytes(&AMQPFrame::Method(channel, method))
}

/// Returns the bytes of a heartbeat.
pub(super) fn heartbeat() -> Vec<u8> {
    bytes(&AMQPFrame::Heartbeat)
}

/// Returns the bytes of a method with a message.
pub(super) fn content(channel: u16, method: AMQPClass, properties: BasicProperties, body: &[u8]) -> Vec<u8> {
    let mut all = self::method(channel, method);
    let header = AMQPContentHeader { class_id: BASIC, body_size: body.len() as u64, properties };
    all.extend(bytes(&AMQPFrame::Header(channel, header)));
    for part in body.chunks(FRAME_BYTES_MAX as usize - AROUND_BYTES) {
        all.extend(bytes(&AMQPFrame::Body(channel, part.to_vec())));
    }
    all
}

fn bytes(frame: &AMQPFrame) -> Vec<u8> {
    // Fails only if the writer does, which a `Vec` does not.
    gen_frame(frame)(Vec::new().into()).map(|context| context.into_inner().0).unwrap_or_default()
}
