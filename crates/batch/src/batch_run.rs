//! [`BatchRun`]: handles the messages of a batch and settles each exactly once.
//!
//! Ordering groups run concurrently, and the messages of a group one after another. On a standard queue each message is
//! a group by itself. The steps for a message: decode strictly, call the handler under the deadline and a panic guard,
//! settle by the outcome, report.
//!
//! The calls of a source are boxed: they are made for failed messages only, and their futures are large.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{FutureExt, StreamExt, stream};
use sluicegate_envelope::Envelope;
use sluicegate_queue::{SendError, ordering_groups};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::deadlines::Deadlines;
use crate::handlers::Handlers;
use crate::idempotency::{Begin, Idempotency};
use crate::rejection::codes;
use crate::report::Report;
use crate::retry::RetryPolicies;
use crate::settlement::{Disposition, Reason, Settlement, Tries, Unlogged};
#[cfg(feature = "s3")]
use crate::source::adapter::FetchError;
use crate::source::adapter::{ReceivedMessage, Source};
use crate::status::{Statuses, Subject};
use crate::{Delivery, Outcome, Rejection};

/// The rules for one batch.
pub(crate) struct BatchRun<'a> {
    pub(crate) handlers: &'a Handlers,
    pub(crate) retries: &'a RetryPolicies,
    pub(crate) idempotency: Option<&'a Idempotency>,
    pub(crate) concurrency: usize,
    pub(crate) deadlines: Deadlines,
    pub(crate) report: Report<'a>,
    pub(crate) statuses: Option<&'a Statuses<'a>>,
    /// The spans of the batch, if they are exported.
    #[cfg(feature = "otlp")]
    pub(crate) trace: Option<&'a crate::batch_trace::BatchTrace<'a>>,
}

impl BatchRun<'_> {
    /// Settles every message. Meanwhile the source prepares its connection. Returns the settlements in the order of the
    /// messages.
    pub(crate) async fn settle<S: Source>(&self, source: &S, messages: &[ReceivedMessage<'_>]) -> Vec<Settlement> {
        let preparing = async {
            source.prepare().await;
            pending::<Infallible>().await
        };
        match select(pin!(self.settle_all(source, messages)), pin!(preparing)).await {
            Either::Left((settlements, _)) => settlements,
            Either::Right((never, _)) => match never {},
        }
    }

    async fn settle_all<S: Source>(&self, source: &S, messages: &[ReceivedMessage<'_>]) -> Vec<Settlement> {
        let batch = RunningBatch { run: self, source, messages };
        let groups = stream::iter(groups(messages)).map(|group| batch.settle_group(group));
        let mut settled: Vec<_> =
            groups.buffer_unordered(self.concurrency.max(1)).flat_map(stream::iter).collect().await;
        settled.sort_unstable_by_key(|(index, _)| *index);
        let mut settlements: Vec<Settlement> = settled.into_iter().map(|(_, settlement)| settlement).collect();
        let dispositions = settlements.iter().map(|settlement| settlement.disposition).enumerate();
        let returned = dispositions.filter(|(_, disposition)| disposition.is_returned());
        let returned: Vec<_> = returned.map(|(index, disposition)| (index, disposition.delay())).collect();
        if !returned.is_empty() {
            let returning = Box::pin(source.return_to_queue(&returned));
            if timeout_at(self.deadlines.settle_until, returning).await.is_err() {
                let request_id = self.report.request_id;
                tracing::warn!(request_id, messages = returned.len(), "no time was left to return messages");
            }
        }
        for (index, settlement) in settlements.iter_mut().enumerate() {
            batch.log_returned(index, settlement);
        }
        settlements
    }
}

/// A batch with its source.
struct RunningBatch<'a, S> {
    run: &'a BatchRun<'a>,
    source: &'a S,
    messages: &'a [ReceivedMessage<'a>],
}

