//! RabbitMQ as a source: what failed is published again by ourselves, because Lambda knows no partial answer here.
//!
//! An invocation that fails brings the whole batch back, at once and for ever, and one that succeeds acknowledges all of it
//! (<https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>). So each message is settled by itself, all publishes in
//! flight at once, each through the default exchange, mandatory, persistent and with a publisher confirm:
//!
//! | message | what becomes of it |
//! |---|---|
//! | done | nothing: Lambda acknowledges it |
//! | to be tried again | to `<queue>.retry.<step>s`, the shortest step of the ladder that is long enough, or the longest there is |
//! | to be tried again, but received often enough | to `<queue>.dlq`, with the reason |
//! | rejected, or undecodable | to `<queue>.dlq`, with the reason; the bytes as they came |
//! | not started before the deadline margin | to the end of its own queue, as if it had not been received |
//!
//! The batch succeeds if, and only if, the broker has confirmed every one of these. Otherwise it fails and all of it comes back:
//! nothing is lost, and what had been done or published is there twice, under the same message id (a message without one
//! gets one with its first copy). Once a publish to a dead-letter queue has failed, nothing more is published, so as not to add
//! copies to a batch that comes back anyway.
//!
//! A queue that is missing is an operator's mistake and must neither lose a message nor stop the others. Without its retry
//! queue, a message is dead-lettered with a reason that says so; without its dead-letter queue, it goes to a retry queue, again and
//! again, each time with an error in the log; with neither, the batch fails. A queue name too long to have them (RabbitMQ
//! allows 255 bytes) counts as missing.
//!
//! The receive count is the header `sluicegate-receive-count`, plus `x-delivery-count` if the queue writes it and else one for a
//! message that is redelivered, plus one. It starts again for a message that comes back from a dead-letter queue, however
//! it was moved. It is looked at when a handler has failed, never before: a batch may come back often because the broker could
//! not take copies, and that is no message's fault. What kills the function's process is ended by the queue's own delivery limit
//! (<https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>).

mod envelope;
mod event;
mod header;
mod republish;
mod settings;
#[cfg(test)]
mod tests;
mod timestamp;

use std::borrow::Cow;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use serde_json::value::RawValue;
use sluicegate_envelope::{Envelope, fresh_id};
use sluicegate_queue::queue_names::{RetryDelays, dead_letter_queue, retry_queue};
use sluicegate_queue::rabbitmq::{BasicProperties, Broker, Publication, header as queue_header};
use sluicegate_queue::{SendError, dead_letter};
use tokio::time::Instant;

use self::event::Message;
pub(crate) use self::settings::Settings;
use crate::BatchResponse;
use crate::batch_run::{BatchRun, Ended, ReceivedMessage, Settled, Source, Tries};
use crate::consumer::{Consumer, Deadlines};
use crate::report::Invocation;

/// Bytes of a queue's name, and of a routing key.
///
/// <https://www.rabbitmq.com/docs/queues#names>
const QUEUE_NAME_BYTES_MAX: usize = 255;

/// Copies published at once when messages are given back: enough to hide the way to the broker, and a bound on their memory.
const PUBLISHES_MAX: usize = 100;

/// How a function that starts may wait for the broker; it is asked again when it is needed.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// What takes the copies (the broker, but for tests), and the rules for them.
pub(crate) struct RabbitmqSource<P = Broker> {
    broker: P,
    /// The virtual host the copies go to, if known.
    vhost: Option<String>,
    retry_delays: RetryDelays,
    receive_count_max: u32,
}

