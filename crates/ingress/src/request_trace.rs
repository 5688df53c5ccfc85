//! [`RequestTrace`]: the spans of a request and of its sends, by the semantic conventions of OpenTelemetry.
//!
//! Each request has a SERVER span below the span of its caller. Its messages carry the context of its first send, a
//! PRODUCER span. Further sends of the same messages, to the queues of copies, are CLIENT spans. Spans have no path,
//! query or header of the request, because these may be personal; `http.route` is the path in the contract.
//!
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>,
//! <https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/>

use std::time::{Duration, SystemTime};

use http::StatusCode;
use lambda_http::Context;
use sluicegate_otlp::{Kind, Span, Started, Tracer};
use sluicegate_queue::{Destination, Receipt, SendError};

use crate::{enqueue::is_traceparent, event::Arrival, request_record::RequestRecord};

/// The methods that have a name in the conventions. Another one is `_OTHER`, because a caller may send any text.
const METHODS: [&str; 9] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];

/// The spans of one request so far.
#[derive(Debug)]
pub(crate) struct RequestTrace {
    at: SystemTime,
    server: Started,
    send: Started,
    /// The `traceparent` of `send`.
    traceparent: String,
    method: Option<&'static str>,
    route: Option<&'static str>,
    sends: Vec<Span>,
}

impl RequestTrace {
    /// Starts the span of a request.
    pub(crate) fn new(tracer: &Tracer, arrival: &Arrival, context: &Context) -> Self {
        let caller = arrival.header("traceparent").filter(|value| is_traceparent(value));
        let server = tracer.start(caller, context.xray_trace_id.as_deref());
        let send = server.child();
        let method = METHODS.into_iter().find(|method| *method == arrival.method);
        let (at, traceparent) = (SystemTime::now(), send.context.traceparent());
        Self { at, server, send, traceparent, method, route: None, sends: Vec::new() }
    }

    /// Returns the `traceparent` of the messages.
    pub(crate) fn traceparent(&self) -> &str {
        &self.traceparent
    }

    pub(crate) fn routed(&mut self, path: &'static str) {
        self.route = Some(path);
    }

    /// Adds a send that has ended now. The name of the queue is that of the contract.
    pub(crate) fn sent(
        &mut self,
        queue: &str,
        destination: Option<Destination<'_>>,
        took: Duration,
        results: &[Result<Receipt, SendError>],
    ) {
        let started = SystemTime::now().checked_sub(took).unwrap_or(self.at);
        let (send, kind) = match self.sends.is_empty() {
            true => (self.send, Kind::Producer),
            false => (self.server.child(), Kind::Client),
        };
        let name = destination.and_then(|destination| destination.name).unwrap_or(queue);
        let error = results.iter().find_map(|result| result.as_ref().err());
        let span = send
            .span(format!("send {name}"), kind, started)
            .attribute_if("messaging.system", destination.map(|destination| destination.system))
            .attribute("messaging.operation.name", "send")
            .attribute("messaging.operation.type", "send")
            .attribute("messaging.destination.name", name);
        let span = match results {
            [Ok(receipt)] => {
                // RabbitMQ assigns no id.
                let broker_id = Some(receipt.broker_id.as_str()).filter(|id| !id.is_empty());
                span.attribute("messaging.message.id", broker_id.unwrap_or(&receipt.id))
                    .attribute("cloudevents.event_id", receipt.id.as_str())
            }
            [Err(_)] => span,
            _ => span.attribute("messaging.batch.message_count", results.len() as u64),
        };
        self.sends.push(span.failed(error.map(error_type)));
    }

    /// Returns the spans of the request, which ends now with this answer.
    pub(crate) fn end(self, record: &RequestRecord, status: StatusCode) -> Vec<Span> {
        let Self { at, server, method, route, mut sends, .. } = self;
        let name = method.unwrap_or("HTTP");
        let name = route.map_or_else(|| name.to_owned(), |route| format!("{name} {route}"));
        let error_type = status.is_server_error().then(|| status.as_str());
        let span = server
            .span(name, Kind::Server, at)
            .attribute("http.request.method", method.unwrap_or("_OTHER"))
            .attribute_if("http.route", route)
            .attribute("http.response.status_code", u64::from(status.as_u16()))
            .attribute("url.scheme", "https")
            .attribute("faas.trigger", "http")
            .attribute("faas.invocation_id", record.request_id())
            .attribute_if("cloudevents.event_type", record.event_type())
            .failed(error_type);
        sends.push(span);
        sends
    }
}

/// Returns the value of `error.type`.
fn error_type(error: &SendError) -> &'static str {
    match error {
        SendError::NotSent { .. } => "not_sent",
        SendError::Unknown { .. } => "unknown",
        SendError::PayloadNotStored { .. } => "payload_not_stored",
        SendError::Unroutable { .. } => "unroutable",
        SendError::Refused { .. } => "refused",
        SendError::TooLarge { .. } => "too_large",
    }
}
