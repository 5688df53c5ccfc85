//! [`Settlement`]: the result of one delivery, and [`BatchResponse`], the result of a batch.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::{Delivery, Rejection};

/// The disposition of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Handled. The message is deleted.
    Done,
    /// Handled at an earlier delivery, or on an ordered queue settled before its batch came again. The message is
    /// deleted, and its handler is not called.
    Duplicate,
    /// Returned to the queue after a failure, hidden for this delay.
    Retry(Duration),
    /// Stored in the dead-letter queue with the reason. The message is deleted.
    Rejected,
    /// Stored in the dead-letter queue because it could not be decoded. The message is deleted.
    Undecodable,
    /// Returned to the queue without having been started; hidden like the earlier message of its group, if that was
    /// returned, or as long as another delivery of it has the lease.
    Returned(Option<Duration>),
    /// Not stored in the dead-letter queue: returned to the queue, hidden for this delay.
    RejectFailed(Duration),
}

impl Disposition {
    /// Returns the value of the log field `outcome`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::Retry(_) => "retry",
            Self::Rejected => "rejected",
            Self::Undecodable => "undecodable",
            Self::Returned(_) => "returned",
            Self::RejectFailed(_) => "reject_failed",
        }
    }

    /// Returns whether the message is handled, now or before.
    pub(crate) fn is_handled(self) -> bool {
        matches!(self, Self::Done | Self::Duplicate)
    }

    /// Returns whether the message goes back to its queue.
    pub(crate) fn is_returned(self) -> bool {
        matches!(self, Self::Retry(_) | Self::Returned(_) | Self::RejectFailed(_))
    }

    /// Returns how long a returned message is hidden, `None` if it was not started.
    pub(crate) fn delay(self) -> Option<Duration> {
        match self {
            Self::Retry(delay) | Self::RejectFailed(delay) => Some(delay),
            Self::Returned(delay) => delay,
            Self::Done | Self::Duplicate | Self::Rejected | Self::Undecodable => None,
        }
    }
}

/// Why a delivery was settled as it was.
#[derive(Debug)]
pub(crate) struct Reason {
    /// The code of a rejection.
    pub(crate) code: Option<Cow<'static, str>>,
    /// Empty if there is nothing to say.
    pub(crate) text: Cow<'static, str>,
}

impl From<&'static str> for Reason {
    fn from(text: &'static str) -> Self {
        Self { code: None, text: text.into() }
    }
}

impl From<String> for Reason {
    fn from(text: String) -> Self {
        Self { code: None, text: text.into() }
    }
}

impl From<Rejection> for Reason {
    fn from(rejection: Rejection) -> Self {
        let (code, detail) = rejection.into_parts();
        Self { code: Some(code), text: detail.into() }
    }
}

/// A settled delivery, with its facts for the report.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) disposition: Disposition,
    /// How long the handler ran, if one was called.
    pub(crate) handler: Option<Duration>,
    /// The same for each failure that was followed by another try in the same invocation.
    pub(crate) retried_in_place: Vec<Option<Duration>>,
    /// When the message was sent, in milliseconds since 1970.
    pub(crate) sent_unix_ms: Option<u64>,
    /// What is to be logged once the message is returned; `None` if it is logged.
    pub(crate) unlogged: Option<Box<Unlogged>>,
}

/// A message that is returned, of which its source may make a dead letter.
#[derive(Debug)]
pub(crate) struct Unlogged {
    /// `None` if it could not be decoded.
    pub(crate) delivery: Option<Arc<Delivery>>,
    pub(crate) reason: Reason,
}

/// How often a message was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Receives in which the message was handled, or could have been, this one included.
    pub(crate) count: u32,
    /// Whether the message is now dead-lettered instead of retried.
    pub(crate) last: bool,
}

/// The messages that go back to their queue, in the form of Lambda's `ReportBatchItemFailures`; the others are deleted.
/// It is empty for a RabbitMQ batch, which Lambda acknowledges as a whole. The id of a record of Kafka is
/// `topic:partition:offset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    identifier: ItemIdentifier,
}

/// How Lambda names a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum ItemIdentifier {
    Id(String),
    /// <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>
    #[cfg(feature = "kafka")]
    Record {
        /// As [`BatchResponse::failures`] returns it.
        #[serde(skip)]
        id: String,
        /// The key of the partition in the event, as in `orders-0`.
        partition: String,
        offset: i64,
    },
}

impl BatchResponse {
    /// Creates the response that returns the messages with these ids.
    pub(crate) fn of(ids: impl Iterator<Item = String>) -> Self {
        Self { failures: ids.map(|id| Failure { identifier: ItemIdentifier::Id(id) }).collect() }
    }

    /// Creates the response that returns records of Kafka: the id, the partition as the event names it, and the offset.
    #[cfg(feature = "kafka")]
    pub(crate) fn of_records(records: impl Iterator<Item = (String, String, i64)>) -> Self {
        let identifiers = records.map(|(id, partition, offset)| ItemIdentifier::Record { id, partition, offset });
        Self { failures: identifiers.map(|identifier| Failure { identifier }).collect() }
    }

    /// Returns the ids of the messages that go back, in the order of the batch.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.failures.iter().map(|failure| match &failure.identifier {
            ItemIdentifier::Id(id) => id.as_str(),
            #[cfg(feature = "kafka")]
            ItemIdentifier::Record { id, .. } => id.as_str(),
        })
    }
}