/// What takes the copies.
pub(crate) trait Publish {
    /// Publishes, mandatory; `Ok` only if the broker has confirmed and not returned it.
    fn publish(
        &self,
        publication: &Publication<'_>,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), SendError>> + Send;

    /// Makes a connection, if there is none, so that it is there when it is needed.
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

/// The messages, if the event is one of RabbitMQ. `vhost` is the virtual host they should be of, if known.
pub(crate) fn received(event: &RawValue, vhost: Option<&str>) -> Option<Result<Vec<Received>, String>> {
    let received = |messages: Vec<Message>| messages.into_iter().map(Received::new).collect();
    event::messages(event, vhost).map(|messages| messages.map(received))
}

/// A message and what it is called.
pub(crate) struct Received {
    message: Message,
    /// Its own, else that of the event in it, else a new one. The copies have it.
    id: String,
}

impl Received {
    fn new(message: Message) -> Self {
        let own = message.properties.message_id().as_ref().map(|id| id.as_str()).filter(|id| !id.is_empty());
        let id = own.map(str::to_owned).unwrap_or_else(|| {
            let fresh = fresh_id();
            let envelope = envelope::envelope(&message, &fresh).ok();
            let of_event = envelope.as_ref().map(Envelope::id).filter(|id| id.len() <= QUEUE_NAME_BYTES_MAX);
            of_event.map_or(fresh.clone(), str::to_owned)
        });
        Self { message, id }
    }

    fn received_message(&self) -> ReceivedMessage<'_> {
        ReceivedMessage {
            id: Cow::Borrowed(&self.id),
            queue: &self.message.queue.name,
            receive_count: self.receive_count(),
            group: None,
            ordered: false,
            trace_header: None,
        }
    }

    fn receive_count(&self) -> u32 {
        let count = |name| self.message.header(name).and_then(queue_header::count);
        let dead_lettered = self.message.header(dead_letter::REASON).is_some();
        let before = if dead_lettered { 0 } else { count(dead_letter::RECEIVE_COUNT).unwrap_or_default() };
        let here = count("x-delivery-count").unwrap_or(u32::from(self.message.redelivered));
        before.saturating_add(here).saturating_add(1)
    }
}

impl Consumer {
    /// Works one batch of RabbitMQ off.
    pub(crate) async fn handle_rabbitmq(
        &self,
        received: &[Received],
        deadlines: Deadlines,
        invocation: Invocation<'_>,
    ) -> Result<BatchResponse, String> {
        let source = self.rabbitmq.as_ref().ok_or("a batch of RabbitMQ, and RABBITMQ_URL is not set")?;
        source.work_off(self, received, deadlines, invocation).await
    }
}

impl<P: Publish> RabbitmqSource<P> {
    /// The virtual host that copies go to, if known.
    pub(crate) fn vhost(&self) -> Option<&str> {
        self.vhost.as_deref()
    }

    /// Connects, so that the first batch need not.
    pub(crate) async fn connect(&self) {
        if let Err(error) = self.broker.connect(Instant::now() + CONNECT_TIME_MAX).await {
            tracing::warn!(%error, "the broker cannot be reached yet");
        }
    }

    /// Copies that went to another virtual host would be lost to the queue they came from.
    fn check_vhost(&self, received: &[Received]) -> Result<(), String> {
        let Some(ours) = &self.vhost else { return Ok(()) };
        let mut theirs = received.iter().filter_map(|received| received.message.queue.vhost.as_ref());
        match theirs.find(|theirs| *theirs != ours) {
            None => Ok(()),
            Some(theirs) => Err(format!("messages of the virtual host {theirs:?}, and RABBITMQ_URL names {ours:?}")),
        }
    }

    async fn work_off(
        &self,
        consumer: &Consumer,
        received: &[Received],
        deadlines: Deadlines,
        invocation: Invocation<'_>,
    ) -> Result<BatchResponse, String> {
        self.check_vhost(received)?;
        let messages: Vec<_> = received.iter().map(Received::received_message).collect();
        let batch = Batch {
            source: self,
            received,
            deadlines,
            placed: received.iter().map(|_| AtomicBool::new(false)).collect(),
            failure: Mutex::default(),
        };
        let work = BatchRun {
            handlers: &consumer.handlers,
            retry: consumer.retry,
            concurrency: consumer.concurrency,
            work_until: deadlines.work_until,
            dead_letter_until: deadlines.dead_letter_until,
            settle_until: deadlines.settle_until,
            messages: &messages,
            source: &batch,
            invocation,
        };
        // Beside the handlers, so that a connection lost since the last batch is there again when something has to be published.
        let connecting = async {
            // What is wrong, the publish tells.
            let _ = self.broker.connect(deadlines.settle_until).await;
            pending::<()>().await;
        };
        match select(pin!(work.run()), pin!(connecting)).await {
            Either::Left((ended, _)) => batch.verdict(&ended),
            Either::Right(((), work)) => batch.verdict(&work.await),
        }
    }
}

struct Batch<'a, P> {
    source: &'a RabbitmqSource<P>,
    received: &'a [Received],
    deadlines: Deadlines,
    /// Which messages have a copy that the broker confirmed.
    placed: Vec<AtomicBool>,
    /// The first publish that failed.
    failure: Mutex<Option<String>>,
}

