//! Tests of the contract that the project ships.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use sluicegate_contract::{BodySchema, Contract, Location, RateLimitBy, SecurityScheme};

fn shipped() -> Contract {
    let yaml = include_str!("../../../functions/ingress/openapi.yaml");
    let read = Contract::parse("openapi.yaml", yaml);
    read.map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

#[test]
fn the_shipped_contract_has_no_fault_and_survives_being_embedded() {
    let contract = shipped();
    let json = serde_json::to_string(&contract).unwrap();
    let embedded: Contract = serde_json::from_str(&json).unwrap();
    assert_eq!(embedded.public_document(), "", "it is embedded separately");
    assert_eq!(embedded.with_public_document(contract.public_document().to_owned()), contract);
}

#[test]
fn the_shipped_contract_has_no_warning() {
    let yaml = include_str!("../../../functions/ingress/openapi.yaml");
    let (_, warnings) = Contract::parse_with_warnings("openapi.yaml", yaml).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn the_shipped_order_route_has_its_security_parameters_and_limits() {
    let contract = shipped();
    let order = contract.route("POST", "/orders").unwrap().operation;
    assert_eq!(order.id, "placeOrder");
    assert_eq!(order.security[0][0].scheme, "apiKey");
    assert_eq!(order.security[0][0].scopes, ["orders.write"]);
    assert!(matches!(contract.scheme("apiKey"), Some(SecurityScheme::ApiKey { header, .. }) if header == "x-api-key"));
    let key = &order.parameters[0];
    assert_eq!((key.name.as_str(), key.location, key.required), ("idempotency-key", Location::Header, true));
    assert_eq!(order.enqueue.rate_limit.unwrap().by, RateLimitBy::Principal);
    assert_eq!(order.enqueue.payload_bytes_max, 262_144);
    assert_eq!(contract.queues().into_iter().collect::<Vec<_>>(), ["orders", "webhooks"]);
}

#[test]
fn the_order_schema_accepts_the_example_and_refuses_invalid_orders() {
    let contract = shipped();
    let body = contract.route("POST", "/orders").unwrap().operation.body.clone().unwrap();
    let BodySchema::Schema(text) = &body.content[0].1 else { panic!("{body:?}") };
    let schema = serde_json::from_str(text).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let check = |payload: &str, fault_at: Option<&str>| {
        let payload = serde_json::from_str(payload).unwrap();
        let found = validator.iter_errors(&payload).next().map(|error| error.instance_path().to_string());
        assert_eq!(found.as_deref(), fault_at, "{payload}");
    };
    check(r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":2}],"note":"x"}"#, None);
    check(r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":2}]}"#, None);
    check(r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":0}]}"#, Some("/items/0/quantity"));
    check(
        r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":1.5}]}"#,
        Some("/items/0/quantity"),
    );
    check(r#"{"order_id":"o-1","customer_id":"c-1","items":[]}"#, Some("/items"));
    check(r#"{"order_id":"o-1","items":[{"sku":"tea","quantity":2}]}"#, Some(""));
    check(r#"{"order_id":"o-1","customer_id":"c-1","items":[{"sku":"tea","quantity":2}],"extra":1}"#, Some(""));
}
