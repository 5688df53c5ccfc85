//! [`Source`]: the operations that a broker offers on one batch.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::error::Error;
use std::future::{Future, ready};
use std::time::Duration;

use sluicegate_envelope::Envelope;
use sluicegate_queue::SendError;

use crate::Rejection;
use crate::settlement::{BatchResponse, Disposition, Settlement, Tries};

/// The reason to do nothing with a message of a batch that comes again.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) const SETTLED_BEFORE: &str = "settled before its batch was returned";

/// A message as its source received it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedMessage<'a> {
    /// The broker's id of the message.
    pub(crate) id: Cow<'a, str>,
    pub(crate) queue: &'a str,
    pub(crate) receive_count: u32,
    pub(crate) group: Option<Cow<'a, str>>,
    /// Whether the messages of the group must be handled in order.
    pub(crate) ordered: bool,
    /// The X-Ray header that the message was sent with.
    pub(crate) trace_header: Option<Cow<'a, str>>,
}

/// A payload that could not be fetched.
#[cfg(feature = "s3")]
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It may succeed later. The message is retried.
    #[error("payload not fetched: {0}")]
    Retry(String),
    /// It cannot succeed. The message is dead-lettered.
    #[error("payload not available: {0}")]
    Reject(String),
}

/// One batch of one broker. Messages are named by their index.
///
/// All rules of handling and settling are in `BatchRun`; a source decodes, stores and
/// returns.
pub(crate) trait Source {
    /// The reason why a message cannot be decoded.
    type Undecodable: Error;
    /// The reason why the whole batch is returned.
    type Unsettled: Error + Send + Sync + 'static;

    /// Returns the messages of the batch.
    fn messages(&self) -> Vec<ReceivedMessage<'_>>;

    /// Prepares for settling, while the handlers run.
    fn prepare(&self) -> impl Future<Output = ()> {
        ready(())
    }

    /// Decodes the event, strictly.
    ///
    /// # Errors
    /// The message is not an event. It is dead-lettered.
    fn decode(&self, index: usize) -> Result<Envelope, Self::Undecodable>;

    /// Waits until there is room in memory for the payload of a message that is stored beside the queue, not past
    /// `until`. The room is taken until the permit is dropped. `None` for any other message, and after `until`.
    #[cfg(feature = "s3")]
    fn room(
        &self,
        _index: usize,
        _until: tokio::time::Instant,
    ) -> impl Future<Output = Option<tokio::sync::SemaphorePermit<'_>>> {
        ready(None)
    }

    /// Fetches and decodes a message whose payload is stored beside the queue, not past `until`; `None` for any other
    /// message.
    #[cfg(feature = "s3")]
    fn fetch(
        &self,
        _index: usize,
        _until: tokio::time::Instant,
    ) -> impl Future<Output = Option<Result<Envelope, FetchError>>> {
        ready(None)
    }

    /// Returns whether the payload of the message is stored beside the queue, so that it has no event to decode.
    fn is_pointer(&self, _index: usize) -> bool {
        false
    }

    /// Returns the id of the event of a message that has a status, if its payload is stored beside the queue.
    fn status_id(&self, _index: usize) -> Option<String> {
        None
    }

    /// Returns the message attributes that a handler may read, by name.
    fn message_attributes(&self, _index: usize) -> BTreeMap<String, String> {
        BTreeMap::new()
    }

    /// Returns when the message was sent, in milliseconds since 1970, if known. `envelope` is the decoded event.
    fn sent_unix_ms(&self, index: usize, envelope: Option<&Envelope>) -> Option<u64>;

    /// Returns how and why the message is settled without its handler: it was settled before, in a batch that was
    /// returned, or there is nothing to handle.
    fn settled_unhandled(&self, _index: usize) -> Option<(Disposition, &'static str)> {
        None
    }

    /// Returns the place of the message in its topic, with its key and headers.
    #[cfg(feature = "kafka")]
    fn kafka_record(&self, _index: usize) -> Option<std::sync::Arc<crate::KafkaRecord>> {
        None
    }

    /// Returns whether a failed message is tried again in the same invocation, because it would lose its place in the
    /// queue otherwise.
    fn retries_in_place(&self, _index: usize) -> bool {
        false
    }

    /// Returns whether the broker dead-letters the message by itself if it is returned now.
    fn is_last_receive(&self, _index: usize) -> impl Future<Output = bool> {
        ready(false)
    }

    /// Counts a failure of the handler. `head` is true if the message did not wait for another one of the batch.
    fn failed(&self, index: usize, head: bool) -> impl Future<Output = Tries>;

    /// Stores a copy in the dead-letter queue, with the reason and its code.
    ///
    /// # Errors
    /// The copy is not stored, or may not be.
    fn dead_letter(&self, index: usize, rejection: &Rejection) -> impl Future<Output = Result<(), SendError>>;

    /// Returns messages to their queue: started ones with a delay, the others untouched. It is called at most once,
    /// with all of them, and may be cancelled at the deadline.
    fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) -> impl Future<Output = ()>;

    /// Returns whether a message that was to be returned may be dead-lettered instead. It is reported after
    /// [`return_to_queue`](Self::return_to_queue) then.
    fn may_dead_letter_instead(&self, _index: usize) -> bool {
        false
    }

    /// Returns why a message that was to be returned was dead-lettered; `None` if it was not.
    fn dead_lettered_instead(&self, _index: usize) -> Option<Rejection> {
        None
    }

    /// Returns the response to Lambda.
    ///
    /// # Errors
    /// A message could not be settled, and the whole batch is returned.
    fn respond(&self, settlements: &[Settlement]) -> Result<BatchResponse, Self::Unsettled>;
}
