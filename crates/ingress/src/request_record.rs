//! The record of a request: one log line and one line of metrics per answer.
//!
//! The ingress and the consumer use the same field names. The line has no part of the body, no secret and no header
//! except the trace; `reason` is the operator's text of a rejection. `route` is the path in the contract, so that the
//! requests of a route can be grouped. For a path without a route it is the path of the request.

use std::time::Duration;

use http::StatusCode;
use lambda_http::Context;
use sluicegate_contract::Operation;
#[cfg(feature = "dynamodb")]
use sluicegate_contract::STATUS_PATH;
use sluicegate_queue::Receipt;
use sluicegate_telemetry::{Admission, Emitter, millis, trace_id};

use crate::{
    answer::Answer, authenticate::Authenticated, enqueue::is_traceparent, event::Arrival, limit::Allowances,
    rejection::Rejection,
};

/// The facts of a request so far. Each stage that passes adds to them.
#[derive(Debug)]
pub struct RequestRecord {
    request_id: String,
    trace_id: Option<String>,
    route: String,
    queue: Option<&'static str>,
    secret_position: Option<usize>,
    event_type: Option<String>,
    enqueue: Option<Duration>,
    is_replay: bool,
    /// The path of the message's status.
    #[cfg(feature = "dynamodb")]
    location: Option<String>,
    pub(crate) allowances: Allowances,
    /// The spans of the request, if they are exported.
    #[cfg(feature = "otlp")]
    pub(crate) trace: Option<Box<crate::request_trace::RequestTrace>>,
}

impl RequestRecord {
    /// Returns the record of a request before its first stage.
    #[must_use]
    pub fn new(arrival: &Arrival, context: &Context) -> Self {
        let traceparent = arrival.header("traceparent").filter(|value| is_traceparent(value));
        Self {
            request_id: arrival.request_id.as_ref().unwrap_or(&context.request_id).clone(),
            trace_id: trace_id(traceparent, context.xray_trace_id.as_deref()).map(str::to_owned),
            route: format!("{} {}", arrival.method, arrival.path),
            queue: None,
            secret_position: None,
            event_type: None,
            enqueue: None,
            is_replay: false,
            #[cfg(feature = "dynamodb")]
            location: None,
            allowances: Allowances::default(),
            #[cfg(feature = "otlp")]
            trace: None,
        }
    }

    pub(crate) fn routed(&mut self, operation: &'static Operation) {
        self.route.clear();
        self.route.extend([&operation.method, " ", &operation.path]);
        // With conditions, it is known only later.
        self.queue = operation.enqueue.queue_conditions.is_empty().then_some(&operation.enqueue.queue);
        #[cfg(feature = "otlp")]
        if let Some(trace) = &mut self.trace {
            trace.routed(&operation.path);
        }
    }

    pub(crate) fn chosen(&mut self, queue: &'static str) {
        self.queue = Some(queue);
    }

    pub(crate) fn authenticated(&mut self, request: &Authenticated<'_>) {
        self.secret_position = request.secret_position();
    }

    pub(crate) fn typed(&mut self, event_type: &str) {
        self.event_type = Some(event_type.to_owned());
    }

    /// Adds the time of a send. A message may be for several queues.
    pub(crate) fn sent(&mut self, took: Duration) {
        self.enqueue = Some(self.enqueue.unwrap_or_default() + took);
    }

    /// Returns the `traceparent` of the messages, if the request has spans.
    pub(crate) fn traceparent(&self) -> Option<&str> {
        #[cfg(feature = "otlp")]
        return self.trace.as_ref().map(|trace| trace.traceparent());
        #[cfg(not(feature = "otlp"))]
        None
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn request_id(&self) -> &str {
        &self.request_id
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn event_type(&self) -> Option<&str> {
        self.event_type.as_deref()
    }

    pub(crate) fn replayed(&mut self) {
        self.is_replay = true;
    }

    #[cfg(feature = "dynamodb")]
    pub(crate) fn has_status(&mut self, location: String) {
        self.location = Some(location);
    }

    /// Starts the record of a request for a status.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn asks_for_status(&mut self, method: &str) {
        self.route = format!("{method} {STATUS_PATH}");
    }

    /// Returns the answer with what is left of the limits of its route, if they were checked, and with the path of the
    /// message's status, if it has one.
    pub(crate) fn complete(&self, mut answer: Answer) -> Answer {
        self.allowances.add_to(&mut answer);
        #[cfg(feature = "dynamodb")]
        answer.headers.extend(self.location.iter().map(|path| ("location".into(), path.clone())));
        answer
    }

    /// Logs an answer that describes the API or a route. Metrics count admissions only.
    pub(crate) fn described(&self, status: StatusCode) {
        let (request_id, route, trace_id) = (self.request_id.as_str(), self.route.as_str(), self.trace_id.as_deref());
        tracing::info!(request_id, route, status = status.as_u16(), trace_id, "described");
    }

    /// Logs the answer to a provider's check of the endpoint. Metrics count admissions only.
    pub(crate) fn handshake_answered(&self, status: StatusCode) {
        let (request_id, route, trace_id) = (self.request_id.as_str(), self.route.as_str(), self.trace_id.as_deref());
        tracing::info!(request_id, route, status = status.as_u16(), trace_id, "handshake answered");
    }

    /// Emits the log line of the result, and its metrics if they are enabled.
    pub(crate) fn emit(&self, result: &Result<Receipt, Rejection>, emitter: Option<&Emitter>) {
        self.log(result);
        let Some(emitter) = emitter else { return };
        let refused = result.as_ref().err().map(|rejection| rejection.code.as_str());
        if let Err(error) = emitter.admission(&Admission { refused, enqueue: self.enqueue }) {
            tracing::warn!(request_id = self.request_id, reason = %error, "no metrics");
        }
    }

    fn log(&self, result: &Result<Receipt, Rejection>) {
        let (request_id, route) = (self.request_id.as_str(), self.route.as_str());
        let (queue, event_type, trace_id) = (self.queue, self.event_type.as_deref(), self.trace_id.as_deref());
        let enqueue_ms = self.enqueue.map(millis);
        macro_rules! line {
            ($level:ident, $text:literal, $($field:ident),*) => {
                tracing::$level!(request_id, route, $($field),*, queue, event_type, enqueue_ms, trace_id, $text)
            };
        }
        match result {
            Ok(receipt) => {
                let (status, message_id) = (202, receipt.id.as_str());
                // RabbitMQ assigns no message id.
                let broker_id = Some(receipt.broker_id.as_str()).filter(|id| !id.is_empty());
                let secret_position = self.secret_position;
                // Not in every line.
                let replayed = self.is_replay.then_some(true);
                line!(info, "accepted", status, replayed, message_id, broker_id, secret_position);
            }
            Err(rejection) => {
                let (status, code) = (rejection.code.status(), rejection.code.as_str());
                let (is_server_error, status) = (status.is_server_error(), status.as_u16());
                let (reason, message_id) = (rejection.log.as_deref(), rejection.id.as_deref());
                if is_server_error {
                    line!(error, "refused", status, code, reason, message_id);
                } else {
                    line!(info, "refused", status, code, reason, message_id);
                }
            }
        }
    }
}