impl<S: Source> RunningBatch<'_, S> {
    /// Settles the messages of one ordering group; after a failure the later ones are returned.
    async fn settle_group(&self, group: Vec<usize>) -> Vec<(usize, Settlement)> {
        let mut settled = Vec::with_capacity(group.len());
        let mut blocked = None;
        for index in group {
            // Held until the message is settled.
            #[cfg(feature = "s3")]
            let _room = match blocked {
                None => self.source.room(index, self.run.deadlines.work_until).await,
                Some(_) => None,
            };
            let settlement = if let Some(delay) = blocked {
                self.settle_unstarted(index, delay, "an earlier message of its group was returned").await
            } else if Instant::now() >= self.run.deadlines.work_until {
                self.settle_unstarted(index, None, "not started before the deadline").await
            } else {
                self.settle_started(index, settled.is_empty()).await
            };
            if settlement.disposition.is_returned() {
                blocked = Some(settlement.disposition.delay());
            }
            settled.push((index, settlement));
        }
        settled
    }

    /// Returns a message without a call of its handler, or dead-letters it in its last receive.
    async fn settle_unstarted(&self, index: usize, delay: Option<Duration>, reason: &'static str) -> Settlement {
        let message = &self.messages[index];
        let (disposition, reason) = self.return_uncalled(index, message, delay, codes::NOT_STARTED, reason).await;
        if disposition.is_returned() {
            return self.settled(index, message, None, disposition, reason, None);
        }
        let is_pointer = self.source.is_pointer(index);
        let delivery = if is_pointer { None } else { self.decode(index, message).ok() };
        self.note_status(index, delivery.as_deref(), disposition, &reason, false);
        self.settled(index, message, delivery.as_ref(), disposition, reason, None)
    }

    /// Settles one message; where the source retries in place, after as many tries as the time allows. There a message
    /// that cannot be dead-lettered is returned after a delay, because its batch comes again at once. `head` is true if
    /// it is the first of its group.
    async fn settle_started(&self, index: usize, head: bool) -> Settlement {
        let message = &self.messages[index];
        if let Some((disposition, reason)) = self.source.settled_unhandled(index) {
            return self.settled(index, message, None, disposition, reason.into(), None);
        }
        let mut settlement = self.settle_message(index, message, head).await;
        if self.source.retries_in_place(index) {
            let mut message = message.clone();
            let mut retried = Vec::new();
            while let Disposition::Retry(delay) | Disposition::RejectFailed(delay) = settlement.disposition {
                let work_until = self.run.deadlines.work_until;
                sleep_until(Instant::now().checked_add(delay).unwrap_or(work_until).min(work_until)).await;
                if matches!(settlement.disposition, Disposition::RejectFailed(_)) || Instant::now() >= work_until {
                    break;
                }
                message.receive_count = message.receive_count.saturating_add(1);
                retried.push(settlement.handler);
                settlement = Box::pin(self.settle_message(index, &message, head)).await;
            }
            settlement.retried_in_place = retried;
        }
        settlement
    }

    /// Decodes, handles, settles and reports one receive of a message.
    async fn settle_message(&self, index: usize, message: &ReceivedMessage<'_>, head: bool) -> Settlement {
        #[cfg(feature = "otlp")]
        let started_at = std::time::SystemTime::now();
        #[cfg(feature = "s3")]
        let decoded = match self.fetch(index, message).await {
            Some(fetched) => fetched.map_err(NotDecoded::NotFetched),
            None => self.decode(index, message),
        };
        #[cfg(not(feature = "s3"))]
        let decoded = self.decode(index, message);
        let (outcome, interruption, handler) = match &decoded {
            Err(NotDecoded::Undecodable(error)) => {
                (Outcome::reject(codes::UNDECODABLE, format!("undecodable: {error}")), None, None)
            }
            #[cfg(feature = "s3")]
            Err(NotDecoded::NotFetched(error @ FetchError::Retry(_))) => {
                (Outcome::Failed(error.to_string()), None, None)
            }
            #[cfg(feature = "s3")]
            Err(NotDecoded::NotFetched(error @ FetchError::Reject(_))) => {
                (Outcome::reject(codes::PAYLOAD_UNAVAILABLE, error.to_string()), None, None)
            }
            Ok(delivery) => match self.begin(delivery).await {
                Begin::Handle => self.with_status(delivery, self.call(delivery)).await,
                Begin::Refuse(outcome) => (outcome, None, None),
                Begin::Skip => {
                    let (disposition, reason) = (Disposition::Duplicate, "".into());
                    self.note_status(index, Some(delivery), disposition, &reason, false);
                    return self.settled(index, message, Some(delivery), disposition, reason, None);
                }
                // Its status is that of the delivery that is being handled.
                Begin::Wait(left) => {
                    const REASON: &str = "another delivery of it is being handled";
                    let returning = self.return_uncalled(index, message, Some(left), codes::IN_PROGRESS, REASON);
                    let (disposition, reason) = returning.await;
                    return self.settled(index, message, Some(delivery), disposition, reason, None);
                }
            },
        };
        let tries = match outcome {
            Outcome::Retry | Outcome::Failed(_) | Outcome::RetryAfter(_) if handler.is_some() => {
                self.failed(index, message, head).await
            }
            // What the message needs was not at hand, which says nothing about the message.
            Outcome::Failed(_) => Tries { count: message.receive_count, last: self.is_last_receive(index).await },
            _ => Tries { count: message.receive_count, last: false },
        };
        let envelope = decoded.as_deref().ok().map(Delivery::envelope);
        let backoff = || self.run.retries.of(envelope.map(Envelope::event_type)).delay(tries.count);
        let (disposition, reason): (_, Reason) = match unless_last(outcome, interruption, message.receive_count, tries)
        {
            Outcome::Done => (Disposition::Done, "".into()),
            Outcome::Retry => (Disposition::Retry(backoff()), interruption.map_or("", Interruption::reason).into()),
            Outcome::Failed(reason) => (Disposition::Retry(backoff()), reason.into()),
            Outcome::RetryAfter(delay) => (Disposition::Retry(delay), "after a delay that the handler set".into()),
            Outcome::Reject(rejection) => {
                let is_undecodable = matches!(decoded, Err(NotDecoded::Undecodable(_)));
                let rejected = if is_undecodable { Disposition::Undecodable } else { Disposition::Rejected };
                self.reject(index, rejection, rejected, backoff()).await
            }
        };
        #[cfg(feature = "otlp")]
        if let Some(trace) = self.run.trace {
            trace.processed(message, envelope, disposition, started_at);
        }
        if let (Some(idempotency), Ok(delivery)) = (self.run.idempotency, &decoded) {
            idempotency.end(delivery, disposition, tries.last, self.run.deadlines.dead_letter_until).await;
        }
        self.note_status(index, decoded.as_deref().ok(), disposition, &reason, tries.last);
        self.settled(index, message, decoded.as_ref().ok(), disposition, reason, handler)
    }

    /// Returns a message whose handler is not called. In its last receive it is dead-lettered instead, because its
    /// source would do that without a reason.
    async fn return_uncalled(
        &self,
        index: usize,
        message: &ReceivedMessage<'_>,
        delay: Option<Duration>,
        code: &'static str,
        reason: &'static str,
    ) -> (Disposition, Reason) {
        if !self.is_last_receive(index).await {
            return (Disposition::Returned(delay), reason.into());
        }
        let rejection = exhausted(code, message.receive_count, reason);
        self.reject(index, rejection, Disposition::Rejected, delay.unwrap_or_default()).await
    }

    /// Returns whether the source dead-letters the message by itself if it is returned now; false if it does not answer
    /// in time.
    async fn is_last_receive(&self, index: usize) -> bool {
        let asking = Box::pin(self.source.is_last_receive(index));
        timeout_at(self.run.deadlines.dead_letter_until, asking).await.unwrap_or(false)
    }

    /// Dead-letters a message; it is retried after `delay` if the dead-letter queue does not take it.
    async fn reject(
        &self,
        index: usize,
        rejection: Rejection,
        rejected: Disposition,
        delay: Duration,
    ) -> (Disposition, Reason) {
        match self.dead_letter(index, &rejection).await {
            Ok(()) => (rejected, rejection.into()),
            Err(error) => {
                let detail = format!("{rejection}; not dead-lettered: {error}");
                (Disposition::RejectFailed(delay), rejection.with_detail(detail).into())
            }
        }
    }

    /// Reports a message that is settled, unless its source may dead-letter it instead of returning it.
    fn settled(
        &self,
        index: usize,
        message: &ReceivedMessage<'_>,
        delivery: Option<&Arc<Delivery>>,
        disposition: Disposition,
        reason: Reason,
        handler: Option<Duration>,
    ) -> Settlement {
        let envelope = delivery.map(|delivery| delivery.envelope());
        let sent_unix_ms = self.source.sent_unix_ms(index, envelope);
        let unlogged = if disposition.is_returned() && self.source.may_dead_letter_instead(index) {
            Some(Box::new(Unlogged { delivery: delivery.cloned(), reason }))
        } else {
            self.run.report.log(message, envelope, disposition, &reason, handler);
            None
        };
        Settlement { disposition, handler, retried_in_place: Vec::new(), sent_unix_ms, unlogged }
    }

    /// Reports a message that was returned, or dead-lettered instead.
    fn log_returned(&self, index: usize, settlement: &mut Settlement) {
        let Some(unlogged) = settlement.unlogged.take() else { return };
        let Unlogged { delivery, mut reason } = *unlogged;
        if let Some(rejection) = self.source.dead_lettered_instead(index) {
            // A message without a delivery could not be decoded.
            settlement.disposition = match delivery {
                Some(_) => Disposition::Rejected,
                None => Disposition::Undecodable,
            };
            reason = rejection.into();
            self.note_status(index, delivery.as_deref(), settlement.disposition, &reason, false);
        }
        let envelope = delivery.as_deref().map(Delivery::envelope);
        self.run.report.log(&self.messages[index], envelope, settlement.disposition, &reason, settlement.handler);
    }

    /// Notes what became of a message that has a status. Without a delivery, its payload was not read.
    fn note_status(
        &self,
        index: usize,
        delivery: Option<&Delivery>,
        disposition: Disposition,
        reason: &Reason,
        is_last: bool,
    ) {
        let Some(statuses) = self.run.statuses else { return };
        let unread_id = if delivery.is_none() { self.source.status_id(index) } else { None };
        let receive_count = self.messages[index].receive_count;
        let subject = match (delivery, &unread_id) {
            (Some(delivery), _) => Subject::of(delivery),
            (None, Some(id)) => Some(Subject { id, receive_count, result: None }),
            (None, None) => None,
        };
        if let Some(subject) = subject {
            statuses.settled(&subject, disposition, reason, is_last);
        }
    }

    /// Waits for a handler, whose message is recorded as being processed if it has a status.
    async fn with_status<T>(&self, delivery: &Delivery, calling: impl Future<Output = T>) -> T {
        match self.run.statuses {
            Some(statuses) => statuses.while_handled(delivery, calling).await,
            None => calling.await,
        }
    }

    fn decode(&self, index: usize, message: &ReceivedMessage<'_>) -> Result<Arc<Delivery>, NotDecoded<S::Undecodable>> {
        let envelope = self.source.decode(index).map_err(NotDecoded::Undecodable)?;
        Ok(self.delivery(envelope, index, message))
    }

    /// Fetches a payload that is stored beside the queue.
    #[cfg(feature = "s3")]
    async fn fetch(&self, index: usize, message: &ReceivedMessage<'_>) -> Option<Result<Arc<Delivery>, FetchError>> {
        let fetched = self.source.fetch(index, self.run.deadlines.work_until).await?;
        Some(fetched.map(|envelope| self.delivery(envelope, index, message)))
    }

    fn delivery(&self, envelope: Envelope, index: usize, message: &ReceivedMessage<'_>) -> Arc<Delivery> {
        let attributes = self.source.message_attributes(index);
        let delivery = Delivery::new(envelope, message, attributes, self.run.deadlines.work_until);
        #[cfg(feature = "kafka")]
        let delivery = Delivery { kafka_record: self.source.kafka_record(index), ..delivery };
        Arc::new(delivery)
    }

    /// Claims the key of a message whose type has an idempotency rule.
    async fn begin(&self, delivery: &Delivery) -> Begin {
        match self.run.idempotency {
            Some(idempotency) => idempotency.begin(delivery, &self.run.deadlines).await,
            None => Begin::Handle,
        }
    }

    /// Calls the handler. Returns the outcome, the interruption if the handler did not decide, and the time it took,
    /// `None` if the type has no handler.
    async fn call(&self, delivery: &Arc<Delivery>) -> (Outcome, Option<Interruption>, Option<Duration>) {
        let handler = match self.run.handlers.of(delivery.envelope().event_type()) {
            Ok(handler) => handler,
            Err(rejection) => return (rejection, None, None),
        };
        let started = Instant::now();
        // One async block, so that a panic is caught while the handler is called, polled or dropped. Unwinding is safe:
        // handlers are `Fn` and synchronize their own shared state.
        let deadline = self.run.deadlines.work_until;
        let work = async { timeout_at(deadline, handler(Arc::clone(delivery))).await };
        let (outcome, interruption) = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(outcome)) => (outcome, None),
            Ok(Err(_)) => (Outcome::Retry, Some(Interruption::Cancelled)),
            Err(_) => (Outcome::Retry, Some(Interruption::Panicked)),
        };
        (outcome, interruption, Some(started.elapsed()))
    }

    /// Counts a failure of the handler. If the source does not answer in time, the message is retried.
    async fn failed(&self, index: usize, message: &ReceivedMessage<'_>, head: bool) -> Tries {
        let counting = Box::pin(self.source.failed(index, head));
        let tries = timeout_at(self.run.deadlines.dead_letter_until, counting).await;
        tries.unwrap_or(Tries { count: message.receive_count, last: false })
    }

    async fn dead_letter(&self, index: usize, rejection: &Rejection) -> Result<(), SendError> {
        let storing = Box::pin(self.source.dead_letter(index, rejection));
        match timeout_at(self.run.deadlines.dead_letter_until, storing).await {
            Ok(stored) => stored,
            Err(_) => Err(SendError::Unknown { reason: "no time was left".to_owned() }),
        }
    }
}

