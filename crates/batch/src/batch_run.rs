//! Works one batch off: lanes of messages side by side, one message of a lane after the other, each settled exactly once.
//!
//! Every message of a standard queue is a lane of its own; on a FIFO queue each group is one. The order of decisions for a
//! message: decode strictly, call the handler under the deadline and behind a panic guard, then do what it decided.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt, stream};
use sluicegate_envelope::Envelope;
use tokio::time::{Instant, timeout_at};

use crate::handlers::Handlers;
use crate::report::{Disposition, Invocation};
use crate::{Delivery, Outcome, RetryPolicy};

/// A message as its source understood it.
#[derive(Debug)]
pub(crate) struct ReceivedMessage<'a> {
    /// The broker's.
    pub(crate) id: Cow<'a, str>,
    pub(crate) queue: &'a str,
    pub(crate) receive_count: u32,
    pub(crate) group: Option<Cow<'a, str>>,
    /// Whether messages of its group must be handled in order.
    pub(crate) ordered: bool,
    /// The header of X-Ray that it was sent with.
    pub(crate) trace_header: Option<Cow<'a, str>>,
}

/// What a source does for messages of the batch, named by their index. Everything else about settling is decided here.
pub(crate) trait Source {
    /// Reads the event, strictly.
    ///
    /// # Errors
    /// Why the message is undecodable. It is dead-lettered.
    fn decode(&self, index: usize) -> Result<Envelope, String>;

    /// When the message was sent, in milliseconds since 1970, if that is known. The event is there if it could be read.
    fn sent_unix_ms(&self, index: usize, envelope: Option<&Envelope>) -> Option<u64>;

    /// Counts a failure of the handler. `head`: no message that it must wait for stood before it in the batch.
    fn failed(&self, index: usize, head: bool) -> impl Future<Output = Tries>;

    /// Stores a copy in the dead-letter queue. `Ok` only if the broker said so; otherwise the reason, for the log.
    fn dead_letter(&self, index: usize, reason: &str) -> impl Future<Output = Result<(), String>>;

    /// Gives messages back: those that were started after this delay, the others untouched. Called once, with all of them, if
    /// there are any. A source must still be sound when this is given up at the deadline.
    fn return_to_queue(&self, returned: &[(usize, Option<Duration>)]) -> impl Future<Output = ()>;
}

/// How often a message was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tries {
    /// Receives in which it was, or could have been, handled, this one included.
    pub(crate) count: u32,
    /// Whether it is dead-lettered now rather than tried again.
    pub(crate) last: bool,
}

/// How a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It may be deleted: handled.
    Done,
    /// It may be deleted: stored in the dead-letter queue.
    DeadLettered,
    /// It goes back to the queue, hidden for a while if its handler had started.
    Returned(Option<Duration>),
}

/// A delivery that has ended, and what is told about it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) settled: Settled,
    pub(crate) disposition: Disposition,
    /// How long its handler took, if one was called.
    pub(crate) handler: Option<Duration>,
    /// When it was sent, in milliseconds since 1970.
    pub(crate) sent_unix_ms: Option<u64>,
}

/// The rules for one batch.
pub(crate) struct BatchRun<'a, S> {
    pub(crate) handlers: &'a Handlers,
    pub(crate) retry: RetryPolicy,
    pub(crate) concurrency: usize,
    /// Handlers are cancelled and nothing more is started.
    pub(crate) work_until: Instant,
    /// A dead-letter queue is waited for until then. What remains is for giving back, so that one that does not answer costs no
    /// other message its delay.
    pub(crate) dead_letter_until: Instant,
    /// Settling is given up; what is not settled then goes back.
    pub(crate) settle_until: Instant,
    pub(crate) messages: &'a [ReceivedMessage<'a>],
    pub(crate) source: &'a S,
    pub(crate) invocation: Invocation<'a>,
}

