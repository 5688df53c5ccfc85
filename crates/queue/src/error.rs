//! [`SendError`]: what a caller may conclude from a send without a receipt.
//!
//! The variants are conclusions, not causes: they say whether the message can be on the queue. `Display` is for the log
//! and includes the chain of causes. [`SendError::client_text`] is for clients and reveals nothing internal.

use std::error::Error;
use std::time::Duration;

/// How long a client should wait after a temporary failure.
const RETRY_AFTER_TEMPORARY: Duration = Duration::from_secs(2);

/// How long a client should wait when an operator must act first.
const RETRY_AFTER_OPERATOR: Duration = Duration::from_secs(30);

/// A send without a receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message is not on the queue. Sending it again is safe.
    #[error("not sent: {reason}")]
    NotSent {
        /// For the log.
        reason: String,
    },
    /// The payload could not be stored beside the queue, so the message was not sent. Sending it again is safe.
    #[error("not sent: {reason}")]
    PayloadNotStored {
        /// For the log.
        reason: String,
    },
    /// The message may be on the queue. Send it again under the same envelope id; that may store it twice.
    #[error("perhaps sent: {reason}")]
    Unknown {
        /// For the log.
        reason: String,
    },
    /// No queue is bound for the message, so it was not stored. Sending it again is safe, and succeeds only after an
    /// operator has bound a queue.
    #[error("unroutable: {reason}")]
    Unroutable {
        /// For the log.
        reason: String,
    },
    /// The message is not on the queue, and sending it again does not change that.
    #[error("refused: {reason}")]
    Refused {
        /// For the log.
        reason: String,
        /// True when the message exceeds a limit of the broker; false when the queue is missing, forbidden or
        /// misconfigured, which an operator can fix.
        message_at_fault: bool,
    },
    /// The message is larger than the queue accepts. It is not on the queue, and sending it again does not change that.
    #[error("refused: the message has {bytes} bytes, and the queue accepts {bytes_max}")]
    TooLarge {
        /// Its size, with its envelope.
        bytes: usize,
        /// The largest size that the queue accepts.
        bytes_max: usize,
    },
}

impl SendError {
    /// Returns a text for clients, without anything internal.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::NotSent { .. } | Self::PayloadNotStored { .. } => "The message was not stored. Send it again.",
            Self::Unknown { .. } => {
                "The message may not have been stored. Send it again with the same idempotency key."
            }
            Self::Refused { message_at_fault: true, .. } => "The queue does not accept this message.",
            Self::TooLarge { .. } => "The queue does not accept a message of this size.",
            Self::Unroutable { .. } | Self::Refused { message_at_fault: false, .. } => {
                "The queue does not accept messages at the moment."
            }
        }
    }

    /// Returns how long a client should wait before it sends the message again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::NotSent { .. } | Self::PayloadNotStored { .. } | Self::Unknown { .. } => RETRY_AFTER_TEMPORARY,
            Self::Unroutable { .. } | Self::Refused { .. } | Self::TooLarge { .. } => RETRY_AFTER_OPERATOR,
        }
    }
}

/// Returns an error with its causes, for the log. The `Display` of most errors omits the causes.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
