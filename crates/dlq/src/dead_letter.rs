//! [`DeadLetter`]: a message in a dead-letter queue, in the same form for every broker.

use std::collections::BTreeMap;

use sluicegate_envelope::Envelope;
use sluicegate_queue::sqs::Pointer;
use time::OffsetDateTime;

/// The reason of a dead letter that neither the consumer nor the broker moved.
pub(crate) const NOT_RECORDED: &str = "no reason recorded: another program stored it here";

/// A message in a dead-letter queue. The attributes of the envelope are set if the body is an envelope. Any other body
/// is also listed, shown and redriven byte for byte.
#[derive(Clone, Debug, Default)]
pub struct DeadLetter {
    /// Identifies the message within the [`DeadLetterQueue`](crate::DeadLetterQueue) that took it.
    pub handle: u64,
    /// The envelope's id, or else the broker's.
    pub id: String,
    /// The broker's id: on Kafka the place, `topic:partition:offset`; empty on RabbitMQ.
    pub broker_id: String,
    /// The envelope's `type`.
    pub event_type: Option<String>,
    /// The envelope's `time`, or else when the broker first received the message.
    pub time: Option<OffsetDateTime>,
    /// When the message entered the dead-letter queue, if the broker records it.
    pub dead_lettered_at: Option<OffsetDateTime>,
    /// The reason: the consumer's `sluicegate-reason`, or the broker's record.
    pub reason: String,
    /// The code of the rejection: the consumer's `sluicegate-code`. `None` if the consumer recorded none, or the broker
    /// moved the message.
    pub code: Option<String>,
    /// The queue the message came from: a name on RabbitMQ and Kafka, an ARN on SQS. `None` if not recorded.
    pub source_queue: Option<String>,
    /// How often the message was received from that queue, if recorded.
    pub receive_count: Option<u32>,
    /// How often the message was redriven before ([`REDRIVES`](crate::REDRIVES)).
    pub redrives: u32,
    /// Its message group; on Kafka the key, if it has one.
    pub group: Option<String>,
    /// The stored body: the text of an SQS message, the bytes of an AMQP message, the value of a record.
    pub body: Vec<u8>,
    /// Where the payload is, if the body is a pointer to it.
    pub pointer: Option<Pointer>,
    /// Message attributes, headers and properties, for display. Binary values are base64.
    pub attributes: BTreeMap<String, String>,
}

impl DeadLetter {
    /// Returns when the message was dead-lettered, or else when it was created.
    #[must_use]
    pub fn occurred_at(&self) -> Option<OffsetDateTime> {
        self.dead_lettered_at.or(self.time)
    }

    /// Returns the message with another body, and the attributes of the envelope that it is.
    #[must_use]
    pub fn with_body(self, body: Vec<u8>) -> Self {
        let letter = Self { body, ..self };
        let Some(envelope) = letter.envelope() else { return letter };
        Self {
            id: envelope.id().to_owned(),
            event_type: Some(envelope.event_type().to_owned()),
            time: envelope.time().or(letter.time),
            ..letter
        }
    }

    /// Returns the envelope, if the body is one.
    #[must_use]
    pub fn envelope(&self) -> Option<Envelope> {
        Envelope::decode(std::str::from_utf8(&self.body).ok()?).ok()
    }
}
