//! The properties of a consumer's copy: those of the message, with its id and receive count, and for a dead-letter
//! queue with the reason, its code and the source queue.

use sluicegate_queue::dead_letter::{CODE, REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE};
use sluicegate_queue::rabbitmq::types::{AMQPValue, FieldTable, ShortString};
use sluicegate_queue::rabbitmq::{BasicProperties, header as queue_header, republish};

use super::event::EventMessage;
use super::header;
use crate::Rejection;

/// Longest headers of a copy, in bytes. All properties must fit into one frame, 131,072 bytes by default, and the
/// others together are shorter than the difference (<https://www.rabbitmq.com/docs/configure#config-items>).
const HEADERS_BYTES_MAX: usize = 120_000;

/// Returns the properties for a copy of `message`, with the id `id` and the receive count `receive_count`. A
/// rejection is given for a dead-letter queue.
pub(super) fn properties(
    message: &EventMessage,
    id: &str,
    receive_count: u32,
    rejection: Option<&Rejection>,
) -> BasicProperties {
    let own = &message.properties;
    let mut copy = republish::properties(own, None).with_priority(own.priority().unwrap_or_default());
    if let Ok(id) = ShortString::try_new(id) {
        copy = copy.with_message_id(id);
    }
    copy = shorten(copy, id);
    copy = queue_header::with(copy, RECEIVE_COUNT, queue_header::from_count(receive_count));
    let Some(rejection) = rejection else { return copy };
    let reason: String = rejection.detail().chars().take(REASON_CHARS_MAX).collect();
    let source = format!("{}::{}", message.queue.name, message.queue.vhost.as_deref().unwrap_or("/"));
    copy = queue_header::with(copy, REASON, AMQPValue::LongString(reason.into()));
    copy = queue_header::with(copy, CODE, AMQPValue::LongString(rejection.code().into()));
    queue_header::with(copy, SOURCE, AMQPValue::LongString(source.into()))
}

/// Leaves out the largest headers while they exceed one frame. This is rare, because they arrived in one frame.
fn shorten(properties: BasicProperties, id: &str) -> BasicProperties {
    let fits = |headers: &FieldTable| header::table_bytes(headers) <= HEADERS_BYTES_MAX;
    let Some(headers) = properties.headers().as_ref().filter(|headers| !fits(headers)) else { return properties };
    let mut headers = headers.inner().clone();
    let bytes = |(name, value): (&ShortString, &AMQPValue)| 1 + name.as_str().len() + header::size_bytes(value);
    let mut total_bytes: usize = headers.iter().map(bytes).sum();
    while total_bytes > HEADERS_BYTES_MAX {
        let Some(largest) = headers.iter().max_by_key(|entry| bytes(*entry)).map(|(name, _)| name.clone()) else {
            break;
        };
        tracing::warn!(
            broker_id = id,
            header = largest.as_str(),
            "header not copied: all of them must fit into one frame"
        );
        total_bytes -= headers.remove_entry(&largest).map_or(0, |(name, value)| bytes((&name, &value)));
    }
    properties.with_headers(headers.into())
}
