//! [`Error`]: where a message is after a failed operation on it.
//!
//! The variants are conclusions, not causes, and use the terms of `sluicegate_queue::SendError`. In every case the
//! message is still in the dead-letter queue, or may be.

#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
use sluicegate_queue::SendError;

/// A failed operation on a dead-letter queue or on a message in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker could not be reached, or refused for a reason that is not the message's. Nothing was moved.
    #[error("{0}")]
    Broker(String),
    /// The message was not sent and is where it was.
    #[error("{id}: {reason}")]
    NotSent {
        /// The message's id.
        id: String,
        /// The cause.
        reason: String,
    },
    /// The message is in the dead-letter queue, or may be, and may be stored at its destination as well.
    #[error("{id}: {reason}")]
    Unknown {
        /// The message's id.
        id: String,
        /// The cause.
        reason: String,
    },
}

impl Error {
    /// Returns [`Error::NotSent`] for the message `id`.
    pub(crate) fn not_sent(id: &str, reason: impl Into<String>) -> Self {
        Self::NotSent { id: id.to_owned(), reason: reason.into() }
    }

    /// Returns the result of a send of the message `id` without a receipt. `destination` is a text, such as "the queue
    /// orders".
    #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
    pub(crate) fn of_send(id: &str, destination: &str, error: SendError) -> Self {
        match error {
            SendError::Unroutable { .. } => Self::not_sent(id, format!("{destination} does not exist")),
            SendError::Refused { message_at_fault: true, reason } => Self::not_sent(id, reason),
            too_large @ SendError::TooLarge { .. } => Self::not_sent(id, too_large.to_string()),
            SendError::Unknown { reason } => {
                Self::unknown(id, format!("it is perhaps in {destination} as well: {reason}"))
            }
            other => Self::Broker(format!("{destination}: {other}")),
        }
    }

    /// Returns [`Error::Unknown`] for the message `id`.
    pub(crate) fn unknown(id: &str, reason: impl Into<String>) -> Self {
        Self::Unknown { id: id.to_owned(), reason: reason.into() }
    }
}
