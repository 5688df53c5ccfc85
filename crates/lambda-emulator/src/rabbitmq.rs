//! The RabbitMQ event source mapping: consumes a queue, gathers batches, invokes a function and acknowledges batches
//! that succeed.
//!
//! It follows Lambda's poller for Amazon MQ: one invocation at a time, batch size, batching window, payload limit (a
//! record too large for any event is dropped), filters (a record that does not match is acknowledged and dropped).
//! Batches are all or nothing: when the function fails, the whole batch returns to the queue and is delivered again,
//! marked as redelivered, until it succeeds. Two things differ from Lambda: a pause grows with each failure in a row,
//! and a throttled invocation is retried. A lost connection is opened again without a limit of attempts, and the
//! mapping waits for a missing queue.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>

mod delivery;
mod endpoint;
mod event;

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery as Received;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::filter::{FilterCriteriaError, Filters};
use crate::mapping::{Backoff, Invoke, InvokeError, MappedMessage, MappingEvent, MappingNames, invoke};
use delivery::{Batch, Delivery};
pub use endpoint::{BrokerEndpoint, ConnectError};

/// The longest pause before a reconnect, so that a restarted broker is found soon.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(2);
/// Limit for starting a consumer.
const CONSUME_TIME_MAX: Duration = Duration::from_secs(5);
/// Limit for closing a connection.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);

/// The settings of a mapping. The values must be within Lambda's limits.
#[derive(Debug, Clone)]
pub struct RabbitmqMappingSpec {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue: String,
    /// The broker of the queue.
    pub endpoint: BrokerEndpoint,
    /// The `eventSourceArn` of the event.
    pub broker_arn: String,
    /// The largest number of messages per invocation.
    pub batch_size: usize,
    /// The time to gather messages after the first.
    pub batching_window: Duration,
    /// The parsed `Pattern` of each filter, for records whose `data` is read as JSON if it is JSON.
    pub filters: Vec<Value>,
}

/// An event of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RabbitmqEvent {
    /// One step of a message.
    Message(MappingEvent),
    /// The queue cannot be consumed, and the mapping retries. Each reason is reported once.
    Waiting {
        /// The reason.
        reason: String,
    },
    /// The queue is consumed.
    Consuming,
}

/// Receives each event. It must return quickly.
pub type RabbitmqObserver = Arc<dyn Fn(&RabbitmqEvent) + Send + Sync>;

/// A running mapping. Dropping it aborts the invocation in flight; the messages return to their queue.
pub struct RabbitmqMapping {
    stop: CancellationToken,
    worker: JoinSet<()>,
}

impl RabbitmqMapping {
    /// Starts consuming.
    ///
    /// # Errors
    /// A filter's pattern that Lambda rejects.
    pub fn start<I: Invoke>(
        spec: RabbitmqMappingSpec,
        function: I,
        observer: RabbitmqObserver,
    ) -> Result<Self, FilterCriteriaError> {
        let worker = Worker {
            filters: Filters::parse(&spec.filters)?,
            names: MappingNames::new(&spec.queue, &spec.function),
            head: event::head(&spec.broker_arn, &spec.queue, spec.endpoint.vhost()).into(),
            function,
            observer,
            spec,
        };
        let stop = CancellationToken::new();
        let mut set = JoinSet::new();
        set.spawn(worker.run(stop.clone()));
        Ok(Self { stop, worker: set })
    }

    /// Stops consuming at once and waits for the invocation in flight and its settlement, at most the function's
    /// timeout. All other messages return to the queue.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.worker.join_next().await.is_some() {}
    }
}

struct Worker<I> {
    spec: RabbitmqMappingSpec,
    names: MappingNames,
    head: Arc<str>,
    filters: Filters,
    function: I,
    observer: RabbitmqObserver,
}

/// A consumer on its connection. Unacknowledged messages return to the queue when it ends.
struct Session {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
}

/// Why the queue is not consumed.
#[derive(Debug, thiserror::Error)]
enum SessionError {
    /// The broker cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker does not start a consumer.
    #[error("the queue does not answer within {} s", CONSUME_TIME_MAX.as_secs())]
    NoAnswer,
    /// The broker ended the consumer.
    #[error("the broker ended the consumer, as it does when the queue is deleted")]
    ConsumerEnded,
    /// The broker refuses, or the connection is lost.
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
}

/// The reason a session ended.
enum End {
    Stopped,
    Lost(SessionError),
}

