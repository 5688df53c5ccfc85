//! The SQS event source mapping: polls a queue, gathers batches, invokes a function and deletes the processed messages.
//!
//! It follows Lambda's pollers: batch size, batching window, payload limit, filters (a message that does not match is
//! deleted), maximum concurrency, partial batch responses, backoff on failures, retries of throttled invocations. A
//! message is deleted only after the function succeeded with it; after any failure it becomes visible again. All
//! waiting follows tokio's clock. Scaling beyond the first five concurrent batches is not implemented.

mod batch;
mod deliver;
mod poll;
mod polled_queue;
mod record;
mod shared;
mod spec;
mod verdict;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::filter::{FilterCriteriaError, Filters};
use crate::mapping::{Invoke, MappingNames, MappingObserver};
use polled_queue::PolledQueue;
pub use polled_queue::SqsApi;
use shared::Shared;
pub use spec::{CONCURRENT_BATCHES_START, SqsMappingSpec};

/// A running mapping. Dropping it aborts the invocations in flight; the messages become visible again.
pub struct SqsMapping {
    stop: CancellationToken,
    pollers: JoinSet<()>,
}

impl SqsMapping {
    /// Starts polling.
    ///
    /// # Errors
    /// A filter's pattern that Lambda rejects.
    pub fn start<Q: SqsApi, I: Invoke>(
        spec: SqsMappingSpec,
        queue: Q,
        function: I,
        observer: MappingObserver,
    ) -> Result<SqsMapping, FilterCriteriaError> {
        let concurrency = spec.maximum_concurrency.unwrap_or(CONCURRENT_BATCHES_START);
        let shared = Arc::new(Shared {
            filters: Filters::parse(&spec.filters)?,
            queue: PolledQueue::new(queue, spec.queue_url.clone()),
            names: MappingNames::new(&spec.queue_name, &spec.function),
            concurrency: Arc::new(Semaphore::new(usize::from(concurrency))),
            function,
            observer,
            spec,
        });
        let stop = CancellationToken::new();
        let mut pollers = JoinSet::new();
        for _ in 0..concurrency.min(CONCURRENT_BATCHES_START) {
            pollers.spawn(Arc::clone(&shared).poll(stop.clone()));
        }
        Ok(SqsMapping { stop, pollers })
    }

    /// Stops polling at once and waits for the invocations in flight and their settlement, at most the function's
    /// timeout.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.pollers.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests;
