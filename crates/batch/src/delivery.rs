//! [`Delivery`]: one receive of a message.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use sluicegate_envelope::Envelope;
use sluicegate_idempotency::{AnyStore, Lease};
#[cfg(feature = "dynamodb")]
use sluicegate_idempotency::{StoreError, TransactWrite, TransactionError};
use tokio::time::Instant;

use crate::source::adapter::ReceivedMessage;

/// A received message, as a handler gets it.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) envelope: Envelope,
    pub(crate) receive_count: u32,
    pub(crate) queue: String,
    pub(crate) group: Option<String>,
    pub(crate) message_attributes: BTreeMap<String, String>,
    pub(crate) deadline: Instant,
    /// Set once the key of the message is claimed.
    pub(crate) claimed: OnceLock<Claimed>,
    pub(crate) result: OnceLock<String>,
    #[cfg(feature = "kafka")]
    pub(crate) kafka_record: Option<Arc<crate::KafkaRecord>>,
}

/// The claim of a message's key.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) lease: Lease,
    /// The store of the lease; `None` in a test of a handler.
    #[cfg_attr(not(feature = "dynamodb"), expect(dead_code, reason = "a transaction needs DynamoDB"))]
    pub(crate) store: Option<Arc<AnyStore>>,
}

impl Delivery {
    /// Creates the delivery of a message whose handler has until `deadline`. Its group is the envelope's, or else the
    /// broker's, which may be a hash, because SQS does not accept every text.
    pub(crate) fn new(
        envelope: Envelope,
        message: &ReceivedMessage<'_>,
        message_attributes: BTreeMap<String, String>,
        deadline: Instant,
    ) -> Self {
        Self {
            group: envelope.group().or(message.group.as_deref()).map(str::to_owned),
            envelope,
            receive_count: message.receive_count,
            queue: message.queue.to_owned(),
            message_attributes,
            deadline,
            claimed: OnceLock::new(),
            result: OnceLock::new(),
            #[cfg(feature = "kafka")]
            kafka_record: None,
        }
    }

    /// Returns the event. For a raw message it is created: see the [crate's documentation](crate).
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Returns how often the message was received, this time included. Receives that did not reach the function count
    /// too.
    #[must_use]
    pub fn receive_count(&self) -> u32 {
        self.receive_count
    }

    /// Returns the name of the queue, on Kafka that of the topic.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// Returns the group of the message, which orders a FIFO queue and names the tenant on a fair one: the event's own
    /// as its sender wrote it, or else the broker's.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// Returns a message attribute of SQS: its text, the digits of a number, or binary data in base64. A message of
    /// RabbitMQ or Kafka has none.
    #[must_use]
    pub fn message_attribute(&self, name: &str) -> Option<&str> {
        self.message_attributes.get(name).map(String::as_str)
    }

    /// Returns the topic, partition and offset of a message of Kafka, with its key and headers. `None` for a message of
    /// another broker.
    #[cfg(feature = "kafka")]
    #[must_use]
    pub fn kafka_record(&self) -> Option<&crate::KafkaRecord> {
        self.kafka_record.as_deref()
    }

    /// Returns whether `sluicegate replay` sent the event again from the archive. [`Envelope::replay_id`] names the
    /// replay. A handler whose effect must not happen again, such as a mail, leaves it out for a replay.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.envelope.replay_id().is_some()
    }

    /// Returns when the handler is cancelled and the message counts as [`Outcome::Retry`](crate::Outcome::Retry).
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the lease of a message with an [`IdempotencyRule`](crate::IdempotencyRule), with which a handler can
    /// complete the record of the message in the transaction of its effect. `None` if the type has no rule, or if the
    /// store failed and the rule is open then.
    #[must_use]
    pub fn lease(&self) -> Option<&Lease> {
        self.claimed.get().map(|claimed| &claimed.lease)
    }

    /// Carries out writes in DynamoDB and completes the record of the message, in one transaction: the effect happens
    /// once, also if the function is killed at any point. The handler then returns
    /// [`Outcome::Done`](crate::Outcome::Done).
    ///
    /// # Errors
    /// [`TransactionError`]. An error that the handler passes on with `?` is retried; if the condition of a write is
    /// false, the handler may know that a retry is useless. Without a [`lease`](Self::lease), nothing is written.
    #[cfg(feature = "dynamodb")]
    pub async fn complete_with(&self, writes: Vec<TransactWrite>) -> Result<(), TransactionError> {
        let Some(Claimed { lease, store: Some(store) }) = self.claimed.get() else {
            let text =
                "the message has no lease: give its type a rule with `idempotency_for`, and not one that is open";
            return Err(StoreError::Refused(text.to_owned()).into());
        };
        store.complete_with(lease, &crate::idempotency::stored_result(self), writes, self.deadline).await
    }
}
