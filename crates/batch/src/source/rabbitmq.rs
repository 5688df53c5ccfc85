//! RabbitMQ as a source: the runtime publishes failed messages again, because Lambda has no partial batch response for
//! RabbitMQ.
//!
//! Lambda repeats a failed invocation with the whole batch, without delay and without a limit; it acknowledges the
//! whole batch after a successful one (<https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>). Each message is
//! therefore settled alone. All copies are published concurrently through the default exchange, mandatory, persistent
//! and with a publisher confirm:
//!
//! | message | settlement |
//! |---|---|
//! | done | none: Lambda acknowledges it |
//! | to be retried | copied to `<queue>.retry.<delay>s`: the shortest delay that is long enough, or the longest |
//! | to be retried, but received too often | copied to `<queue>.dlq`, with the reason |
//! | rejected, or undecodable | copied to `<queue>.dlq` byte for byte, with the reason |
//! | not started before the deadline margin | copied to the end of its queue, as if it had not been received |
//!
//! On queues whose messages are ordered, no copy is published for a retry: see [`ordered`].
//!
//! The batch succeeds only if the broker has confirmed every copy. Otherwise it fails and is returned as a whole. No
//! message is lost then; handled messages and published copies are duplicated under the same message id (a message
//! without one gets one with its first copy). After a failed publish to a dead-letter queue nothing more is published,
//! which avoids further duplicates.
//!
//! A missing queue is a configuration error, which must neither lose a message nor stop the others. Without its retry
//! queue a message is dead-lettered, and the reason says so. Without its dead-letter queue it is published to a retry
//! queue after every receive, each time with an error in the log. Without both, the batch fails. If the name of a retry
//! or dead-letter queue would exceed the 255 bytes that RabbitMQ allows, that queue counts as missing.
//!
//! The receive count is the header `sluicegate-receive-count`, plus `x-delivery-count` if the queue writes it and
//! otherwise one for a redelivered message, plus one. It starts again for a message from a dead-letter queue, whether
//! redriven by the tool or moved otherwise. It is checked only after a handler has failed: a batch may be returned
//! because the broker could not store copies, and that must not dead-letter healthy messages. A message that kills the
//! function's process is dead-lettered by the queue's own delivery limit
//! (<https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>).

mod config;
mod envelope;
mod event;
mod header;
mod ordered;
mod republish;
#[cfg(test)]
mod tests;
mod timestamp;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use sluicegate_envelope::{Envelope, fresh_id};
use sluicegate_queue::queue_names::{RetryDelays, dead_letter_queue, retry_queue};
use sluicegate_queue::rabbitmq::{BasicProperties, Broker, Publication, header as queue_header};
use sluicegate_queue::{SendError, dead_letter};
use tokio::time::Instant;

pub(crate) use self::config::Settings;
use self::envelope::Undecodable;
use self::event::{EventError, EventMessage};
use self::ordered::{InOrder, OrderedQueues};
use crate::Rejection;
use crate::deadlines::Deadlines;
use crate::rejection::codes;
use crate::settlement::{BatchResponse, Disposition, Settlement, Tries};
use crate::source::adapter::{ReceivedMessage, SETTLED_BEFORE, Source};

/// Longest name of a queue, and longest routing key, in bytes.
///
/// <https://www.rabbitmq.com/docs/queues#names>
const QUEUE_NAME_BYTES_MAX: usize = 255;

/// Copies published concurrently when messages are returned: enough to hide the latency, and few enough to bound
/// memory.
const PUBLISHES_MAX: usize = 100;

/// Longest wait for the broker at the start of the function; a connection is opened again when it is needed.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// The broker that copies are published to, and the rules for them.
pub(crate) struct RabbitmqSource<P = Broker> {
    broker: P,
    /// The virtual host of the copies, if known.
    vhost: Option<String>,
    retry_delays: RetryDelays,
    receive_count_max: u32,
    ordered: OrderedQueues,
}

