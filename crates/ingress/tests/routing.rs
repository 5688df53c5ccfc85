//! Where a message goes and when: conditions that choose its queue, and the delay of a header.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::{Stored, TestIngress};

const CONDITIONS: &str = "queue: [{ queue: urgent, when: '{header.x-priority}', is: high }, \
                          { queue: eu, when: '{body#/address/region}', is: [de, fr] }, \
                          { queue: flags, when: '{body#/flag}', is: 'true' }, \
                          { queue: eu, when: '{query.region | header.x-region}', is: eu }, rest]";

/// Returns an ingress whose only route has these members of `x-sluicegate`, and this body.
fn ingress_with(enqueue: &str, body: &str) -> TestIngress {
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
         security: []\n      requestBody: {{ content: {{ application/json: {body} }} }}\n      \
         x-sluicegate: {{ {enqueue}, type: t }}\n"
    );
    TestIngress::new(Contract::parse("take.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}")))
}

/// Returns POST /take as an HTTP API sends it, with repeated headers joined, or as a REST API does.
fn event(is_rest: bool, headers: &[(&str, &str)], query: &str, body: &str) -> String {
    let mut joined = serde_json::Map::from_iter([("content-type".to_owned(), json!("application/json"))]);
    let mut multi = serde_json::Map::from_iter([("content-type".to_owned(), json!(["application/json"]))]);
    for (name, value) in headers {
        let before = joined.get(*name).and_then(Value::as_str).map(|before| format!("{before},")).unwrap_or_default();
        joined.insert((*name).to_owned(), format!("{before}{value}").into());
        match multi.entry(*name).or_insert(json!([])) {
            Value::Array(values) => values.push(json!(value)),
            other => panic!("{other}"),
        }
    }
    let event = if is_rest {
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let query: serde_json::Map<String, Value> =
            pairs.map(|(name, value)| (name.to_owned(), json!([value]))).collect();
        json!({
            "httpMethod": "POST", "path": "/take", "headers": joined, "multiValueHeaders": multi,
            "multiValueQueryStringParameters": query, "body": body,
            "requestContext": { "stage": "prod", "identity": { "sourceIp": "192.0.2.1" } },
        })
    } else {
        json!({
            "version": "2.0", "rawPath": "/take", "rawQueryString": query, "headers": joined, "body": body,
            "requestContext": {
                "domainName": "a.example.com", "stage": "$default",
                "http": { "method": "POST", "sourceIp": "192.0.2.1" },
            },
        })
    };
    event.to_string()
}

async fn send(ingress: &TestIngress, event: &str) -> (u64, Value) {
    let answer = ingress.handle(event).await.unwrap();
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(answer["body"].as_str().unwrap()).unwrap())
}

