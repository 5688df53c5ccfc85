//! One poller of a mapping: it takes a slot, gathers a batch and has it delivered.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::shared::Shared;
use super::source::Queue;
use crate::mapping::{Backoff, Invoke, Stop};

impl<Q: Queue, I: Invoke> Shared<Q, I> {
    /// One poller: a slot, a batch, an invocation on the side, again.
    ///
    /// The slot comes first: `MaximumConcurrency` stops the polling instead of holding messages that nobody works on.
    pub(super) async fn poll(self: Arc<Self>, mut stop: Stop) {
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
}
