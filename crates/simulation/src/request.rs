//! The event of a request, as API Gateway sends it to the ingress.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use crate::BoxError;
use crate::api::{BATCH_ROUTE, ROUTE};
use crate::credentials::{Credentials, Scheme};
use crate::forgery::Forgery;
use crate::message::Message;
use crate::scenario::Scenario;
use crate::sending::Sending;

/// Returns the event of a request, which may be forged, as API Gateway sends it.
pub(crate) fn event(
    scenario: &Scenario,
    now: Duration,
    request: u64,
    sending: &Sending,
    forgery: Option<Forgery>,
) -> Result<String, BoxError> {
    let path = if sending.is_batch { BATCH_ROUTE } else { ROUTE };
    let messages = sending.messages.iter().filter_map(|number| scenario.messages.get(*number as usize));
    let body = messages.clone().map(Message::payload).collect::<Vec<_>>().join(",");
    let body = if sending.is_batch { format!("[{body}]") } else { body };
    // The items of a batch have their keys.
    let key = messages.map(Message::key).next().filter(|_| !sending.is_batch);
    let changes_at = scenario.key_changes_at;
    let (idempotency_key, credentials) = match (key, scenario.scheme) {
        (Some(id), Scheme::Webhook) => (None, Credentials::signature((now, changes_at), id, &body, forgery)),
        (Some(key), Scheme::Token) => (Some(key), Credentials::token(now, changes_at, forgery)?),
        (key, _) => (key, Credentials::api_key(now, changes_at)),
    };
    let event = Event {
        version: "2.0",
        raw_path: path,
        raw_query_string: "",
        headers: RequestHeaders {
            content_type: "application/json",
            host: "api.example.com",
            idempotency_key,
            traceparent: traceparent(request),
            credentials,
        },
        request_context: json!({
            "http": { "method": "POST", "path": path, "sourceIp": "192.0.2.1" },
            "stage": "$default",
        }),
        is_base64_encoded: false,
        body,
    };
    Ok(serde_json::to_string(&event)?)
}

/// The event of a request.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'e> {
    version: &'static str,
    raw_path: &'e str,
    raw_query_string: &'static str,
    headers: RequestHeaders,
    request_context: Value,
    is_base64_encoded: bool,
    body: String,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct RequestHeaders {
    content_type: &'static str,
    host: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
    traceparent: String,
    #[serde(flatten)]
    credentials: Credentials,
}

/// Returns the trace context of a request, which its messages keep. Its ids must not be zero.
fn traceparent(request: u64) -> String {
    let id = request + 1;
    format!("00-{id:032x}-{id:016x}-01")
}

/// Returns the number of the request with this trace context.
pub(crate) fn request_of(traceparent: &str) -> Option<u64> {
    u64::from_str_radix(traceparent.split('-').nth(1)?, 16).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_context_of_a_request_has_its_number() {
        for request in [0, 7, 4_711] {
            assert_eq!(request_of(&traceparent(request)), Some(request));
        }
        assert_eq!(request_of("00-x"), None);
    }
}