impl<P: Publish> Source for Batch<'_, P> {
    fn decode(&self, index: usize) -> Result<Envelope, String> {
        let Received { message, id } = &self.received[index];
        envelope::envelope(message, id)
    }

    /// The event knows it to the millisecond, RabbitMQ to the second.
    fn sent_unix_ms(&self, index: usize, envelope: Option<&Envelope>) -> Option<u64> {
        let of_event = envelope.and_then(Envelope::time).map(|time| time.unix_timestamp_nanos() / 1_000_000);
        let of_event = of_event.and_then(|unix_ms| u64::try_from(unix_ms).ok());
        let of_message = || Some(self.received[index].message.properties.timestamp().as_ref()?.saturating_mul(1_000));
        of_event.or_else(of_message)
    }

    async fn failed(&self, index: usize, _: bool) -> Tries {
        let count = self.received[index].receive_count();
        Tries { count, last: count >= self.source.receive_count_max }
    }

    async fn dead_letter(&self, index: usize, reason: &str) -> Result<(), String> {
        let placed = self.dead_letter_copy(index, reason, self.deadlines.dead_letter_until).await;
        placed.map_err(|error| {
            if !matches!(error, SendError::Unroutable { .. }) {
                self.fail(&error);
            }
            error.to_string()
        })
    }

    async fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) {
        if self.failure().is_none() {
            let publishes = stream::iter(returned);
            publishes
                .for_each_concurrent(PUBLISHES_MAX, |&(index, delay)| self.return_one_to_queue(index, delay))
                .await;
        }
    }
}

impl<P: Publish> Batch<'_, P> {
    async fn return_one_to_queue(&self, index: usize, delay: Option<Duration>) {
        let Received { message, id } = &self.received[index];
        let receive_count = self.received[index].receive_count();
        let (name, receive_count) = match delay {
            Some(delay) => {
                let step_s = self.source.retry_delays.nearest_s(delay);
                (Cow::Owned(retry_queue(&message.queue.name, step_s)), receive_count)
            }
            // This receive does not count.
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
            let reason = format!("there is no queue {name} to wait in for a retry");
            placed = self.dead_letter_copy(index, &reason, deadline).await;
        }
        if let Err(error) = placed {
            self.fail(&error);
        }
    }

    async fn dead_letter_copy(&self, index: usize, reason: &str, deadline: Instant) -> Result<(), SendError> {
        let Received { message, id } = &self.received[index];
        let properties = republish::properties(message, id, self.received[index].receive_count(), Some(reason));
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
            return Err(SendError::Unroutable { reason: format!("a queue cannot be called {queue}") });
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

    /// Success only if every message is done or has a confirmed copy.
    fn verdict(&self, ended: &[Ended]) -> Result<BatchResponse, String> {
        let proven =
            |(how, placed): (&Ended, &AtomicBool)| how.settled == Settled::Done || placed.load(Ordering::Relaxed);
        let left = ended.iter().zip(&self.placed).filter(|entry| !proven(*entry)).count();
        match left {
            0 => Ok(BatchResponse::of(std::iter::empty())),
            _ => {
                let reason = self.failure().unwrap_or_else(|| "no time was left".to_owned());
                tracing::error!(messages = ended.len(), left, reason, "the batch comes back");
                Err(format!("the batch comes back: {left} of {} messages could not be settled: {reason}", ended.len()))
            }
        }
    }

    fn fail(&self, error: &SendError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert_with(|| error.to_string());
    }

    fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
