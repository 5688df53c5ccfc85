//! The whole path on `cargo local`: real HTTP requests and the real function binaries.

mod access_tokens;
mod admission;
mod cloud_events;
mod commands;
mod console;
mod console_actions;
mod console_rabbitmq;
mod copies;
mod kafka;
mod kills;
mod large_payloads;
mod metrics;
mod nested;
mod own_project;
mod rabbitmq;
mod retries;
mod status;

use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::{Value, json};

use crate::support::root;
use crate::support::stack::Stack;
use crate::support::webhook;

/// The time limit from a request to the end of its handler.
const WAY_TIME_MAX: Duration = Duration::from_secs(20);

/// Returns the body of POST /orders.
fn order(order_id: &str, customer_id: &str, quantity: u32) -> Value {
    json!({ "order_id": order_id, "customer_id": customer_id, "items": [{ "sku": "tea", "quantity": quantity }] })
}

/// Places an order. Returns status and body.
async fn place(stack: &Stack, key: &str, idempotency_key: &str, order: &Value) -> (u16, Value) {
    let request = stack.http.request(Method::POST, format!("{}/orders", stack.gateway)).json(order);
    let request = request.header("x-api-key", key).header("idempotency-key", idempotency_key);
    let answer = request.send().await.expect("the gateway answers");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}

/// Places an order that must be accepted. Returns its message id.
pub(crate) async fn placed(stack: &Stack, order_id: &str, customer_id: &str) -> String {
    let (status, body) = place(stack, "dev-key", order_id, &order(order_id, customer_id, 2)).await;
    assert_eq!(status, 202, "{body}\n{}", stack.printed());
    body["id"].as_str().expect("an id").to_owned()
}

/// Places an order "poison" and nine others, concurrently, so that a batch has several messages. Returns the id of the
/// first and those of the others.
async fn placed_with_mates(stack: &Stack) -> (String, Vec<String>) {
    let names: Vec<_> = (0..9).map(|n| format!("fine-{n}")).collect();
    tokio::join!(placed(stack, "poison", "c-poison"), join_all(names.iter().map(|name| placed(stack, name, name))))
}

/// Returns a captured GitHub payload, without the line feed at the end of the file, which GitHub does not send.
pub(crate) fn github_payload(event: &str) -> Vec<u8> {
    let file = root().join(format!("tests/events/github/{event}.json"));
    std::fs::read(file).expect("a captured payload").trim_ascii_end().to_vec()
}

/// Sends `body` with the signature of `signed`. `signed` and `body` differ in tests of changed bodies.
pub(crate) async fn deliver(stack: &Stack, event: &str, delivery: &str, signed: &[u8], body: &[u8]) -> (u16, Value) {
    let mut request = stack.http.post(format!("{}/webhooks/github", stack.gateway)).body(body.to_vec());
    request = request.header("content-type", "application/json").header("x-github-event", event);
    request = request.header("x-github-delivery", delivery);
    for (name, value) in webhook::signed("github", "dev-github", delivery, 0, signed) {
        request = request.header(name, value);
    }
    let answer = request.send().await.expect("the gateway answers");
    (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
}
