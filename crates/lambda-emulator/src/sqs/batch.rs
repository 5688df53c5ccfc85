//! Batches: several receives until the batch is full, its window closes, or the payload limit is reached.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::polled_queue::{LONG_POLL_S, SqsApi};
use super::record::Delivery;
use super::shared::Shared;
use crate::mapping::{Backoff, EVENT_BYTES_MAX, Invoke, MappingEvent};

/// Pause between receives while a window is open. A long poll could last longer than the window.
const WINDOW_PAUSE: Duration = Duration::from_millis(200);

const HEAD: &str = "{\"Records\":[";
const TAIL: &str = "]}";

/// Messages for one invocation; never delivered empty.
pub(super) struct Batch {
    pub(super) deliveries: Vec<Delivery>,
    event_bytes: usize,
}

impl Batch {
    fn new() -> Batch {
        Batch { deliveries: Vec::new(), event_bytes: HEAD.len() + TAIL.len() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Takes the delivery, or returns it if the event would be too large. The first delivery always fits: a message
    /// of 1 MiB is at most 2 MiB as JSON.
    fn push(&mut self, delivery: Delivery) -> Result<(), Delivery> {
        let event_bytes = self.event_bytes + delivery.record.len() + 1;
        if event_bytes > EVENT_BYTES_MAX && !self.is_empty() {
            return Err(delivery);
        }
        self.event_bytes = event_bytes;
        self.deliveries.push(delivery);
        Ok(())
    }

    /// Returns the event.
    pub(super) fn event(&self) -> Bytes {
        let mut event = String::with_capacity(self.event_bytes);
        event.push_str(HEAD);
        for (index, delivery) in self.deliveries.iter().enumerate() {
            if index > 0 {
                event.push(',');
            }
            event.push_str(&delivery.record);
        }
        event.push_str(TAIL);
        event.into()
    }
}

impl<Q: SqsApi, I: Invoke> Shared<Q, I> {
    /// Returns the next batch. `surplus` holds the messages that did not fit into the last one. When stopped, returns
    /// the messages gathered so far.
    pub(super) async fn gather(&self, surplus: &mut VecDeque<Delivery>, stop: &CancellationToken) -> Batch {
        let backoff = Backoff::default();
        let mut batch = Batch::new();
        let mut window_end = None;
        loop {
            while let Some(delivery) = surplus.pop_front() {
                if let Err(delivery) = batch.push(delivery) {
                    surplus.push_front(delivery);
                    return batch;
                }
            }
            let room = self.spec.batch_size.saturating_sub(batch.deliveries.len());
            if !batch.is_empty() {
                let end = *window_end.get_or_insert_with(|| Instant::now() + self.spec.batching_window);
                if room == 0 || Instant::now() >= end {
                    return batch;
                }
            }
            let wait_s = if batch.is_empty() { LONG_POLL_S } else { 0 };
            let received = tokio::select! {
                biased;
                () = stop.cancelled() => return batch,
                received = self.queue.receive(room.max(1), wait_s) => received,
            };
            let pause = match received {
                Ok(messages) if !messages.is_empty() => {
                    self.accept(messages, surplus).await;
                    continue;
                }
                Ok(_) if batch.is_empty() => continue,
                Ok(_) => WINDOW_PAUSE,
                Err(error) => {
                    backoff.failed();
                    tracing::warn!(queue = &*self.names.queue, %error, "cannot receive messages");
                    backoff.pause()
                }
            };
            let end = window_end.unwrap_or_else(|| Instant::now() + pause);
            tokio::select! {
                biased;
                () = stop.cancelled() => return batch,
                () = sleep(pause.min(end.saturating_duration_since(Instant::now()))) => {}
            }
        }
    }

    /// Moves the messages that pass the filters into `accepted` and deletes the others.
    async fn accept(&self, messages: Vec<serde_json::Value>, accepted: &mut VecDeque<Delivery>) {
        let now = Instant::now();
        let mut unwanted = Vec::new();
        for message in messages {
            let delivery = match Delivery::new(message, &self.spec.queue_arn, now) {
                Ok(delivery) => delivery,
                Err(error) => {
                    tracing::warn!(queue = &*self.names.queue, %error, "the queue service sent a malformed message");
                    continue;
                }
            };
            // Without filters the record need not be parsed.
            let passes = self.filters.is_empty()
                || serde_json::from_str(&delivery.record).is_ok_and(|record| self.filters.pass(&record));
            if passes {
                accepted.push_back(delivery);
            } else {
                unwanted.push(delivery);
            }
        }
        if !unwanted.is_empty() {
            self.delete(&unwanted.iter().collect::<Vec<_>>(), MappingEvent::FilteredOut).await;
        }
    }
}