impl<S: Source> BatchRun<'_, S> {
    /// Settles every message; the answer is in their order.
    pub(crate) async fn run(&self) -> Vec<Ended> {
        let groups = stream::iter(ordering_groups(self.messages)).map(|group| self.ordering_group(group));
        let mut ended: Vec<_> = groups.buffer_unordered(self.concurrency.max(1)).flat_map(stream::iter).collect().await;
        ended.sort_unstable_by_key(|(index, _)| *index);
        let ended: Vec<Ended> = ended.into_iter().map(|(_, ended)| ended).collect();
        let returned = |(index, ended): (usize, &Ended)| match ended.settled {
            Settled::Returned(delay) => Some((index, delay)),
            _ => None,
        };
        let returned: Vec<_> = ended.iter().enumerate().filter_map(returned).collect();
        if !returned.is_empty() && timeout_at(self.settle_until, self.source.return_to_queue(&returned)).await.is_err()
        {
            let request_id = self.invocation.request_id;
            tracing::warn!(request_id, messages = returned.len(), "no time was left to give messages back");
        }
        self.invocation.count(self.messages, &ended);
        ended
    }

    async fn ordering_group(&self, group: Vec<usize>) -> Vec<(usize, Ended)> {
        let mut ended = Vec::with_capacity(group.len());
        let mut blocked = None;
        for index in group {
            let untouched = |delay, reason| {
                self.invocation.log(&self.messages[index], None, Disposition::Returned, reason, None);
                let sent_unix_ms = self.source.sent_unix_ms(index, None);
                Ended {
                    settled: Settled::Returned(delay),
                    disposition: Disposition::Returned,
                    handler: None,
                    sent_unix_ms,
                }
            };
            let how = if let Some(delay) = blocked {
                untouched(delay, "an earlier message of its group was returned")
            } else if Instant::now() >= self.work_until {
                untouched(None, "not started before the deadline")
            } else {
                self.message(index, &self.messages[index], ended.is_empty()).await
            };
            if let Settled::Returned(delay) = how.settled {
                blocked = Some(delay);
            }
            ended.push((index, how));
        }
        ended
    }

    async fn message(&self, index: usize, message: &ReceivedMessage<'_>, head: bool) -> Ended {
        let decoded = self.decode(index, message);
        let (outcome, cause, handler) = match &decoded {
            Err(reason) => (Outcome::Reject(reason.clone()), "", None),
            Ok(delivery) => {
                let started = Instant::now();
                let (outcome, cause) = self.call(delivery).await;
                (outcome, cause, Some(started.elapsed()))
            }
        };
        let tries = match outcome {
            Outcome::Retry | Outcome::Failed(_) | Outcome::RetryAfter(_) => self.failed(index, message, head).await,
            _ => Tries { count: message.receive_count, last: false },
        };
        let backoff = || Settled::Returned(Some(self.retry.delay(tries.count)));
        let (settled, disposition, reason) = match unless_last(outcome, cause, message.receive_count, tries) {
            Outcome::Done => (Settled::Done, Disposition::Done, cause.into()),
            Outcome::Retry => (backoff(), Disposition::Retry, cause.into()),
            Outcome::Failed(reason) => (backoff(), Disposition::Retry, reason.into()),
            Outcome::RetryAfter(delay) => {
                (Settled::Returned(Some(delay)), Disposition::Retry, "after a time the handler chose".into())
            }
            Outcome::Reject(reason) => {
                let stored = timeout_at(self.dead_letter_until, self.source.dead_letter(index, &reason)).await;
                match stored.unwrap_or_else(|_| Err("no time was left".to_owned())) {
                    Ok(()) if decoded.is_err() => (Settled::DeadLettered, Disposition::Undecodable, Cow::Owned(reason)),
                    Ok(()) => (Settled::DeadLettered, Disposition::Rejected, reason.into()),
                    Err(error) => {
                        (backoff(), Disposition::RejectFailed, format!("{reason}; not dead-lettered: {error}").into())
                    }
                }
            }
        };
        let envelope = decoded.as_deref().ok().map(Delivery::envelope);
        self.invocation.log(message, envelope, disposition, &reason, handler);
        Ended { settled, disposition, handler, sent_unix_ms: self.source.sent_unix_ms(index, envelope) }
    }

    fn decode(&self, index: usize, message: &ReceivedMessage<'_>) -> Result<Arc<Delivery>, String> {
        let envelope = self.source.decode(index).map_err(|reason| format!("undecodable: {reason}"))?;
        Ok(Arc::new(Delivery {
            // The broker's may be a token made of it: SQS does not take every text.
            group: envelope.group().or(message.group.as_deref()).map(str::to_owned),
            envelope,
            receive_count: message.receive_count,
            queue: message.queue.to_owned(),
            deadline: self.work_until,
        }))
    }

    /// Counts a failure. Without an answer in time the message is tried again.
    async fn failed(&self, index: usize, message: &ReceivedMessage<'_>, head: bool) -> Tries {
        let tries = timeout_at(self.dead_letter_until, self.source.failed(index, head)).await;
        tries.unwrap_or(Tries { count: message.receive_count, last: false })
    }

    /// The outcome, and why if the handler did not say.
    async fn call(&self, delivery: &Arc<Delivery>) -> (Outcome, &'static str) {
        // In one async block, so that a panic while the handler is made, polled or dropped is caught alike. Nothing shared is
        // left half-changed by it: the handlers are `Fn`, and what they share they guard themselves.
        let work = async { timeout_at(self.work_until, self.handlers.call(Arc::clone(delivery))).await };
        match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(outcome)) => (outcome, ""),
            Ok(Err(_)) => (Outcome::Retry, "the handler was cancelled at the deadline"),
            Err(_) => (Outcome::Retry, "the handler panicked"),
        }
    }
}

fn unless_last(outcome: Outcome, cause: &str, receive_count: u32, tries: Tries) -> Outcome {
    let cause = match &outcome {
        _ if !tries.last => return outcome,
        Outcome::Done | Outcome::Reject(_) => return outcome,
        Outcome::Failed(reason) => reason,
        Outcome::Retry | Outcome::RetryAfter(_) if cause.is_empty() => "the handler asked for a retry",
        Outcome::Retry | Outcome::RetryAfter(_) => cause,
    };
    Outcome::Reject(format!("receives exhausted after {receive_count}: {cause}"))
}

/// The indexes of the messages that must wait for each other, in the order of arrival; the most often received come first. What
/// was not started in time spends a receive, so the next batch starts with it, lest the queue dead-letter it unheard.
fn ordering_groups(messages: &[ReceivedMessage<'_>]) -> Vec<Vec<usize>> {
    let mut lanes: Vec<Vec<usize>> = Vec::with_capacity(messages.len());
    let mut groups = HashMap::new();
    for (index, message) in messages.iter().enumerate() {
        let lane = match message.ordered {
            true => *groups.entry((message.queue, message.group.as_deref())).or_insert(lanes.len()),
            false => lanes.len(),
        };
        match lanes.get_mut(lane) {
            Some(lane) => lane.push(index),
            None => lanes.push(vec![index]),
        }
    }
    let receive_count = |index: &usize| messages.get(*index).map(|message| message.receive_count);
    lanes.sort_by_key(|lane| Reverse(lane.first().and_then(receive_count)));
    lanes
}

#[cfg(test)]
mod tests;
