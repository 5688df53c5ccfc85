//! One poller of a mapping: takes a slot, gathers a batch, delivers it.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::polled_queue::SqsApi;
use super::shared::Shared;
use crate::mapping::{Backoff, Invoke};

impl<Q: SqsApi, I: Invoke> Shared<Q, I> {
    /// Polls until stopped: takes a slot, gathers a batch, delivers it in a task, and starts again.
    ///
    /// The slot is taken first, so that `MaximumConcurrency` pauses the polling and holds no messages in flight.
    pub(super) async fn poll(self: Arc<Self>, stop: CancellationToken) {
        let backoff = Arc::new(Backoff::default());
        let mut surplus = VecDeque::new();
        let mut deliveries = JoinSet::new();
        while !stop.is_cancelled() {
            let slot = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                slot = Arc::clone(&self.concurrency).acquire_owned() => slot,
            };
            let Ok(slot) = slot else { break };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep(backoff.pause()) => {}
            }
            let batch = self.gather(&mut surplus, &stop).await;
            if !batch.is_empty() {
                let (shared, stop, backoff) = (Arc::clone(&self), stop.clone(), Arc::clone(&backoff));
                deliveries.spawn(async move {
                    let clean = shared.deliver(batch, stop, &backoff).await;
                    drop(slot);
                    clean
                });
            }
            if self.spec.fifo && !surplus.is_empty() {
                // Surplus messages of a FIFO queue wait for those before them, and return to the queue if those fail.
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
}
