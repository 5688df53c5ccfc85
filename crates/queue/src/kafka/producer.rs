//! [`KafkaProducer`]: sends envelopes to a topic.
//!
//! The value of a record is the event as JSON (structured mode). Each context attribute is a header too, under `ce_`,
//! as the Kafka binding names them, so that a consumer can choose records without parsing them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>). Messages
//! with one key are in one partition, in the order in which they were sent.

use futures_util::future::join_all;
use sluicegate_envelope::Envelope;
use tokio::time::Instant;

use super::cluster::{Cluster, Topic, late};
use super::partition_writer::Handed;
use super::partitioner::partition_of;
use super::record::Record;
use crate::{Destination, Message, Producer, Receipt, RecordKey, SendError};

/// The media type of the value.
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The header with the media type of the value.
pub const CONTENT_TYPE_HEADER: &str = "content-type";

/// The prefix of the header of an attribute.
pub const ATTRIBUTE_PREFIX: &str = "ce_";

/// The attribute that the binding has in the header `content-type` only.
const DATACONTENTTYPE: &str = "datacontenttype";

/// The largest record, in bytes, with its key and headers: somewhat less than the default of
/// `socket.request.max.bytes`, beyond which a broker closes the connection. The limit of a topic,
/// `max.message.bytes`, is 1 MiB by default, and the broker reports it.
pub const RECORD_BYTES_MAX: usize = 100 * 1024 * 1024 - 64 * 1024;

/// A producer for one topic. A record without a key goes to any partition that has a leader.
#[derive(Clone)]
pub struct KafkaProducer {
    cluster: Cluster,
    topic: String,
    key: RecordKey,
}

impl KafkaProducer {
    /// Creates a producer for `topic`, whose records have the group as their key. All producers of one cluster share
    /// its connections.
    #[must_use]
    pub fn new(cluster: Cluster, topic: impl Into<String>) -> Self {
        Self { cluster, topic: topic.into(), key: RecordKey::default() }
    }

    /// Sets the key of the records.
    #[must_use]
    pub fn with_key(self, key: RecordKey) -> Self {
        Self { key, ..self }
    }

    /// Hands a message to the writer of its partition, which is `keyless` if the message has no key.
    fn hand(&self, message: &Message<'_>, topic: &Topic, keyless: i32) -> Result<(i32, Handed), SendError> {
        if !message.delay.is_zero() {
            // The route sets the delay, not the message.
            let reason = "Kafka does not delay messages".to_owned();
            return Err(SendError::Refused { reason, message_at_fault: false });
        }
        let key = self.key.render(message);
        let key = key.as_ref().map(|key| key.as_bytes());
        let value = message.envelope.encode();
        let headers = event_headers(message.envelope);
        let headers = headers.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes())));
        let record = Record::new(key, Some(value.as_bytes()), headers);
        self.cluster.hand(&self.topic, topic, key, record, || keyless)
    }
}

impl Cluster {
    /// Hands a record to the writer of its partition: that of its key, or else `keyless`.
    pub(super) fn hand(
        &self,
        name: &str,
        topic: &Topic,
        key: Option<&[u8]>,
        record: Record,
        keyless: impl FnOnce() -> i32,
    ) -> Result<(i32, Handed), SendError> {
        let bytes = record.bytes_max();
        if bytes > RECORD_BYTES_MAX {
            return Err(SendError::TooLarge { bytes, bytes_max: RECORD_BYTES_MAX });
        }
        let partition = match key {
            // The topic has at least one partition.
            Some(key) => topic.partitions[partition_of(key, topic.partitions.len())].index,
            None => keyless(),
        };
        Ok((partition, self.writer(name, partition).hand(record)))
    }
}

impl Producer for KafkaProducer {
    fn destination(&self) -> Option<Destination<'_>> {
        Some(Destination { system: "kafka", name: Some(&self.topic) })
    }

    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let missing = || Err(SendError::Unknown { reason: "the producer has no result".to_owned() });
        self.send_all(std::slice::from_ref(message), deadline).await.pop().unwrap_or_else(missing)
    }

    /// Hands messages over one after the other, those without a key to one partition, and awaits their results
    /// together.
    async fn send_all(&self, messages: &[Message<'_>], deadline: Instant) -> Vec<Result<Receipt, SendError>> {
        let topic = match self.cluster.topic(&self.topic, deadline).await {
            _ if Instant::now() >= deadline => Err(late()),
            topic => topic,
        };
        let topic = match topic {
            Ok(topic) => topic,
            Err(error) => return vec![Err(error); messages.len()],
        };
        let keyless = any_partition(&topic);
        let handed: Vec<_> = messages.iter().map(|message| self.hand(message, &topic, keyless)).collect();
        join_all(messages.iter().zip(handed).map(async |(message, handed)| {
            let (partition, handed) = handed?;
            let offset = handed.appended(deadline).await?;
            Ok(receipt(message.envelope.id().to_owned(), partition, offset))
        }))
        .await
    }
}

/// Returns the receipt of a record at this place.
pub(super) fn receipt(id: String, partition: i32, offset: Option<i64>) -> Receipt {
    let offset = offset.map(|offset| offset.to_string()).unwrap_or_default();
    Receipt { id, broker_id: format!("{partition}:{offset}") }
}

/// Returns a partition that has a leader, or the first while none has.
pub(super) fn any_partition(topic: &Topic) -> i32 {
    let led = topic.partitions.iter().filter(|partition| partition.leader.is_some());
    let led: Vec<_> = led.map(|partition| partition.index).collect();
    fastrand::choice(led).unwrap_or_default()
}

/// Returns the headers of the record of an event: those that the Kafka binding defines, and the trace.
#[must_use]
pub fn event_headers(envelope: &Envelope) -> Vec<(String, String)> {
    let mut headers = vec![(CONTENT_TYPE_HEADER.to_owned(), CONTENT_TYPE.to_owned())];
    let attributes = envelope.attributes().filter(|(name, _)| *name != DATACONTENTTYPE);
    headers.extend(attributes.map(|(name, value)| (format!("{ATTRIBUTE_PREFIX}{name}"), value.into_owned())));
    for (name, value) in [("traceparent", envelope.traceparent()), ("tracestate", envelope.tracestate())] {
        headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    headers
}
