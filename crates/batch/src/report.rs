//! What is told about a batch: one log line for each delivery, and one line of metrics for each queue.
//!
//! Both say the same, so the counts of a queue are the numbers of its lines by outcome. Payloads are never told.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;
use sluicegate_envelope::Envelope;
use sluicegate_telemetry::{Deliveries, Emitter, millis, trace_id};

use crate::batch_run::{Ended, ReceivedMessage};

/// How a delivery is told to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Handled.
    Done,
    /// Comes back after a delay.
    Retry,
    /// In the dead-letter queue, with the reason.
    Rejected,
    /// In the dead-letter queue, as it could not be read.
    Undecodable,
    /// Comes back untouched.
    Returned,
    /// The dead-letter queue did not take it: comes back after a delay.
    RejectFailed,
}

impl Disposition {
    fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Retry => "retry",
            Self::Rejected => "rejected",
            Self::Undecodable => "undecodable",
            Self::Returned => "returned",
            Self::RejectFailed => "reject_failed",
        }
    }
}

/// The invocation that a batch came with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Invocation<'a> {
    pub(crate) request_id: &'a str,
    /// The header of X-Ray.
    pub(crate) xray: Option<&'a str>,
    /// When it began: what messages waited until then is their age.
    pub(crate) at: SystemTime,
    pub(crate) emitter: Option<&'a Emitter>,
}

impl<'a> Invocation<'a> {
    pub(crate) fn new(context: &'a Context, emitter: Option<&'a Emitter>) -> Self {
        Self { request_id: &context.request_id, xray: context.xray_trace_id.as_deref(), at: SystemTime::now(), emitter }
    }

    /// Logs a delivery. Its trace is that of its event, else that it was sent in, else that of the invocation.
    pub(crate) fn log(
        &self,
        message: &ReceivedMessage<'_>,
        envelope: Option<&Envelope>,
        disposition: Disposition,
        reason: &str,
        handler: Option<Duration>,
    ) {
        let request_id = self.request_id;
        let (broker_id, queue, receive_count) = (message.id.as_ref(), message.queue, message.receive_count);
        let (message_id, event_type) = (envelope.map(Envelope::id), envelope.map(Envelope::event_type));
        let sent_in = message.trace_header.as_deref();
        let trace_id = trace_id(envelope.and_then(Envelope::traceparent), sent_in).or(trace_id(None, self.xray));
        let outcome = disposition.as_str();
        let reason = Some(reason).filter(|reason| !reason.is_empty());
        let handler_ms = handler.map(millis);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id,
                    message_id,
                    broker_id,
                    event_type,
                    queue,
                    receive_count,
                    outcome,
                    reason,
                    handler_ms,
                    trace_id,
                    "delivery"
                )
            };
        }
        match disposition {
            Disposition::Done => line!(info),
            Disposition::RejectFailed => line!(error),
            _ => line!(warn),
        }
    }

    /// Tells the metrics of the batch.
    pub(crate) fn count(&self, messages: &[ReceivedMessage<'_>], ended: &[Ended]) {
        let Some(emitter) = self.emitter else { return };
        for (queue, deliveries) in by_queue(messages, ended, self.at) {
            if let Err(error) = emitter.deliveries(queue, &deliveries) {
                tracing::warn!(request_id = self.request_id, queue, reason = %error, "no metrics");
            }
        }
    }
}

fn by_queue<'a>(messages: &[ReceivedMessage<'a>], ended: &[Ended], at: SystemTime) -> BTreeMap<&'a str, Deliveries> {
    let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = |sent_unix_ms| since_1970.saturating_sub(Duration::from_millis(sent_unix_ms));
    let mut queues = BTreeMap::<_, Deliveries>::new();
    for (message, ended) in messages.iter().zip(ended) {
        let deliveries = queues.entry(message.queue).or_default();
        let count = match ended.disposition {
            Disposition::Done => &mut deliveries.done,
            Disposition::Retry | Disposition::RejectFailed => &mut deliveries.retried,
            Disposition::Rejected => &mut deliveries.rejected,
            Disposition::Undecodable => &mut deliveries.undecodable,
            Disposition::Returned => &mut deliveries.returned,
        };
        *count += 1;
        deliveries.oldest = deliveries.oldest.max(ended.sent_unix_ms.map(age));
        deliveries.handlers.extend(ended.handler);
    }
    queues
}

#[cfg(test)]
mod tests;
