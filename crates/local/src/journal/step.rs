//! [`MessageStep`]: what happened to a message, as JSON and as a line on the terminal.

use std::{fmt, num::NonZeroU8};

use serde::Serialize;
use serde_json::Value;
use time::{
    OffsetDateTime,
    format_description::well_known::iso8601::{Config, EncodedConfig, Iso8601, TimePrecision},
};

/// The time of a step: RFC 3339 with three digits of the second, so that the texts sort as the times.
const AT: EncodedConfig =
    Config::DEFAULT.set_time_precision(TimePrecision::Second { decimal_digits: NonZeroU8::new(3) }).encode();

/// A step of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
#[allow(missing_docs)] // Field names describe the fields.
pub enum MessageStep {
    /// The request, or this item of its batch, was refused, so there is no message.
    Refused { status: u16, code: Option<String> },
    /// The broker stored it.
    Accepted { queue: String },
    /// It was sent again, and the queue kept one copy.
    Repeated,
    /// A function received it.
    Delivered { queue: String, function: String, receive_count: u32 },
    /// The function processed it.
    Done,
    /// The function returned it to be retried after this delay.
    Retrying { visible_in_s: u32 },
    /// It returned to its queue and is visible again after its visibility timeout.
    Returned { reason: String },
    /// It was moved to a dead-letter queue, with the code of a rejection if it has one.
    DeadLettered {
        queue: String,
        reason: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// It was sent from a dead-letter queue, if it is known from which, back to a queue.
    Redriven {
        queue: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<String>,
    },
    /// A correction changed its id: the message `by` was redriven in its place.
    Replaced { by: String },
    /// No filter of the mapping matches, so it was deleted.
    FilteredOut { queue: String, function: String },
    /// It was too large for an event and was dropped.
    Dropped { queue: String, reason: String },
    /// Its retention period ended.
    Expired { queue: String },
    /// Its queue was purged or deleted.
    Purged { queue: String },
}

impl MessageStep {
    /// Returns the step's name, as in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Accepted { .. } => "accepted",
            Self::Repeated => "repeated",
            Self::Delivered { .. } => "delivered",
            Self::Done => "done",
            Self::Retrying { .. } => "retrying",
            Self::Returned { .. } => "returned",
            Self::DeadLettered { .. } => "dead-lettered",
            Self::Redriven { .. } => "redriven",
            Self::Replaced { .. } => "replaced",
            Self::FilteredOut { .. } => "filtered-out",
            Self::Dropped { .. } => "dropped",
            Self::Expired { .. } => "expired",
            Self::Purged { .. } => "purged",
        }
    }

    /// Returns the queue of the step, if it has one.
    pub(crate) fn queue(&self) -> Option<&str> {
        match self {
            Self::Accepted { queue }
            | Self::Delivered { queue, .. }
            | Self::DeadLettered { queue, .. }
            | Self::Redriven { queue, .. }
            | Self::FilteredOut { queue, .. }
            | Self::Dropped { queue, .. }
            | Self::Expired { queue }
            | Self::Purged { queue } => Some(queue),
            Self::Refused { .. }
            | Self::Repeated
            | Self::Done
            | Self::Retrying { .. }
            | Self::Returned { .. }
            | Self::Replaced { .. } => None,
        }
    }
}

/// Writes the step's details for a line on the terminal.
impl fmt::Display for MessageStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, code: Some(code) } => write!(out, "with {status} {code}"),
            Self::Refused { status, code: None } => write!(out, "with {status}"),
            Self::Accepted { queue } | Self::Redriven { queue, from: None } => write!(out, "into {queue}"),
            Self::Redriven { queue, from: Some(from) } => write!(out, "from {from} into {queue}"),
            Self::Replaced { by } => write!(out, "by {by}, which was redriven"),
            Self::Repeated => write!(out, "is already on the queue"),
            Self::Delivered { queue, function, receive_count } => {
                write!(out, "from {queue} to {function}, receive {receive_count}")
            }
            Self::Retrying { visible_in_s } => write!(out, "in {visible_in_s} s"),
            Self::Returned { reason } => write!(out, "to its queue: {reason}"),
            Self::DeadLettered { queue, reason, code: None } => write!(out, "into {queue}: {reason}"),
            Self::DeadLettered { queue, reason, code: Some(code) } => write!(out, "into {queue}: {code}: {reason}"),
            Self::Dropped { queue, reason } => write!(out, "from {queue}: {reason}"),
            Self::FilteredOut { queue, function } => write!(out, "of {queue} before {function}"),
            Self::Expired { queue } | Self::Purged { queue } => write!(out, "from {queue}"),
            Self::Done => Ok(()),
        }
    }
}

/// Returns a time as text.
pub(crate) fn time_text(at: OffsetDateTime) -> String {
    at.format(&Iso8601::<AT>).unwrap_or_default()
}

/// Returns a step with its time.
pub(crate) fn step_json(at: OffsetDateTime, step: &MessageStep) -> Value {
    let mut value = serde_json::to_value(step).unwrap_or_default();
    value["at"] = time_text(at).into();
    value
}
