//! Content: media types byte for byte, content codings, CloudEvents and batches, through every service.

mod batches;
mod bytes;
mod cloud_events;
mod codings;
mod origins;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sluicegate_ingress::Ingress;

use super::{Broker, Store, answer, bodies::taking, events::with_request};

/// The captured event of each service, and the member of the answer with its headers.
pub(super) const SERVICES: [(&str, &str, &str); 5] = [
    ("http-api", include_str!("../../events/http-api-v2.json"), "headers"),
    ("function-url", include_str!("../../events/function-url.json"), "headers"),
    ("rest-api", include_str!("../../events/rest-api-v1.json"), "headers"),
    ("alb", include_str!("../../events/alb.json"), "headers"),
    ("alb-multi-value", include_str!("../../events/alb-multi-value.json"), "multiValueHeaders"),
];

/// An answer.
pub(super) struct Answered {
    pub(super) status: u64,
    headers: Value,
    pub(super) body: Value,
}

impl Answered {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers[name].as_str().or_else(|| self.headers[name][0].as_str())
    }

    pub(super) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Returns the statuses of the items of a batch.
    fn statuses(&self) -> Vec<u64> {
        self.body["items"].as_array().unwrap().iter().map(|item| item["status"].as_u64().unwrap()).collect()
    }
}

/// Returns an operation that accepts these media types, without a schema, with these keys of `x-sluicegate`.
fn accepting(media_types: &[&str], keys: Value) -> Value {
    let content: Value = media_types.iter().map(|media_type| ((*media_type).to_owned(), json!({}))).collect();
    json!({ "requestBody": { "required": true, "content": content }, "x-sluicegate": keys })
}

/// Posts the body as `service` would, always in base64, which is how a service passes bytes on.
async fn post(ingress: &Ingress<Broker, Store>, service: usize, headers: &[(&str, &str)], body: &[u8]) -> Answered {
    send(ingress, service, ("POST", "/take/a"), headers, body).await
}

/// Sends a request as `service` would.
pub(super) async fn send(
    ingress: &Ingress<Broker, Store>,
    service: usize,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answered {
    let (name, file, answer_headers) = SERVICES[service];
    let mut event: Value = serde_json::from_str(file).unwrap();
    for member in ["headers", "multiValueHeaders"] {
        if let Some(headers) = event[member].as_object_mut() {
            headers.retain(|name, _| !["content-type", "content-encoding"].contains(&&*name.to_lowercase()));
        }
    }
    for member in ["queryStringParameters", "multiValueQueryStringParameters"] {
        event[member] = Value::Null;
    }
    if event["version"] == "2.0" {
        event["rawQueryString"] = "".into();
    }
    let mut event = with_request(event, path, headers, BASE64_STANDARD.encode(body).into(), true);
    match event["version"] == "2.0" {
        true => event["requestContext"]["http"]["method"] = method.into(),
        false => event["httpMethod"] = method.into(),
    }
    let answer = answer(ingress, &event).await;
    let text = answer["body"].as_str().unwrap();
    assert!(text.len() <= sluicegate_ingress::ANSWER_BYTES_MAX, "{name}: {} bytes", text.len());
    let body = match text {
        "" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}: {answer}")),
    };
    Answered { status: answer["statusCode"].as_u64().unwrap(), headers: answer[answer_headers].clone(), body }
}

/// Posts the request through every service, to an ingress of its own each, and calls `check` with the answer.
async fn through_every_service(
    operation: &Value,
    headers: &[(&str, &str)],
    body: &[u8],
    check: impl Fn(&str, &Answered, &[sluicegate_envelope::Envelope]),
) {
    for (service, (name, ..)) in SERVICES.iter().enumerate() {
        let broker = Broker::default();
        let answered = post(&taking(operation, &broker), service, headers, body).await;
        check(name, &answered, &broker.envelopes());
    }
}