/// A message without a delivery.
#[derive(Debug)]
enum NotDecoded<E> {
    /// It is not an event.
    Undecodable(E),
    /// Its payload could not be fetched.
    #[cfg(feature = "s3")]
    NotFetched(FetchError),
}

/// Why a handler did not decide.
#[derive(Clone, Copy, Debug)]
enum Interruption {
    Cancelled,
    Panicked,
}

impl Interruption {
    fn reason(self) -> &'static str {
        match self {
            Self::Cancelled => "the handler was cancelled at the deadline",
            Self::Panicked => "the handler panicked",
        }
    }

    /// Returns the code of a message that it ends the last receive of.
    fn code(self) -> &'static str {
        match self {
            Self::Cancelled => codes::HANDLER_CANCELLED,
            Self::Panicked => codes::HANDLER_PANICKED,
        }
    }
}

/// Returns the outcome, or a rejection if the message failed the last of its receives.
fn unless_last(outcome: Outcome, interruption: Option<Interruption>, receive_count: u32, tries: Tries) -> Outcome {
    let cause = match &outcome {
        _ if !tries.last => return outcome,
        Outcome::Done | Outcome::Reject(_) => return outcome,
        Outcome::Failed(reason) => reason,
        Outcome::Retry | Outcome::RetryAfter(_) => {
            interruption.map_or("the handler returned a retry", Interruption::reason)
        }
    };
    let code = interruption.map_or(codes::RECEIVES_EXHAUSTED, Interruption::code);
    Outcome::Reject(exhausted(code, receive_count, cause))
}

/// Returns the rejection of a message that failed the last of its receives.
fn exhausted(code: &'static str, receive_count: u32, cause: &str) -> Rejection {
    Rejection::new(code, format!("receives exhausted after {receive_count}: {cause}"))
}

/// Returns the ordering groups as indexes, those with the most receives first. A message that was not started in time
/// has used up a receive; it starts first in the next batch, so that the queue does not dead-letter it unhandled.
fn groups(messages: &[ReceivedMessage<'_>]) -> Vec<Vec<usize>> {
    let key = |index: &usize| {
        let message = messages.get(*index).filter(|message| message.ordered)?;
        Some((message.queue, message.group.as_deref()))
    };
    let mut groups = ordering_groups(0..messages.len(), key);
    let receive_count = |index: &usize| messages.get(*index).map(|message| message.receive_count);
    groups.sort_by_key(|group| Reverse(group.first().and_then(receive_count)));
    groups
}

#[cfg(test)]
mod tests;