/// A broker, or a fake in tests.
pub(crate) trait Publish {
    /// Publishes a message as mandatory. `Ok` means that the broker has confirmed it and not returned it.
    fn publish(
        &self,
        publication: &Publication<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Opens a connection, unless there is one.
    fn connect(&self, deadline: Instant) -> impl Future<Output = Result<(), SendError>> + Send;
}

impl Publish for Broker {
    async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<(), SendError> {
        Broker::publish(self, publication, deadline).await
    }

    async fn connect(&self, deadline: Instant) -> Result<(), SendError> {
        Broker::connect(self, deadline).await
    }
}

/// An event whose messages cannot be settled. All of them are returned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the batch is from RabbitMQ, but RABBITMQ_URL is not set")]
    NoBroker,
    #[error("the messages are from the virtual host {theirs:?}, but RABBITMQ_URL has {ours:?}")]
    VirtualHost { theirs: String, ours: String },
}

/// A batch that is returned as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch is returned: {left} of {messages} messages could not be settled: {reason}")]
pub(crate) struct Unsettled {
    left: usize,
    messages: usize,
    reason: String,
}

/// Reads the batch in `event`; `None` if the event is not one of RabbitMQ.
pub(crate) fn read<'a, P: Publish>(
    source: Option<&'a RabbitmqSource<P>>,
    event: &str,
    deadlines: Deadlines,
) -> Option<Result<Batch<'a, P>, ReadError>> {
    let vhost = source.and_then(|source| source.vhost.as_deref());
    let messages = event::messages(event, vhost)?;
    Some(messages.map_err(ReadError::from).and_then(|messages| {
        let received = messages.into_iter().map(Received::new).collect();
        source.ok_or(ReadError::NoBroker)?.batch(received, deadlines)
    }))
}

/// A message with its id.
pub(crate) struct Received {
    message: EventMessage,
    /// The property `message_id`, or else the id of the event, or else a new id. Copies have the same id.
    id: String,
    /// `None` if its queue is not ordered.
    in_order: Option<InOrder>,
}

impl Received {
    fn new(message: EventMessage) -> Self {
        let own = message.properties.message_id().as_ref().map(|id| id.as_str()).filter(|id| !id.is_empty());
        let id = own.map(str::to_owned).unwrap_or_else(|| {
            let fresh = fresh_id();
            let envelope = envelope::envelope(&message, &fresh).ok();
            let of_event = envelope.as_ref().map(Envelope::id).filter(|id| id.len() <= QUEUE_NAME_BYTES_MAX);
            of_event.map_or(fresh.clone(), str::to_owned)
        });
        Self { message, id, in_order: None }
    }

    fn received_message(&self) -> ReceivedMessage<'_> {
        ReceivedMessage {
            id: Cow::Borrowed(&self.id),
            queue: &self.message.queue.name,
            receive_count: self.receive_count(),
            group: self.in_order.as_ref().and_then(|message| message.group.as_deref()).map(Cow::Borrowed),
            ordered: self.in_order.is_some(),
            trace_header: None,
        }
    }

    fn receive_count(&self) -> u32 {
        let count = |name| self.message.header(name).and_then(queue_header::count);
        let dead_lettered = self.message.header(dead_letter::REASON).is_some();
        let before = if dead_lettered { 0 } else { count(dead_letter::RECEIVE_COUNT).unwrap_or_default() };
        let here = match &self.in_order {
            Some(message) => message.failures(),
            None => count("x-delivery-count").unwrap_or(u32::from(self.message.redelivered)),
        };
        before.saturating_add(here).saturating_add(1)
    }
}

impl<P: Publish> RabbitmqSource<P> {
    /// Connects, so that the first batch does not wait for it.
    pub(crate) async fn connect(&self) {
        if let Err(error) = self.broker.connect(Instant::now() + CONNECT_TIME_MAX).await {
            tracing::warn!(%error, "the broker cannot be reached yet");
        }
    }

    /// Returns the batch. Refuses messages of another virtual host, because their copies could not be published to the
    /// source queue.
    fn batch(&self, mut received: Vec<Received>, deadlines: Deadlines) -> Result<Batch<'_, P>, ReadError> {
        let mut theirs = received.iter().filter_map(|received| received.message.queue.vhost.as_ref());
        if let Some(ours) = &self.vhost
            && let Some(theirs) = theirs.find(|theirs| *theirs != ours)
        {
            return Err(ReadError::VirtualHost { theirs: theirs.clone(), ours: ours.clone() });
        }
        self.ordered.arrange(&mut received);
        let placed = received.iter().map(|_| AtomicBool::new(false)).collect();
        let (not_dead_lettered, dead_lettered_instead, failure) = Default::default();
        Ok(Batch { source: self, received, deadlines, placed, not_dead_lettered, dead_lettered_instead, failure })
    }
}