#[tokio::test]
async fn the_first_condition_that_holds_chooses_the_queue() {
    let high = ("x-priority", "high");
    for (headers, query, body, queue) in [
        (&[][..], "", "{}", "rest"),
        (&[high], "", "{}", "urgent"),
        // The order is that of the contract.
        (&[high], "region=eu", r#"{"address":{"region":"de"},"flag":true}"#, "urgent"),
        // Compared exactly.
        (&[("x-priority", "High")], "", "{}", "rest"),
        (&[("x-priority", "high,low")], "", "{}", "rest"),
        (&[], "", r#"{"address":{"region":"de"}}"#, "eu"),
        (&[], "", r#"{"address":{"region":"fr"}}"#, "eu"),
        (&[], "", r#"{"address":{"region":"it"}}"#, "rest"),
        (&[], "", r#"{"address":{"region":["de"]}}"#, "rest"),
        (&[], "", r#"{"address":{"region":null},"flag":true}"#, "flags"),
        (&[], "", r#"{"flag":"true"}"#, "flags"),
        (&[], "", r#"{"flag":false}"#, "rest"),
        (&[("x-region", "eu")], "", "{}", "eu"),
        (&[("x-region", "us")], "region=eu", "{}", "eu"),
        (&[("x-region", "eu")], "region=us", "{}", "rest"),
    ] {
        for schema in ["{}", "{ schema: { type: object, properties: { flag: {} } } }"] {
            for is_rest in [false, true] {
                let ingress = ingress_with(CONDITIONS, schema);
                let (status, answer) = send(&ingress, &event(is_rest, headers, query, body)).await;
                let stored: Vec<_> = ingress.stored().into_iter().map(|stored| stored.queue).collect();
                assert_eq!(
                    (status, &stored[..]),
                    (202, &[queue.to_owned()][..]),
                    "{headers:?} {query} {body}: {answer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_header_of_a_condition_that_is_sent_twice_is_refused() {
    let ingress = ingress_with(CONDITIONS, "{}");
    let twice = event(true, &[("x-priority", "high"), ("x-priority", "low")], "", "{}");
    let (status, answer) = send(&ingress, &twice).await;
    assert_eq!((status, &answer["code"]), (400, &json!("parameter_invalid")), "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("x-priority"), "{answer}");
    assert!(ingress.stored().is_empty());
}

#[tokio::test]
async fn a_repeated_key_for_another_queue_is_another_message() {
    let keyed = format!("{CONDITIONS}, idempotency: {{ key: '{{header.idempotency-key}}' }}");
    let ingress = ingress_with(&keyed, "{}");
    let mut ids = Vec::new();
    for priority in ["high", "low", "high"] {
        let event = event(false, &[("idempotency-key", "k"), ("x-priority", priority)], "", "{}");
        let (status, answer) = send(&ingress, &event).await;
        assert_eq!(status, 202, "{answer}");
        ids.push(answer["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids[0], ids[2]);
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_batch_goes_to_the_queue_of_its_request() {
    let conditions = "queue: [{ queue: urgent, when: '{header.x-priority}', is: high }, rest], batch: true, \
                      delay: '{header.x-delay}'";
    let ingress = ingress_with(conditions, "{ schema: { type: array, items: { type: object } } }");
    for (priority, queue, delay_s) in [("high", "urgent", 7), ("low", "rest", 8)] {
        let delay = delay_s.to_string();
        // The first item is refused, and the queue is chosen all the same.
        let event = event(false, &[("x-priority", priority), ("x-delay", &delay)], "", r#"[7,{"a":1},{"a":2}]"#);
        let (status, answer) = send(&ingress, &event).await;
        assert_eq!(status, 202, "{answer}");
        let stored = ingress.stored();
        let delay = Duration::from_secs(delay_s);
        let fits = |stored: &Stored| (stored.queue.as_str(), stored.delay) == (queue, delay);
        assert_eq!(stored.iter().filter(|stored| fits(stored)).count(), 2, "{stored:?}");
    }
    assert_eq!(ingress.stored().len(), 4);
}

#[tokio::test]
async fn a_delay_is_the_seconds_of_its_header() {
    for (value, delay_s) in [
        (None, Some(0)),
        (Some("0"), Some(0)),
        (Some("1"), Some(1)),
        (Some("090"), Some(90)),
        (Some("900"), Some(900)),
        (Some("901"), None),
        (Some("65536"), None),
        (Some("99999999999999999999"), None),
        (Some("-1"), None),
        (Some("+1"), None),
        (Some("1.5"), None),
        (Some("5s"), None),
        (Some("5,5"), None),
        (Some("٣"), None),
        (Some(""), None),
    ] {
        for is_rest in [false, true] {
            let ingress = ingress_with("queue: q, delay: '{header.X-Delay}'", "{}");
            let headers: Vec<_> = value.map(|value| ("x-delay", value)).into_iter().collect();
            let (status, answer) = send(&ingress, &event(is_rest, &headers, "", "{}")).await;
            let stored = ingress.stored();
            match delay_s {
                Some(delay_s) => {
                    assert_eq!((status, stored.len()), (202, 1), "{value:?}: {answer}");
                    assert_eq!(stored[0].delay, Duration::from_secs(delay_s), "{value:?}");
                }
                None => {
                    let detail = "The header x-delay is not a delay: a whole number of seconds from 0 to 900.";
                    assert_eq!((status, &answer["code"]), (400, &json!("parameter_invalid")), "{value:?}: {answer}");
                    assert_eq!(answer["detail"], detail, "{value:?}");
                    assert!(stored.is_empty(), "{value:?}");
                }
            }
        }
    }
    let ingress = ingress_with("queue: q, delay: '{header.x-delay}'", "{}");
    let (status, answer) = send(&ingress, &event(true, &[("x-delay", "5"), ("x-delay", "5")], "", "{}")).await;
    assert_eq!((status, &answer["code"]), (400, &json!("parameter_invalid")), "{answer}");
    assert!(ingress.stored().is_empty());
}

#[tokio::test]
async fn a_fixed_delay_ignores_a_header() {
    let ingress = ingress_with("queue: q, delay: 2m", "{}");
    assert_eq!(send(&ingress, &event(false, &[("x-delay", "5")], "", "{}")).await.0, 202);
    assert_eq!(ingress.stored()[0].delay, Duration::from_secs(120));
}
