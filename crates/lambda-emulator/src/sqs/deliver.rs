//! The delivery of one batch: invocation, verdict, settlement.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::batch::Batch;
use super::polled_queue::SqsApi;
use super::shared::Shared;
use super::verdict::{Verdict, interpret};
use crate::environment::Invocation;
use crate::mapping::{Backoff, Invoke, MappingEvent};

/// The first pause before a throttled invocation is retried. It doubles.
const THROTTLE_PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest such pause.
const THROTTLE_PAUSE_MAX: Duration = Duration::from_secs(5);

impl<Q: SqsApi, I: Invoke> Shared<Q, I> {
    /// Delivers the batch; returns whether the function processed every message.
    pub(super) async fn deliver(&self, batch: Batch, stop: CancellationToken, backoff: &Backoff) -> bool {
        for delivery in &batch.deliveries {
            self.report(&MappingEvent::Delivered(self.message(delivery)));
        }
        let invocation = self.invoke(&batch, &stop).await;
        let verdict = self.judge(invocation, &batch);
        match &verdict {
            Verdict::Failure(reason) => {
                // Lambda does not slow down a mapping that reports item failures.
                if !self.spec.report_batch_item_failures {
                    backoff.failed();
                }
                for delivery in &batch.deliveries {
                    let message = self.message(delivery);
                    self.report(&MappingEvent::BatchFailed { message, reason: reason.clone() });
                }
            }
            Verdict::Success | Verdict::Partial(_) => {
                backoff.succeeded();
                self.settle(&batch, &verdict).await;
            }
        }
        verdict == Verdict::Success
    }

    /// Invokes the function. A throttled invocation is retried until the first message of the batch becomes visible
    /// again, which uses up the receive.
    async fn invoke(&self, batch: &Batch, stop: &CancellationToken) -> Invocation {
        let event: Bytes = batch.event();
        let mut pause = THROTTLE_PAUSE_MIN;
        let mut visible = None;
        loop {
            let invocation = self.function.invoke(event.clone()).await;
            if invocation != Invocation::Throttled {
                return invocation;
            }
            let visible = match visible {
                Some(visible) => visible,
                None => {
                    let received = batch.deliveries.iter().map(|delivery| delivery.received).min();
                    let timeout = self.queue.visibility_timeout().await;
                    *visible.insert(received.unwrap_or_else(Instant::now) + timeout)
                }
            };
            if stop.is_cancelled() || Instant::now() + pause >= visible {
                return invocation;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return invocation,
                () = sleep(pause) => pause = (pause * 2).min(THROTTLE_PAUSE_MAX),
            }
        }
    }

    fn judge(&self, invocation: Invocation, batch: &Batch) -> Verdict {
        match invocation {
            Invocation::Response(response) if self.spec.report_batch_item_failures => {
                let ids: Vec<&str> = batch.deliveries.iter().map(|delivery| &*delivery.message_id).collect();
                interpret(&response, &ids)
            }
            Invocation::Response(_) => Verdict::Success,
            Invocation::FunctionError { payload } => {
                Verdict::Failure(format!("the function failed: {}", String::from_utf8_lossy(&payload)))
            }
            Invocation::TimedOut => Verdict::Failure("the function timed out".to_owned()),
            Invocation::Throttled => Verdict::Failure("the function was throttled".to_owned()),
        }
    }

    /// Deletes the processed messages.
    async fn settle(&self, batch: &Batch, verdict: &Verdict) {
        let listed = |id: &str| matches!(verdict, Verdict::Partial(failed) if failed.contains(id));
        let (failed, done): (Vec<_>, Vec<_>) =
            batch.deliveries.iter().partition(|delivery| listed(&delivery.message_id));
        for delivery in failed {
            self.report(&MappingEvent::Returned(self.message(delivery)));
        }
        self.delete(&done, MappingEvent::Done).await;
    }
}
