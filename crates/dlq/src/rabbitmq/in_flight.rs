//! [`InFlight`]: the messages that were delivered to a consumer and not acknowledged.
//!
//! A quorum queue returns the messages of one consumer in order, and those of several in the order of the consumers,
//! but not those of `basic.get`, each of which counts as a consumer (observed on 3.10.8). Messages are therefore
//! delivered to consumers, one after another: a consumer gets no more than its prefetch, and when all of that is in
//! flight, the next one with a larger prefetch replaces it. Prefetched messages wait in this process, so the prefetch
//! is limited by bytes too.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, ConfirmSelectOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, timeout};

use super::connection::TimedConnection;
use crate::Error;

/// The prefetch of the first consumer. It doubles with each further consumer.
const PREFETCH_MIN: u16 = 16;
const PREFETCH_MAX: u16 = 1_024;
/// Largest size of the prefetched messages, in bytes, estimated from the largest message so far.
const PREFETCH_BYTES: usize = 32 * 1024 * 1024;

/// Time without a delivery after which the number of ready messages is read.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// Time without a delivery after which ready messages are assumed to be reserved for another consumer.
const HANDOUT_TIME_MAX: Duration = Duration::from_secs(10);

/// The messages in flight of one queue.
pub(super) struct InFlight {
    connection: TimedConnection,
    queue: ShortString,
    channel: Channel,
    /// The delivery tags of the messages in flight.
    held: Mutex<BTreeSet<u64>>,
    intake: tokio::sync::Mutex<Intake>,
}

struct Intake {
    /// Whether all messages were released.
    is_over: bool,
    /// Messages that may still be taken: as many as there were at first, so that redriven messages that come back are
    /// not taken forever.
    left: u64,
    subscription: Option<Subscription>,
    /// Number of consumers so far.
    consumers: u32,
    prefetch: u16,
    body_bytes_max: usize,
    last_tag: u64,
}

/// A consumer.
struct Subscription {
    consumer: Consumer,
    prefetch: u16,
    /// Lower bound of the tags of its deliveries.
    first_tag: u64,
    /// Deliveries that were not taken yet.
    waiting: VecDeque<Delivery>,
}

impl InFlight {
    /// Starts with no message in flight.
    ///
    /// # Errors
    /// The queue does not exist, or the broker does not answer.
    pub(super) async fn open(connection: TimedConnection, queue: &str) -> Result<Self, Error> {
        let queue = connection.name(queue)?;
        let channel = connection.channel().await?;
        let left = connection.ready(&channel, &queue).await?.into();
        let intake = Intake {
            is_over: false,
            left,
            subscription: None,
            consumers: 0,
            prefetch: PREFETCH_MIN,
            body_bytes_max: 0,
            last_tag: 0,
        };
        Ok(Self { connection, queue, channel, held: Mutex::default(), intake: intake.into() })
    }

    /// Returns the connection.
    pub(super) fn connection(&self) -> &TimedConnection {
        &self.connection
    }

    /// Returns whether the message is in flight.
    ///
    /// # Errors
    /// No message is: the connection was lost.
    pub(super) fn has(&self, tag: u64) -> Result<bool, Error> {
        self.check_up()?;
        Ok(self.held().contains(&tag))
    }

    /// Takes up to `max` messages, fewer if there are no more.
    pub(super) async fn take(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        let mut intake = self.intake.lock().await;
        if intake.is_over {
            return Ok(Vec::new());
        }
        self.check_up()?;
        let mut taken = Vec::new();
        while taken.len() < max && intake.left > 0 {
            let Some(delivery) = self.next(&mut intake).await? else {
                intake.left = 0;
                break;
            };
            intake.left -= 1;
            intake.last_tag = delivery.delivery_tag;
            intake.body_bytes_max = intake.body_bytes_max.max(delivery.data.len());
            self.held().insert(delivery.delivery_tag);
            taken.push(delivery);
        }
        if intake.left == 0 {
            // Ends the consumer, so that later messages go to other consumers.
            self.unsubscribe(&mut intake).await?;
        }
        Ok(taken)
    }

    /// Acknowledges a message, and waits until the broker has processed that.
    pub(super) async fn acknowledge(&self, tag: u64) -> Result<(), Error> {
        self.held().remove(&tag);
        self.connection.ask(self.channel.basic_ack(tag, BasicAckOptions::default())).await?;
        self.settled().await
    }

    /// Releases all messages. No message can be taken afterwards, because the same ones would be delivered again.
    pub(super) async fn release(&self) -> Result<(), Error> {
        let mut intake = self.intake.lock().await;
        intake.is_over = true;
        intake.subscription = None;
        self.held().clear();
        self.connection.ask(self.channel.close(200, "released".into())).await
    }

    /// Returns the number of messages in the queue, including those in flight or delivered.
    pub(super) async fn depth(&self) -> Result<u64, Error> {
        let mut intake = self.intake.lock().await;
        // On a separate channel: the other one may be closed already.
        let asking = self.connection.channel().await?;
        let ready = self.connection.ready(&asking, &self.queue).await?;
        let waiting = match &mut intake.subscription {
            Some(subscription) => {
                self.settled().await?;
                subscription.collect()?
            }
            None => 0,
        };
        Ok(u64::from(ready) + u64::try_from(waiting + self.held().len()).unwrap_or(u64::MAX))
    }