/// A batch of RabbitMQ messages.
pub(crate) struct Batch<'a, P = Broker> {
    source: &'a RabbitmqSource<P>,
    received: Vec<Received>,
    deadlines: Deadlines,
    /// Whether the broker confirmed a copy of each message.
    placed: Vec<AtomicBool>,
    /// The rejections that the dead-letter queue has not confirmed. Their messages are retried.
    not_dead_lettered: Mutex<BTreeMap<usize, Rejection>>,
    /// Why messages without a retry queue were dead-lettered.
    dead_lettered_instead: Mutex<BTreeMap<usize, Rejection>>,
    /// Why the batch is returned: the error of the first publish that failed, or that ordered messages are returned.
    failure: Mutex<Option<String>>,
}

impl<P: Publish> Source for Batch<'_, P> {
    type Undecodable = Undecodable;
    type Unsettled = Unsettled;

    fn messages(&self) -> Vec<ReceivedMessage<'_>> {
        self.received.iter().map(Received::received_message).collect()
    }

    /// Opens a connection if the last one was lost, so that it is ready when a copy has to be published.
    async fn prepare(&self) {
        // The publish reports the error.
        let _ = self.source.broker.connect(self.deadlines.settle_until).await;
    }

    fn decode(&self, index: usize) -> Result<Envelope, Undecodable> {
        let Received { message, id, .. } = &self.received[index];
        envelope::envelope(message, id)
    }

    /// Returns the time of the event, in milliseconds, or else that of the message, which has seconds only.
    fn sent_unix_ms(&self, index: usize, envelope: Option<&Envelope>) -> Option<u64> {
        let of_event = envelope.and_then(Envelope::time).map(|time| time.unix_timestamp_nanos() / 1_000_000);
        let of_event = of_event.and_then(|unix_ms| u64::try_from(unix_ms).ok());
        let of_message = || Some(self.received[index].message.properties.timestamp().as_ref()?.saturating_mul(1_000));
        of_event.or_else(of_message)
    }

    fn settled_unhandled(&self, index: usize) -> Option<(Disposition, &'static str)> {
        let settled = self.received[index].in_order.as_ref().filter(|message| message.settled);
        settled.map(|_| (Disposition::Duplicate, SETTLED_BEFORE))
    }

    fn retries_in_place(&self, index: usize) -> bool {
        self.received[index].in_order.is_some()
    }

    async fn failed(&self, index: usize, _: bool) -> Tries {
        let received = &self.received[index];
        let count = received.receive_count();
        let last = count >= self.source.receive_count_max;
        if let Some(message) = received.in_order.as_ref().filter(|_| !last) {
            message.failed();
        }
        Tries { count, last }
    }

    async fn dead_letter(&self, index: usize, rejection: &Rejection) -> Result<(), SendError> {
        // Before the publish, which may be cancelled.
        lock(&self.not_dead_lettered).insert(index, rejection.clone());
        let placed = self.dead_letter_copy(index, rejection, self.deadlines.dead_letter_until).await;
        match &placed {
            Ok(()) => drop(lock(&self.not_dead_lettered).remove(&index)),
            Err(SendError::Unroutable { .. }) => {}
            Err(error) => self.fail(error),
        }
        placed
    }

    async fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) {
        if returned.iter().any(|(index, _)| self.retries_in_place(*index)) {
            self.fail_because(|| "messages of an ordered queue keep their places".to_owned());
        }
        if self.failure().is_none() {
            let publishes = stream::iter(returned);
            publishes
                .for_each_concurrent(PUBLISHES_MAX, |&(index, delay)| self.return_one_to_queue(index, delay))
                .await;
        }
    }

    /// A message that has no place to keep may find its retry queue missing.
    fn may_dead_letter_instead(&self, index: usize) -> bool {
        !self.retries_in_place(index)
    }

    fn dead_lettered_instead(&self, index: usize) -> Option<Rejection> {
        lock(&self.dead_lettered_instead).remove(&index)
    }

    /// Succeeds only if every message is done or has a confirmed copy.
    fn respond(&self, settlements: &[Settlement]) -> Result<BatchResponse, Unsettled> {
        let proven = settlements
            .iter()
            .zip(&self.placed)
            .map(|(settlement, placed)| settlement.disposition.is_handled() || placed.load(Ordering::Relaxed));
        let in_order = self.received.iter().zip(proven.clone());
        let in_order = in_order.filter_map(|(received, proven)| Some((received.in_order.as_ref()?, proven)));
        let left = proven.filter(|proven| !proven).count();
        if left == 0 {
            self.source.ordered.acknowledged(in_order.map(|(message, _)| message));
            return Ok(BatchResponse::of(std::iter::empty()));
        }
        self.source.ordered.returned(in_order);
        let reason = self.failure().unwrap_or_else(|| "no time was left".to_owned());
        tracing::error!(messages = settlements.len(), left, reason, "the batch is returned");
        Err(Unsettled { left, messages: settlements.len(), reason })
    }
}

