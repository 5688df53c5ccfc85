//! Puts envelopes on a queue, and tells the caller exactly what may be concluded from the attempt.
//!
//! A [`Receipt`] means that the broker took responsibility for the message. Every failure is a [`SendError`], which says
//! whether the message is surely not on the queue, perhaps on it, or can never get there. Each broker is one file behind
//! one Cargo feature: `sqs` (default) and `rabbitmq`.

#[cfg(feature = "aws")]
pub mod aws;
mod binding;
pub mod dead_letter;
mod error;
mod ordering;
pub mod queue_names;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod routing_key;
#[cfg(feature = "sqs")]
pub mod sqs;

use std::future::Future;
use std::time::Duration;

use sluicegate_envelope::Envelope;

pub use binding::{Binding, BindingError};
pub use error::{SendError, chain};
pub use ordering::ordering_groups;
pub use routing_key::{ROUTING_KEY_BYTES_MAX, RoutingKey};

/// One envelope and how the broker is to treat it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What is stored.
    pub envelope: &'a Envelope,
    /// Orders messages of one group on a FIFO queue, and shares a standard queue fairly between groups. Any text; what the
    /// broker does not allow in a group is encoded. Empty means none.
    pub group: Option<&'a str>,
    /// How long the message stays hidden at first, rounded up to whole seconds.
    pub delay: Duration,
    /// An X-Ray trace header (`Root=…;Parent=…;Sampled=…`), carried beside the message so that the consumer's trace joins ours.
    pub trace_header: Option<&'a str>,
}

impl<'a> Message<'a> {
    /// A message in the envelope's own group, to be delivered at once.
    #[must_use]
    pub fn new(envelope: &'a Envelope) -> Self {
        Self { envelope, group: envelope.group(), delay: Duration::ZERO, trace_header: None }
    }
}

/// Proof that the broker stored the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The envelope's id: what the client is told.
    pub id: String,
    /// The broker's own id of the stored message; empty for RabbitMQ, which gives none.
    pub broker_id: String,
}

/// A queue that takes messages.
pub trait Producer: Send + Sync {
    /// Sends one message and waits until the broker has stored it, but never past `deadline`.
    ///
    /// A send is repeated by the producer where that is safe enough, so a message may be stored twice: always under the same
    /// envelope id.
    ///
    /// # Errors
    /// What the caller may conclude, as a [`SendError`].
    fn send(
        &self,
        message: &Message<'_>,
        deadline: tokio::time::Instant,
    ) -> impl Future<Output = Result<Receipt, SendError>> + Send;
}
