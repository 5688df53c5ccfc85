//! [`DeadLetter`]: a message in a dead-letter queue, the same whichever broker holds it.

use std::collections::BTreeMap;

use sluicegate_envelope::Envelope;
use time::OffsetDateTime;

/// A message that was given up on. What the envelope says is there if the body is one of ours; a body that is not is still
/// listed, shown and redriven byte for byte.
#[derive(Clone, Debug, Default)]
pub struct DeadLetter {
    /// Names the message to the [`DeadLetterQueue`](crate::DeadLetterQueue) that took it; means nothing to another.
    pub handle: u64,
    /// The envelope's id, or else the broker's.
    pub id: String,
    /// The broker's own id; empty on RabbitMQ.
    pub broker_id: String,
    /// The envelope's `type`.
    pub event_type: Option<String>,
    /// The envelope's `time`, or else when the broker took the message first.
    pub time: Option<OffsetDateTime>,
    /// When it came into the dead-letter queue, if the broker tells.
    pub dead_lettered_at: Option<OffsetDateTime>,
    /// Why it was given up on: the consumer's `sluicegate-reason`, or what the broker says.
    pub reason: String,
    /// The queue it came from: a name on RabbitMQ, an ARN on SQS. None if nobody recorded it.
    pub source_queue: Option<String>,
    /// How often it had been received there, if somebody recorded it.
    pub receive_count: Option<u32>,
    /// How often it was redriven before ([`REDRIVES`](crate::REDRIVES)).
    pub redrives: u32,
    /// Its message group.
    pub group: Option<String>,
    /// The body as it is stored: the text of an SQS message, the bytes of an AMQP one.
    pub body: Vec<u8>,
    /// Everything else that is kept with it, for people: message attributes, headers, properties. Binary values as base64.
    pub attributes: BTreeMap<String, String>,
}

impl DeadLetter {
    /// When it was given up on, or if the broker does not tell, when it was made.
    #[must_use]
    pub fn moment(&self) -> Option<OffsetDateTime> {
        self.dead_lettered_at.or(self.time)
    }

    /// The envelope, if the body is one.
    #[must_use]
    pub fn envelope(&self) -> Option<Envelope> {
        Envelope::decode(std::str::from_utf8(&self.body).ok()?).ok()
    }
}