impl<P: Publish> Batch<'_, P> {
    async fn return_one_to_queue(&self, index: usize, delay: Option<Duration>) {
        let Received { message, id, .. } = &self.received[index];
        let receive_count = self.received[index].receive_count();
        let (name, receive_count) = match delay {
            Some(delay) => {
                let step_s = self.source.retry_delays.nearest_s(delay);
                (Cow::Owned(retry_queue(&message.queue.name, step_s)), receive_count)
            }
            // A receive in which the message was not started does not count.
            None => (Cow::Borrowed(message.queue.name.as_str()), receive_count - 1),
        };
        let properties = republish::properties(message, id, receive_count, None);
        let deadline = self.deadlines.settle_until;
        let mut placed = self.place(index, &name, properties, deadline).await;
        if let (Err(SendError::Unroutable { reason }), Some(_)) = (&placed, delay) {
            tracing::error!(
                broker_id = id,
                queue = name.as_ref(),
                reason,
                "no retry queue: the message is dead-lettered"
            );
            let missing =
                || Rejection::new(codes::RETRY_QUEUE_MISSING, format!("the retry queue {name} does not exist"));
            let rejection = lock(&self.not_dead_lettered).remove(&index).unwrap_or_else(missing);
            placed = self.dead_letter_copy(index, &rejection, deadline).await;
            if placed.is_ok() {
                lock(&self.dead_lettered_instead).insert(index, rejection);
            }
        }
        if let Err(error) = placed {
            self.fail(&error);
        }
    }

    async fn dead_letter_copy(&self, index: usize, rejection: &Rejection, deadline: Instant) -> Result<(), SendError> {
        let Received { message, id, .. } = &self.received[index];
        let properties = republish::properties(message, id, self.received[index].receive_count(), Some(rejection));
        self.place(index, &dead_letter_queue(&message.queue.name), properties, deadline).await
    }

    async fn place(
        &self,
        index: usize,
        queue: &str,
        properties: BasicProperties,
        deadline: Instant,
    ) -> Result<(), SendError> {
        if queue.len() > QUEUE_NAME_BYTES_MAX {
            return Err(SendError::Unroutable { reason: format!("the queue name {queue} is too long") });
        }
        let body = match &self.received[index].message.data {
            Ok(data) => data,
            Err(unreadable) => &unreadable.kept,
        };
        let publication = Publication { exchange: "", routing_key: queue, properties, body };
        self.source.broker.publish(&publication, deadline).await?;
        self.placed[index].store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Records the first failed publish.
    fn fail(&self, error: &SendError) {
        self.fail_because(|| error.to_string());
    }

    /// Records why the batch is returned, unless a reason is known.
    fn fail_because(&self, reason: impl FnOnce() -> String) {
        lock(&self.failure).get_or_insert_with(reason);
    }

    fn failure(&self) -> Option<String> {
        lock(&self.failure).clone()
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
