//! [`Delivery`]: a message as received this time.

use sluicegate_envelope::Envelope;
use tokio::time::Instant;

/// A message as received this time.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub(crate) envelope: Envelope,
    pub(crate) receive_count: u32,
    pub(crate) queue: String,
    pub(crate) group: Option<String>,
    pub(crate) deadline: Instant,
}

impl Delivery {
    /// The event. For a raw message of RabbitMQ it is made up: see the [crate's documentation](crate).
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// How often the message was received, this time included. Receives that never reached the function count too.
    #[must_use]
    pub fn receive_count(&self) -> u32 {
        self.receive_count
    }

    /// The name of the queue it came from.
    #[must_use]
    pub fn queue(&self) -> &str {
        &self.queue
    }

    /// The group it was sent with: what orders a FIFO queue, the tenant on a fair one. The event's own, as its sender
    /// wrote it; the broker's if the event names none.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// When the handler is cancelled and the message counts as [`Outcome::Retry`](crate::Outcome::Retry).
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }
}
