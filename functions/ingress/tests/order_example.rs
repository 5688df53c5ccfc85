//! The shipped example, `POST /orders`: which requests it accepts, what it stores, and which faults it reports.
//!
//! Delete this file with the example. `tests/it/template.rs` checks every contract.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use sluicegate_ingress::{embedded_contract, testing::TestIngress};

/// A request that is accepted.
const EVENT: &str = include_str!("../../../tests/events/place-order.json");
const ORDER: &str = r#"{"order_id": "o-1", "customer_id": "c-1", "items": [{"sku": "tea", "quantity": 2}]}"#;

fn ingress() -> TestIngress {
    let ingress = TestIngress::new(embedded_contract!().load().unwrap());
    ingress.api_key("api-keys", "acme-key", "acme", &["orders.write"]).api_key("api-keys", "read-key", "acme", &["x"])
}

/// Returns a text as JSON has it. Orders here are ASCII without control characters.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Returns the request with another order.
fn event(order: &str) -> String {
    let event = EVENT.replace(&quoted(ORDER), &quoted(order));
    assert!(order == ORDER || event != EVENT);
    event.replace("\"content-length\": \"83\"", &format!("\"content-length\": \"{}\"", order.len()))
}

#[tokio::test]
async fn an_order_is_stored_in_the_group_of_its_customer() {
    let ingress = ingress();
    assert_eq!(ingress.handle(EVENT).await.unwrap()["statusCode"], 202);
    let stored = ingress.stored();
    let [order] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!((order.queue.as_str(), order.group.as_deref()), ("orders", Some("c-1")));
    assert_eq!((order.envelope.event_type(), order.envelope.subject()), ("order.placed", Some("o-1")));
    assert_eq!(order.envelope.source(), "/orders");
    assert_eq!(&*order.envelope.payload(), ORDER.as_bytes());
}

#[tokio::test]
async fn an_order_takes_a_key_with_the_scope_and_an_idempotency_key() {
    let too_large = event(&format!("{ORDER}{}", " ".repeat(262_145 - ORDER.len())));
    let largest = event(&format!("{ORDER}{}", " ".repeat(262_144 - ORDER.len())));
    for (event, status, code) in [
        (EVENT.replace("\"x-api-key\"", "\"x-other\""), 401, "credentials_missing"),
        (EVENT.replace("acme-key", "guess"), 401, "credentials_invalid"),
        (EVENT.replace("acme-key", "read-key"), 403, "scope_missing"),
        (EVENT.replace("\"idempotency-key\"", "\"x-other\""), 400, "idempotency_key_invalid"),
        (too_large, 413, "payload_too_large"),
        (largest, 202, ""),
    ] {
        let answer = ingress().handle(&event).await.unwrap();
        let body = answer["body"].as_str().unwrap();
        assert!(answer["statusCode"] == status && body.contains(code), "{status} {code}: {answer}");
    }
    let contract = embedded_contract!().load().unwrap();
    let order = contract.route("POST", "/orders").unwrap().operation;
    let limited_by: Vec<_> = order.enqueue.rate_limits.iter().map(|limit| limit.by.name()).collect();
    assert_eq!((order.id.as_str(), limited_by), ("placeOrder", vec!["principal"]));
}

#[tokio::test]
async fn an_invalid_order_is_refused_with_the_place_of_its_fault() {
    let whole = r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":2}]}"#;
    for (change, to, fault_at) in [
        ("}]}", "}],\"note\":\"x\"}", None),
        ("tea", "coffee", None),
        (":2", ":0", Some("/items/0/quantity")),
        (":2", ":1.5", Some("/items/0/quantity")),
        ("{\"sku\":\"tea\",\"quantity\":2}", "", Some("/items")),
        ("\"customer_id\":\"c-1\",", "", Some("")),
        ("}]}", "}],\"extra\":1}", Some("/extra")),
    ] {
        let order = whole.replace(change, to);
        assert_ne!(order, whole);
        let answer = ingress().handle(&event(&order)).await.unwrap();
        let body = answer["body"].as_str().unwrap();
        match fault_at {
            None => assert_eq!(answer["statusCode"], 202, "{order}: {answer}"),
            Some(pointer) => {
                assert_eq!(answer["statusCode"], 422, "{order}: {answer}");
                assert!(body.contains(&format!("\"pointer\":\"{pointer}\"")), "{order}: {body}");
            }
        }
    }
}
