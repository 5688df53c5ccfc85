//! [`Outcome`]: what a handler decides about a delivery. Nothing else decides, and nobody reads error texts.

use std::time::Duration;

/// What becomes of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done; the message is deleted.
    Done,
    /// Try again after a backoff. When the queue's `maxReceiveCount` (SQS) or the consumer's most receives (RabbitMQ) are used up,
    /// the message goes to its dead-letter queue.
    Retry,
    /// Try again after exactly this long, rounded up to whole seconds, at most about 11.5 hours (SQS); or after the shortest step
    /// of the retry ladder that is at least this long, or its longest (RabbitMQ).
    RetryAfter(Duration),
    /// Trying again is pointless: the message goes to the dead-letter queue now, with this reason, which is also logged. It
    /// should name no payload.
    Reject(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done
    }
}