impl<I: Invoke> Worker<I> {
    async fn run(self, stop: CancellationToken) {
        let (reconnects, failures) = (Backoff::default(), Backoff::default());
        let mut waits_for: Option<String> = None;
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                opened = async {
                    sleep(reconnects.pause().min(RECONNECT_PAUSE_MAX)).await;
                    Session::open(&self.spec).await
                } => opened,
            };
            reconnects.failed();
            let reason = match opened {
                Ok(mut session) => {
                    waits_for = None;
                    (self.observer)(&RabbitmqEvent::Consuming);
                    let end = self.work(&mut session, &stop, &reconnects, &failures).await;
                    session.close().await;
                    match end {
                        End::Stopped => return,
                        End::Lost(error) => error,
                    }
                }
                Err(error) => error,
            };
            let reason = reason.to_string();
            if waits_for.as_ref() != Some(&reason) {
                (self.observer)(&RabbitmqEvent::Waiting { reason: reason.clone() });
                waits_for = Some(reason);
            }
        }
    }

    /// Processes batches until the session ends.
    async fn work(
        &self,
        session: &mut Session,
        stop: &CancellationToken,
        reconnects: &Backoff,
        failures: &Backoff,
    ) -> End {
        let mut waiting = VecDeque::new();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return End::Stopped,
                () = sleep(failures.pause()) => {}
            }
            let batch = match self.gather(session, &mut waiting, stop).await {
                Ok(batch) => batch,
                Err(end) => return end,
            };
            reconnects.succeeded();
            self.report_each(&batch, MappingEvent::Delivered);
            let outcome = invoke(&self.function, &batch.event(), stop).await.map(drop);
            match &outcome {
                Ok(()) => failures.succeeded(),
                Err(_) => failures.failed(),
            }
            if let Err(error) = self.settle(session, &batch, outcome).await {
                return End::Lost(error.into());
            }
        }
    }

    /// Returns the next batch, never empty. `waiting` contains the messages that did not fit into the last batch, and
    /// afterwards those that did not fit into this one.
    async fn gather(
        &self,
        session: &mut Session,
        waiting: &mut VecDeque<Delivery>,
        stop: &CancellationToken,
    ) -> Result<Batch, End> {
        let mut batch = Batch::new(Arc::clone(&self.head), self.spec.batch_size);
        let mut window_end = None;
        loop {
            if batch.fill(waiting) {
                return Ok(batch);
            }
            if !batch.deliveries.is_empty() {
                window_end.get_or_insert_with(|| Instant::now() + self.spec.batching_window);
            }
            let window = async {
                match window_end {
                    Some(end) => sleep_until(end).await,
                    None => pending().await,
                }
            };
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => return Err(End::Stopped),
                // First, so that messages that have arrived already join the batch even without a window.
                next = session.consumer.next() => next,
                () = window => return Ok(batch),
            };
            match next {
                Some(Ok(received)) => {
                    let accepted = self.accept(session, &received).await;
                    waiting.extend(accepted.map_err(|error| End::Lost(error.into()))?);
                }
                Some(Err(error)) => return Err(End::Lost(error.into())),
                None => return Err(End::Lost(SessionError::ConsumerEnded)),
            }
        }
    }

    /// Returns the delivery if the filters pass it; otherwise acknowledges and drops it.
    async fn accept(&self, session: &Session, received: &Received) -> lapin::Result<Option<Delivery>> {
        let record = event::record(&received.properties, received.redelivered, &received.data);
        let passes = self.filters.is_empty() || self.filters.pass_decoded(&record, "data", &received.data);
        let delivery = Delivery::new(received, record.to_string());
        let message = self.message(&delivery);
        let event = if !passes {
            MappingEvent::FilteredOut(message)
        } else if !Batch::fits_alone(&self.head, &delivery.record) {
            MappingEvent::Dropped { message, reason: "its record is larger than 6 MB".to_owned() }
        } else {
            return Ok(Some(delivery));
        };
        session.channel.basic_ack(delivery.tag, BasicAckOptions::default()).await?;
        self.report(event);
        Ok(None)
    }

    /// Acknowledges or requeues the whole batch. All tags up to the batch's last belong to it or are settled already.
    async fn settle(&self, session: &Session, batch: &Batch, outcome: Result<(), InvokeError>) -> lapin::Result<()> {
        let last = batch.deliveries.last().map_or(0, |delivery| delivery.tag);
        let result = match &outcome {
            Ok(()) => session.channel.basic_ack(last, BasicAckOptions { multiple: true }).await,
            Err(_) => session.channel.basic_nack(last, BasicNackOptions { multiple: true, requeue: true }).await,
        };
        let reason = match (outcome, &result) {
            (Ok(()), Ok(())) => {
                self.report_each(batch, MappingEvent::Done);
                return Ok(());
            }
            (Ok(()), Err(error)) => format!("not acknowledged: {error}"),
            (Err(error), _) => error.to_string(),
        };
        self.report_each(batch, |message| MappingEvent::BatchFailed { message, reason: reason.clone() });
        result
    }

    fn report_each(&self, batch: &Batch, event: impl Fn(MappedMessage) -> MappingEvent) {
        for delivery in &batch.deliveries {
            self.report(event(self.message(delivery)));
        }
    }

    fn report(&self, event: MappingEvent) {
        (self.observer)(&RabbitmqEvent::Message(event));
    }

    fn message(&self, delivery: &Delivery) -> MappedMessage {
        self.names.message(&delivery.message_id, &delivery.body, delivery.receive_count)
    }
}

impl Session {
    async fn open(spec: &RabbitmqMappingSpec) -> Result<Self, SessionError> {
        let name = format!("mapping of {} to {}", spec.queue, spec.function);
        let connection = spec.endpoint.connect(&name).await?;
        // A broker that has just started may never answer a consumer.
        let consumes = timeout(CONSUME_TIME_MAX, Self::consume(&connection, spec)).await;
        let error = match consumes {
            Ok(Ok((channel, consumer))) => return Ok(Self { connection, channel, consumer }),
            Ok(Err(error)) => error.into(),
            Err(_) => SessionError::NoAnswer,
        };
        close(&connection).await;
        Err(error)
    }

    /// Prefetches no more messages than fit into a batch, so that the others stay visible in the queue.
    async fn consume(connection: &Connection, spec: &RabbitmqMappingSpec) -> lapin::Result<(Channel, Consumer)> {
        let channel = connection.create_channel().await?;
        let prefetch = u16::try_from(spec.batch_size).unwrap_or(u16::MAX);
        channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(spec.queue.as_str().into(), "".into(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }

    async fn close(self) {
        close(&self.connection).await;
    }
}

/// Closes the connection and waits until the broker has requeued its unacknowledged messages.
async fn close(connection: &Connection) {
    if connection.status().connected() {
        let _ = timeout(CLOSE_TIME_MAX, connection.close(200, "done".into())).await;
    }
}