    /// Returns the next message, if there is one.
    async fn next(&self, intake: &mut Intake) -> Result<Option<Delivery>, Error> {
        if let Some(subscription) = &mut intake.subscription {
            subscription.collect()?;
        }
        if intake.subscription.as_ref().is_none_or(|subscription| self.is_full(subscription)) {
            self.subscribe(intake).await?;
        }
        let Some(subscription) = &mut intake.subscription else { return Ok(None) };
        let started = Instant::now();
        loop {
            if let Some(delivery) = subscription.waiting.pop_front() {
                return Ok(Some(delivery));
            }
            if let Ok(delivered) = timeout(QUIET_MAX, subscription.consumer.next()).await {
                subscription.admit(delivered)?;
                continue;
            }
            let ready = self.connection.ready(&self.channel, &self.queue).await?;
            // Deliveries from before that answer have arrived before this one.
            self.settled().await?;
            if subscription.collect()? > 0 {
                continue;
            }
            if ready == 0 {
                return Ok(None);
            }
            if started.elapsed() > HANDOUT_TIME_MAX {
                let reason = "and the queue hands out none of them: it has another, single active consumer";
                return Err(Error::Broker(format!("{}: {ready} messages are there, {reason}", self.queue)));
            }
        }
    }

    /// Returns whether the consumer's whole prefetch is in flight.
    fn is_full(&self, subscription: &Subscription) -> bool {
        subscription.waiting.is_empty()
            && self.held().range(subscription.first_tag..).count() >= usize::from(subscription.prefetch)
    }

    /// Replaces the present consumer by a new one.
    async fn subscribe(&self, intake: &mut Intake) -> Result<(), Error> {
        if self.unsubscribe(intake).await? {
            let fit = PREFETCH_BYTES.checked_div(intake.body_bytes_max).unwrap_or(usize::MAX);
            let fit = u16::try_from(fit).unwrap_or(u16::MAX).max(PREFETCH_MIN);
            intake.prefetch = intake.prefetch.saturating_mul(2).min(PREFETCH_MAX).min(fit);
        }
        intake.consumers += 1;
        // The broker returns the messages of several consumers in the order of their names.
        let tag = self.connection.name(&format!("sluicegate-dlq-{:06}", intake.consumers))?;
        let prefetch = u16::try_from(intake.left).unwrap_or(u16::MAX).min(intake.prefetch);
        self.connection.ask(self.channel.basic_qos(prefetch, BasicQosOptions::default())).await?;
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer =
            self.connection.ask(self.channel.basic_consume(self.queue.clone(), tag, options, arguments)).await?;
        let first_tag = intake.last_tag + 1;
        intake.subscription = Some(Subscription { consumer, prefetch, first_tag, waiting: VecDeque::new() });
        Ok(())
    }

    /// Ends the present consumer, if there is one, and returns its deliveries that were not taken.
    async fn unsubscribe(&self, intake: &mut Intake) -> Result<bool, Error> {
        let Some(mut subscription) = intake.subscription.take() else { return Ok(false) };
        self.connection
            .ask(self.channel.basic_cancel(subscription.consumer.tag(), BasicCancelOptions::default()))
            .await?;
        while let Some(Some(Ok(delivery))) = subscription.consumer.next().now_or_never() {
            subscription.waiting.push_back(delivery);
        }
        let requeue = BasicNackOptions { requeue: true, multiple: false };
        for delivery in subscription.waiting {
            self.connection.ask(self.channel.basic_nack(delivery.delivery_tag, requeue)).await?;
        }
        Ok(true)
    }

    /// Waits until the broker has processed everything sent on the channel, which it does in order. Selecting confirm
    /// mode changes nothing on a channel without publishes.
    async fn settled(&self) -> Result<(), Error> {
        self.connection.ask(self.channel.confirm_select(ConfirmSelectOptions::default())).await
    }

    fn check_up(&self) -> Result<(), Error> {
        if self.channel.status().connected() {
            return Ok(());
        }
        Err(Error::Broker(format!("{}: the connection was lost; what was held is back in the queue", self.queue)))
    }

    fn held(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscription {
    /// Collects arrived deliveries and returns the number of waiting ones.
    fn collect(&mut self) -> Result<usize, Error> {
        while let Some(delivered) = self.consumer.next().now_or_never() {
            self.admit(delivered)?;
        }
        Ok(self.waiting.len())
    }

    fn admit(&mut self, delivered: Option<lapin::Result<Delivery>>) -> Result<(), Error> {
        match delivered {
            Some(Ok(delivery)) => self.waiting.push_back(delivery),
            Some(Err(error)) => return Err(Error::Broker(sluicegate_queue::chain(&error))),
            None => return Err(Error::Broker("the queue was deleted, or its node is gone".to_owned())),
        }
        Ok(())
    }
}
