//! [`IdempotencyRule`]: what makes two messages the same, and for how long.

use serde_json::Value;
use sluicegate_envelope::{deterministic_id, with_integers};

use crate::Delivery;

/// The fingerprint of every message of a rule where the key alone names the work.
const ANY_PAYLOAD: &str = "any";

/// How the messages of a type are handled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdempotencyRule {
    /// What makes two messages the same.
    pub key: IdempotencyKey,
    /// How many days a key is remembered, at least 1. Longer than a copy of a handled message may wait on a queue, or
    /// its sender repeats it.
    pub ttl_days: u16,
    /// Whether a message under a known key must have the type and the payload of the first, and is rejected otherwise.
    pub fingerprint: bool,
    /// What happens while the store fails.
    pub on_store_failure: OnStoreFailure,
}

/// What makes two messages the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdempotencyKey {
    /// The queue, and the source and the id of the event.
    Event,
    /// The queue, the type of the event, and the value at this JSON pointer (RFC 6901) in the payload: a text that is
    /// not empty, or a whole number. A message without one is rejected.
    Pointer(&'static str),
}

/// What happens while the store fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// The message is retried after the backoff of its type. It does not count as a failure of the message, so not
    /// towards the limit of an SQS FIFO queue, RabbitMQ or Kafka. The `maxReceiveCount` of a queue of SQS counts every
    /// receive, and in the last one the message is dead-lettered with this reason.
    Closed,
    /// The message is handled as without a rule, and an error is logged.
    Open,
}

impl Default for IdempotencyRule {
    /// Returns the rule of the event's own id, 7 days, and retries while the store fails.
    fn default() -> Self {
        Self { key: IdempotencyKey::Event, ttl_days: 7, fingerprint: true, on_store_failure: OnStoreFailure::Closed }
    }
}

impl IdempotencyRule {
    /// Returns what all messages under a key must have in common.
    pub(crate) fn fingerprint(&self, delivery: &Delivery) -> String {
        if !self.fingerprint {
            return ANY_PAYLOAD.to_owned();
        }
        let envelope = delivery.envelope();
        deterministic_id([envelope.event_type().as_bytes(), &envelope.payload()])
    }
}

/// A payload without the value that is its key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has no idempotency key: its payload has no text and no whole number at {pointer}")]
pub(crate) struct NoKey {
    pointer: &'static str,
}

impl IdempotencyKey {
    /// Returns the key of a message, of the same length for all: a hash, because names and values may be long or
    /// personal. The prefix keeps it apart from the keys that an ingress function has in the same table.
    pub(crate) fn of(self, delivery: &Delivery) -> Result<String, NoKey> {
        let envelope = delivery.envelope();
        let id = match self {
            Self::Event => deterministic_id(["event", delivery.queue(), envelope.source(), envelope.id()]),
            Self::Pointer(pointer) => {
                let value = value_at(&envelope.payload(), pointer).ok_or(NoKey { pointer })?;
                deterministic_id(["value", delivery.queue(), envelope.event_type(), pointer, &value])
            }
        };
        Ok(format!("message/{id}"))
    }
}

/// Returns the text or the whole number at a JSON pointer. `7.0` is the number 7, as it is to a handler.
fn value_at(payload: &[u8], pointer: &str) -> Option<String> {
    let value = |document: Value| match document.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    };
    value(serde_json::from_slice(payload).ok()?).or_else(|| value(with_integers(payload)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_differ_by_every_part() {
        let delivery = |id: &str, source: &str, queue: &str| {
            let envelope = sluicegate_envelope::Envelope::builder(id, source, "t").build().unwrap();
            crate::testing::delivery(envelope).queue(queue).build()
        };
        let long = "x".repeat(500);
        let parts = [("a", "/b", "c"), ("b", "/b", "c"), ("a", "/c", "c"), ("a", "/b", "d"), (&*long, "/b", &*long)];
        let keys: Vec<_> = parts
            .iter()
            .map(|(id, source, queue)| IdempotencyKey::Event.of(&delivery(id, source, queue)).unwrap())
            .collect();
        assert!(keys.iter().all(|key| key.len() == "message/".len() + 36 && key.starts_with("message/")), "{keys:?}");
        let mut different = keys.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), keys.len());
    }
}
