//! [`Report`]: a log line for each delivery and a line of metrics for each queue of a batch.
//!
//! The counts of a queue equal the number of its log lines for each outcome. Payloads are never logged.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_runtime::Context;
use sluicegate_envelope::Envelope;
use sluicegate_telemetry::{Deliveries, Emitter, millis, trace_id};

use crate::settlement::{Disposition, Reason, Settlement};
use crate::source::adapter::ReceivedMessage;

/// The report of one invocation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report<'a> {
    pub(crate) request_id: &'a str,
    /// The X-Ray header.
    pub(crate) xray: Option<&'a str>,
    /// When the invocation began; the age of a message is counted to it.
    pub(crate) at: SystemTime,
    pub(crate) emitter: Option<&'a Emitter>,
}

impl<'a> Report<'a> {
    /// Starts the report of the invocation with this context.
    pub(crate) fn new(context: &'a Context, emitter: Option<&'a Emitter>) -> Self {
        Self { request_id: &context.request_id, xray: context.xray_trace_id.as_deref(), at: SystemTime::now(), emitter }
    }

    /// Logs a delivery, with the trace id of its event, or else of the message's X-Ray header, or else of the
    /// invocation.
    pub(crate) fn log(
        &self,
        message: &ReceivedMessage<'_>,
        envelope: Option<&Envelope>,
        disposition: Disposition,
        reason: &Reason,
        handler: Option<Duration>,
    ) {
        let request_id = self.request_id;
        let (broker_id, queue, receive_count) = (message.id.as_ref(), message.queue, message.receive_count);
        let (message_id, event_type) = (envelope.map(Envelope::id), envelope.map(Envelope::event_type));
        let sent_in = message.trace_header.as_deref();
        let trace_id = trace_id(envelope.and_then(Envelope::traceparent), sent_in).or(trace_id(None, self.xray));
        let outcome = disposition.as_str();
        let (code, reason) = (reason.code.as_deref(), Some(&*reason.text).filter(|text| !text.is_empty()));
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
                    code,
                    reason,
                    handler_ms,
                    trace_id,
                    "delivery"
                )
            };
        }
        match disposition {
            handled if handled.is_handled() => line!(info),
            Disposition::RejectFailed(_) => line!(error),
            _ => line!(warn),
        }
    }

    /// Writes the metrics of the batch.
    pub(crate) fn count(&self, messages: &[ReceivedMessage<'_>], settlements: &[Settlement]) {
        let Some(emitter) = self.emitter else { return };
        for (queue, deliveries) in by_queue(messages, settlements, self.at) {
            if let Err(error) = emitter.deliveries(queue, &deliveries) {
                tracing::warn!(request_id = self.request_id, queue, reason = %error, "no metrics");
            }
        }
    }
}

/// Counts the deliveries of each queue.
fn by_queue<'a>(
    messages: &[ReceivedMessage<'a>],
    settlements: &[Settlement],
    at: SystemTime,
) -> BTreeMap<&'a str, Deliveries> {
    let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let age = |sent_unix_ms| since_1970.saturating_sub(Duration::from_millis(sent_unix_ms));
    let mut queues = BTreeMap::<_, Deliveries>::new();
    for (message, settlement) in messages.iter().zip(settlements) {
        let deliveries = queues.entry(message.queue).or_default();
        let count = match settlement.disposition {
            Disposition::Done => &mut deliveries.done,
            Disposition::Duplicate => &mut deliveries.duplicate,
            Disposition::Retry(_) | Disposition::RejectFailed(_) => &mut deliveries.retried,
            Disposition::Rejected => &mut deliveries.rejected,
            Disposition::Undecodable => &mut deliveries.undecodable,
            Disposition::Returned(_) => &mut deliveries.returned,
        };
        *count += 1;
        deliveries.retried += settlement.retried_in_place.len() as u64;
        deliveries.oldest = deliveries.oldest.max(settlement.sent_unix_ms.map(age));
        deliveries.handlers.extend(settlement.retried_in_place.iter().chain([&settlement.handler]).flatten());
    }
    queues
}

#[cfg(test)]
mod tests;
