//! [`SendError`]: what a caller may conclude when there is no receipt.
//!
//! The variants are conclusions, not causes: what matters is whether the message can be on the queue. `Display` is for the
//! log, with the whole chain of causes; clients are shown [`SendError::client_text`], which says nothing about the inside.

use std::error::Error;
use std::time::Duration;

/// What a client should wait after a failure that passes by itself.
const RETRY_AFTER_PASSING: Duration = Duration::from_secs(2);

/// What a client should wait when an operator has to act first.
const RETRY_AFTER_OPERATOR: Duration = Duration::from_secs(30);

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The message is surely not on the queue. Sending it again is safe.
    #[error("not sent: {reason}")]
    NotSent {
        /// For the log.
        reason: String,
    },
    /// The message may be on the queue or not. Sending it again under the same envelope id is right, and may store it twice.
    #[error("perhaps sent: {reason}")]
    Unknown {
        /// For the log.
        reason: String,
    },
    /// The broker took the message and had no queue to put it on: it is surely on none. Sending it again is safe, and changes
    /// nothing until an operator binds a queue.
    #[error("unroutable: {reason}")]
    Unroutable {
        /// For the log.
        reason: String,
    },
    /// The message is surely not on the queue, and sending it again changes nothing.
    #[error("refused: {reason}")]
    Refused {
        /// For the log.
        reason: String,
        /// True when this very message breaks a limit of the broker; false when the queue is missing, forbidden or misconfigured,
        /// which an operator can mend.
        message_at_fault: bool,
    },
}

impl SendError {
    /// Text fit for a client: nothing internal.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::NotSent { .. } => "The message was not stored. Send it again.",
            Self::Unknown { .. } => {
                "The message may not have been stored. Send it again with the same idempotency key."
            }
            Self::Refused { message_at_fault: true, .. } => "The queue cannot carry this message.",
            Self::Unroutable { .. } | Self::Refused { message_at_fault: false, .. } => {
                "The queue does not take messages at the moment."
            }
        }
    }

    /// How long a client should wait before the next try.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::NotSent { .. } | Self::Unknown { .. } => RETRY_AFTER_PASSING,
            Self::Unroutable { .. } | Self::Refused { .. } => RETRY_AFTER_OPERATOR,
        }
    }
}

/// An error with its causes, for the log. The `Display` of most libraries' errors stops at the first.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
