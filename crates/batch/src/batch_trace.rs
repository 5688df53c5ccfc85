//! [`BatchTrace`]: the spans of a batch and of its messages, by the semantic conventions of OpenTelemetry.
//!
//! Each batch has a CLIENT span `receive`, and each message that was started a CONSUMER span `process` below it, which
//! covers decoding, the handler and the dead-letter queue. A message belongs to the trace of its sender, which both
//! spans link. The link is the `traceparent` of the event, or else the X-Ray header of the message.
//!
//! A message is recorded if its sender recorded it. One without a sender is recorded if the batch is, and the batch if
//! any of its messages is.
//!
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use lambda_runtime::Context;
use sluicegate_envelope::Envelope;
use sluicegate_otlp::{Kind, Span, SpanContext, Started, Tracer};
use tokio::time::Instant;

use crate::settlement::Disposition;
use crate::source::adapter::ReceivedMessage;

/// The spans of one batch so far.
#[derive(Debug)]
pub(crate) struct BatchTrace<'a> {
    tracer: &'a Tracer,
    system: &'static str,
    request_id: &'a str,
    at: SystemTime,
    receive: Started,
    processed: Mutex<Processed>,
}

#[derive(Debug, Default)]
struct Processed {
    spans: Vec<Span>,
    senders: Vec<SpanContext>,
}

impl<'a> BatchTrace<'a> {
    /// Starts the span of a batch. `system` is the broker as the conventions name it.
    pub(crate) fn new(tracer: &'a Tracer, system: &'static str, context: &'a Context) -> Self {
        let receive = tracer.start(None, context.xray_trace_id.as_deref());
        let (request_id, at) = (context.request_id.as_str(), SystemTime::now());
        Self { tracer, system, request_id, at, receive, processed: Mutex::default() }
    }

    /// Adds the span of a message that is settled now.
    pub(crate) fn processed(
        &self,
        message: &ReceivedMessage<'_>,
        envelope: Option<&Envelope>,
        disposition: Disposition,
        started: SystemTime,
    ) {
        let of_event = envelope.and_then(Envelope::traceparent).and_then(SpanContext::from_traceparent);
        let sender = of_event.or_else(|| SpanContext::from_xray(message.trace_header.as_deref()?));
        let span = self.receive.child().sampled(self.tracer.samples(of_event, self.receive.context));
        let is_failed = !disposition.is_handled();
        let span = self
            .span(span, "process", Kind::Consumer, message.queue, started)
            .attribute("messaging.message.id", &*message.id)
            .attribute_if("cloudevents.event_id", envelope.map(Envelope::id))
            .attribute_if("cloudevents.event_type", envelope.map(Envelope::event_type))
            .attribute("sluicegate.receive_count", u64::from(message.receive_count))
            .attribute("sluicegate.outcome", disposition.as_str())
            .failed(is_failed.then(|| disposition.as_str()))
            .links(sender);
        let mut processed = self.processed.lock().unwrap_or_else(PoisonError::into_inner);
        processed.spans.push(span);
        processed.senders.extend(sender);
    }

    /// Exports the spans, but not past `deadline`.
    pub(crate) async fn export(self, messages: &[ReceivedMessage<'_>], deadline: Instant) {
        let Processed { mut spans, senders } =
            std::mem::take(&mut *self.processed.lock().unwrap_or_else(PoisonError::into_inner));
        // A mapping has one queue.
        if let Some(message) = messages.first() {
            let is_sampled = self.receive.context.is_sampled() || spans.iter().any(Span::is_sampled);
            let receive = self.receive.sampled(is_sampled);
            let span = self
                .span(receive, "receive", Kind::Client, message.queue, self.at)
                .attribute("messaging.batch.message_count", messages.len() as u64)
                .attribute("faas.trigger", "pubsub")
                .attribute("faas.invocation_id", self.request_id)
                .links(senders);
            spans.push(span);
        }
        self.tracer.export(spans, deadline).await;
    }

    fn span(&self, span: Started, operation: &'static str, kind: Kind, queue: &str, at: SystemTime) -> Span {
        span.span(format!("{operation} {queue}"), kind, at)
            .attribute("messaging.system", self.system)
            .attribute("messaging.operation.name", operation)
            .attribute("messaging.operation.type", operation)
            .attribute("messaging.destination.name", queue)
    }
}
