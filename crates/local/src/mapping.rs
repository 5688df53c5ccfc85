//! An SQS event source mapping: polls a queue, makes batches, invokes a function, deletes what it worked off.
//!
//! It behaves as Lambda's pollers do: batch size, batching window, payload limit, filters (what does not match is deleted),
//! maximum concurrency, partial batch responses, back-off on failures, patience on throttles. A message leaves the queue only
//! after the function answered for it; whatever goes wrong in between, it becomes visible again. All waiting is on tokio's clock.
//! Growing beyond the first five concurrent batches is absent on purpose: a laptop is no fleet.

mod backoff;
mod batch;
mod deliver;
mod record;
mod source;
mod verdict;

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::filter::{FilterError, Filters};
use crate::pool::{Function, Invocation};
pub(crate) use backoff::Backoff;
use record::Delivery;
pub use source::Queue;
use source::Source;
pub use verdict::{Verdict, interpret};

/// With how many concurrent batches Lambda starts, and with how many a mapping without `MaximumConcurrency` works here.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html>
pub const CONCURRENT_BATCHES_START: u16 = 5;

/// What is fed from which queue, and how. The values are expected within Lambda's limits; the template reader checks them.
#[derive(Debug, Clone)]
pub struct MappingSpec {
    /// The function's name.
    pub function: String,
    /// The queue's name.
    pub queue_name: String,
    /// Its ARN; the Region is read from it.
    pub queue_arn: String,
    /// Its URL.
    pub queue_url: String,
    /// The most messages per invocation.
    pub batch_size: usize,
    /// How long to gather messages after the first; zero for a FIFO queue.
    pub batching_window: Duration,
    /// The most batches at a time; [`CONCURRENT_BATCHES_START`] if not set.
    pub maximum_concurrency: Option<u16>,
    /// `FunctionResponseTypes: [ReportBatchItemFailures]`; otherwise the response is ignored.
    pub report_batch_item_failures: bool,
    /// The parsed `Pattern` of each filter.
    pub filters: Vec<Value>,
    /// Is it a FIFO queue? Its group lock keeps batches of one group apart; this keeps the parts of one receive apart.
    pub fifo: bool,
}

/// A message as a mapping sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedMessage {
    /// The queue's name.
    pub queue: Arc<str>,
    /// The function's name.
    pub function: Arc<str>,
    /// The id that SQS gave it.
    pub message_id: Arc<str>,
    /// Its body.
    pub body: Arc<str>,
    /// How often it has been received, this time included.
    pub receive_count: u32,
}

/// One step in a message's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingEvent {
    /// It is handed to the function.
    Delivered(MappedMessage),
    /// The function worked it off and it is deleted.
    Done(MappedMessage),
    /// The function listed it as failed: it stays in the queue and becomes visible again.
    Returned(MappedMessage),
    /// No filter matches it and it is deleted.
    FilteredOut(MappedMessage),
    /// Nobody listed it, and still it stays in the queue and becomes visible again: its whole batch failed, or deleting it did.
    BatchFailed {
        /// Which message.
        message: MappedMessage,
        /// Why.
        reason: String,
    },
    /// No invocation can ever take it, so it is gone.
    Dropped {
        /// Which message.
        message: MappedMessage,
        /// Why.
        reason: String,
    },
}

impl MappingEvent {
    /// The message it is about.
    #[must_use]
    pub fn message(&self) -> &MappedMessage {
        match self {
            MappingEvent::Delivered(message)
            | MappingEvent::Done(message)
            | MappingEvent::Returned(message)
            | MappingEvent::FilteredOut(message)
            | MappingEvent::BatchFailed { message, .. }
            | MappingEvent::Dropped { message, .. } => message,
        }
    }
}

/// Is told each step. It must be quick.
pub type MappingObserver = Arc<dyn Fn(&MappingEvent) + Send + Sync>;

/// What a mapping invokes.
pub trait Invoke: Clone + Send + Sync + 'static {
    /// Runs the function once with this event.
    fn invoke(&self, event: Bytes) -> impl Future<Output = Invocation> + Send;
}

impl Invoke for Function {
    async fn invoke(&self, event: Bytes) -> Invocation {
        Function::invoke(self, event, None).await
    }
}

/// A running mapping. Dropping it aborts what is in flight; the messages become visible again.
pub struct Mapping {
    stop: watch::Sender<bool>,
    pollers: JoinSet<()>,
}

