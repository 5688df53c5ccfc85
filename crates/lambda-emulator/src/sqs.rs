//! An SQS event source mapping: polls a queue, makes batches, invokes a function, deletes what it worked off.
//!
//! It behaves as Lambda's pollers do: batch size, batching window, payload limit, filters (what does not match is deleted),
//! maximum concurrency, partial batch responses, back-off on failures, patience on throttles. A message leaves the queue only
//! after the function answered for it; whatever goes wrong in between, it becomes visible again. All waiting is on tokio's clock.
//! Growing beyond the first five concurrent batches is absent on purpose: a laptop is no fleet.

mod batch;
mod deliver;
mod poll;
mod record;
mod shared;
mod source;
mod spec;
mod verdict;

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::filter::{FilterError, Filters};
use crate::mapping::{Invoke, MappingObserver, Stop};
use shared::Shared;
pub use source::Queue;
use source::Source;
pub use spec::{CONCURRENT_BATCHES_START, SqsMappingSpec};

/// A running mapping. Dropping it aborts what is in flight; the messages become visible again.
pub struct SqsMapping {
    stop: watch::Sender<bool>,
    pollers: JoinSet<()>,
}

impl SqsMapping {
    /// Starts polling.
    ///
    /// # Errors
    /// A filter's pattern is not one that Lambda takes.
    pub fn start<Q: Queue, I: Invoke>(
        spec: SqsMappingSpec,
        queue: Q,
        function: I,
        observer: MappingObserver,
    ) -> Result<SqsMapping, FilterError> {
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
        Ok(SqsMapping { stop, pollers })
    }

    /// Stops polling at once and waits for the invocations in flight and what follows from them; no longer than the
    /// function's time-out.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.pollers.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests;
