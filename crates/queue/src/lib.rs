//! Sends envelopes to a queue. A result states what the caller may conclude: stored, not sent, unknown or refused.
//!
//! A [`Receipt`] proves that the broker stored the message. A [`SendError`] says whether the message is not on the
//! queue, may be on it, or cannot get there.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sluicegate_envelope::Envelope;
//! use sluicegate_queue::sqs::{AwsEnvironment, SqsProducer};
//! use sluicegate_queue::{Message, Producer, SendError};
//! use tokio::time::Instant;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = AwsEnvironment::read(|name| std::env::var(name).ok())?;
//! let orders = SqsProducer::new(&environment, "https://sqs.eu-west-1.amazonaws.com/123456789012/orders");
//! let order = Envelope::builder("o-1", "/orders", "order.placed").payload(Some("application/json"), "{}").build()?;
//!
//! match orders.send(&Message::new(&order), Instant::now() + Duration::from_secs(5)).await {
//!     Ok(receipt) => println!("stored as {}", receipt.broker_id),
//!     Err(SendError::Unknown { reason }) => println!("may be stored, send it again under the same id: {reason}"),
//!     Err(error) => println!("not stored: {error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each broker is a module behind a feature: `sqs` (default), `rabbitmq` and `kafka`. Each offers a producer for
//! envelopes and a confirmed store of a raw message, which the consumer and the dead-letter tool use:
//! `sqs::SqsClient::send`, `rabbitmq::Broker::publish` and `kafka::Cluster::publish`. With the feature `sdk`, which
//! only the command has, `sqs::store` sends through a client of the SDK.
//!
//! With the feature `s3`, an envelope that is larger than SQS accepts can go to S3, with a pointer to it on the queue:
//! `sqs::PayloadStore`.
//!
//! Names that several crates share are spelled here once: [`queue_names`] for retry and dead-letter queues,
//! [`dead_letter`] for the attributes of dead letters, and [`Binding`] for the variables that bind a queue. [`breaker`]
//! keeps calls away from a service that fails: the ingress's from a broker, a handler's from what it calls.

#[cfg(feature = "aws")]
pub mod aws;
mod binding;
pub mod breaker;
pub mod broker_url;
pub mod dead_letter;
mod error;
#[cfg(feature = "kafka")]
pub mod kafka;
mod key_template;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod login;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod moment;
mod ordering;
pub mod queue_names;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod record_key;
mod routing_key;
#[cfg(feature = "sqs")]
pub mod sqs;

use std::future::Future;
use std::time::Duration;

use sluicegate_envelope::Envelope;

pub use binding::{Binding, BindingError, TOPIC_BYTES_MAX};
pub use error::{SendError, chain};
pub use ordering::ordering_groups;
pub use record_key::RecordKey;
pub use routing_key::{ROUTING_KEY_BYTES_MAX, RoutingKey};

/// An envelope to send, with its delivery options.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The envelope to store.
    pub envelope: &'a Envelope,
    /// The group: it orders messages on a FIFO queue, is the key of a Kafka record unless its [`RecordKey`] has other
    /// values, and shares a standard queue fairly. Any text; characters that the broker does not allow are encoded.
    /// Empty means none.
    pub group: Option<&'a str>,
    /// How long the message is hidden at first, rounded up to whole seconds.
    pub delay: Duration,
    /// An X-Ray trace header (`Root=…;Parent=…;Sampled=…`) that is sent beside the message and joins the consumer's
    /// trace.
    pub trace_header: Option<&'a str>,
    /// Whether an envelope that is larger than the queue accepts may be stored beside the queue, with a pointer to it
    /// on the queue. A producer without such a store refuses it as [`SendError::TooLarge`].
    pub may_be_pointer: bool,
}

impl<'a> Message<'a> {
    /// Creates a message in the envelope's own group, without a delay.
    #[must_use]
    pub fn new(envelope: &'a Envelope) -> Self {
        Self { envelope, group: envelope.group(), delay: Duration::ZERO, trace_header: None, may_be_pointer: false }
    }
}

/// Proof that the broker stored the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The envelope's id, which clients receive.
    pub id: String,
    /// The broker's id of the stored message: on Kafka the partition and the offset, as in `3:42`; empty for RabbitMQ,
    /// which assigns none.
    pub broker_id: String,
}

/// Where a producer sends, as spans name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination<'a> {
    /// The broker, as the semantic conventions of OpenTelemetry name it.
    pub system: &'static str,
    /// The name of the queue, topic or exchange; `None` for RabbitMQ's default exchange, whose routing key names the
    /// queue.
    pub name: Option<&'a str>,
}

/// A queue that accepts messages.
pub trait Producer: Send + Sync {
    /// Returns where messages go, if the producer has a broker.
    fn destination(&self) -> Option<Destination<'_>> {
        None
    }

    /// Checks what the producer can know before it sends: the limits of the broker, as far as they are the same for
    /// every queue.
    ///
    /// # Errors
    /// What [`send`](Self::send) would refuse at once.
    fn check(&self, _message: &Message<'_>) -> Result<(), SendError> {
        Ok(())
    }

    /// Sends one message and waits until the broker has stored it, but not past `deadline`.
    ///
    /// A producer retries failed attempts, so a message may be stored twice, under the same envelope id.
    ///
    /// # Errors
    /// What the caller may conclude, as a [`SendError`].
    fn send(
        &self,
        message: &Message<'_>,
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Result<Receipt, SendError>> + Send;

    /// Sends messages in order, and returns the result of each. One that fails does not affect the others.
    fn send_all(
        &self,
        messages: &[Message<'_>],
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Vec<Result<Receipt, SendError>>> + Send {
        async move {
            let mut results = Vec::with_capacity(messages.len());
            for message in messages {
                results.push(self.send(message, deadline).await);
            }
            results
        }
    }
}