/// What the pollers of one mapping share.
struct Shared<Q, I> {
    spec: MappingSpec,
    names: (Arc<str>, Arc<str>),
    filters: Filters,
    source: Source<Q>,
    function: I,
    observer: MappingObserver,
    concurrency: Arc<Semaphore>,
}

impl Mapping {
    /// Starts polling.
    ///
    /// # Errors
    /// A filter's pattern is not one that Lambda takes.
    pub fn start<Q: Queue, I: Invoke>(
        spec: MappingSpec,
        queue: Q,
        function: I,
        observer: MappingObserver,
    ) -> Result<Mapping, FilterError> {
        let concurrency = spec.maximum_concurrency.unwrap_or(CONCURRENT_BATCHES_START);
        let shared = Arc::new(Shared {
            filters: Filters::parse(&spec.filters)?,
            source: Source::new(queue, spec.queue_url.clone()),
            names: (spec.queue_name.as_str().into(), spec.function.as_str().into()),
            concurrency: Arc::new(Semaphore::new(usize::from(concurrency))),
            function,
            observer,
            spec,
        });
        let (stop, _) = watch::channel(false);
        let mut pollers = JoinSet::new();
        for _ in 0..concurrency.min(CONCURRENT_BATCHES_START) {
            pollers.spawn(Arc::clone(&shared).poll(Stop(stop.subscribe())));
        }
        Ok(Mapping { stop, pollers })
    }

    /// Stops polling at once and waits for the invocations in flight and what follows from them; no longer than the
    /// function's time-out.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.pollers.join_next().await.is_some() {}
    }
}

/// Tells the tasks of a mapping to come to an end.
#[derive(Clone)]
pub(crate) struct Stop(pub(crate) watch::Receiver<bool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it. Cancel-safe.
    pub(crate) async fn set(&mut self) {
        // An error means that the mapping is gone, which says the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}

impl<Q: Queue, I: Invoke> Shared<Q, I> {
    /// One poller: a slot, a batch, an invocation on the side, again.
    ///
    /// The slot comes first: `MaximumConcurrency` stops the polling instead of holding messages that nobody works on.
    async fn poll(self: Arc<Self>, mut stop: Stop) {
        let backoff = Arc::new(Backoff::default());
        let mut surplus = VecDeque::new();
        let mut deliveries = JoinSet::new();
        while !stop.is_set() {
            let slot = tokio::select! {
                biased;
                () = stop.set() => break,
                slot = Arc::clone(&self.concurrency).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { break };
            tokio::select! {
                biased;
                () = stop.set() => break,
                () = sleep(backoff.pause()) => {}
            }
            let batch = self.gather(&mut surplus, &mut stop).await;
            if !batch.is_empty() {
                let (shared, stop, backoff) = (Arc::clone(&self), stop.clone(), Arc::clone(&backoff));
                deliveries.spawn(async move {
                    let clean = shared.deliver(batch, stop, &backoff).await;
                    drop(slot);
                    clean
                });
            }
            if self.spec.fifo && !surplus.is_empty() {
                // What had no room waits for what came before it, and goes back to the queue with it if that fails.
                while let Some(clean) = deliveries.join_next().await {
                    if !clean.unwrap_or(false) {
                        surplus.clear();
                    }
                }
            }
            while deliveries.try_join_next().is_some() {}
        }
        while deliveries.join_next().await.is_some() {}
    }

    /// Deletes the messages and tells `deleted` of each, or that it failed.
    async fn delete(&self, deliveries: &[&Delivery], deleted: fn(MappedMessage) -> MappingEvent) {
        let failed = self.source.delete(deliveries).await;
        for (index, delivery) in deliveries.iter().enumerate() {
            let message = self.message(delivery);
            self.tell(&match failed.get(&index) {
                None => deleted(message),
                Some(reason) => MappingEvent::BatchFailed { message, reason: format!("not deleted: {reason}") },
            });
        }
    }

    fn message(&self, delivery: &Delivery) -> MappedMessage {
        MappedMessage {
            queue: Arc::clone(&self.names.0),
            function: Arc::clone(&self.names.1),
            message_id: Arc::clone(&delivery.message_id),
            body: Arc::clone(&delivery.body),
            receive_count: delivery.receive_count,
        }
    }

    fn tell(&self, event: &MappingEvent) {
        (self.observer)(event);
    }
}

#[cfg(test)]
mod tests;
