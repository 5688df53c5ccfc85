//! Repeated values: the contract reads a single idempotency key, header or query parameter, in templates too.

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::Ingress;

use super::{Broker, ORDER, Store, answer, ingress, secret_text};

/// Returns the order as an event of each service, with these headers.
fn events(path: &str, query: &str, headers: &[(&str, &[&str])]) -> Vec<(&'static str, Value)> {
    let files = [
        ("http-api-v2", include_str!("../../events/http-api-v2.json")),
        ("function-url", include_str!("../../events/function-url.json")),
        ("rest-api-v1", include_str!("../../events/rest-api-v1.json")),
        ("alb-multi-value", include_str!("../../events/alb-multi-value.json")),
    ];
    let common: [(&str, &[&str]); 2] = [("x-api-key", &["writer"]), ("content-type", &["application/json"])];
    let event = |file: &str| {
        let mut event: Value = serde_json::from_str(file).unwrap();
        let body = if path == "/orders" { ORDER } else { "" };
        (event["body"], event["isBase64Encoded"]) = (body.into(), false.into());
        for (name, values) in common.iter().chain(headers) {
            match event["multiValueHeaders"].as_object_mut() {
                Some(multi) => {
                    multi.retain(|have, _| !have.eq_ignore_ascii_case(name));
                    multi.insert((*name).to_owned(), json!(values));
                }
                None => event["headers"][*name] = values.join(",").into(),
            }
        }
        if event["version"] == "2.0" {
            (event["rawPath"], event["rawQueryString"]) = (path.into(), query.into());
            event["requestContext"]["http"]["method"] = "POST".into();
        } else {
            (event["path"], event["httpMethod"]) = (path.into(), "POST".into());
            let mut multi = json!({});
            for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
                let values = multi.as_object_mut().unwrap().entry(name).or_insert_with(|| json!([]));
                values.as_array_mut().unwrap().push(value.into());
            }
            event["multiValueQueryStringParameters"] = multi;
        }
        event
    };
    files.map(|(name, file)| (name, event(file))).into()
}

/// Checks status and code of the rejection and `says` in its detail, or 202 and the idempotency key of the message.
async fn check<'a>(
    ingress: &Ingress<Broker, Store>,
    broker: &Broker,
    events: impl IntoIterator<Item = &'a (&'static str, Value)>,
    status: u16,
    code_or_key: &str,
    says: &str,
) {
    for (name, event) in events {
        let answer = answer(ingress, event).await;
        assert_eq!(answer["statusCode"], status, "{name} {says}: {answer}");
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        if status == 202 {
            let (envelope, _) = broker.last().unwrap();
            assert_eq!(envelope.idempotency_key().unwrap_or_default(), code_or_key, "{name}");
        } else {
            assert_eq!(body["code"], code_or_key, "{name} {says}: {answer}");
            assert!(body["detail"].as_str().unwrap().contains(says), "{name} {says}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_idempotency_key_is_one_value_quoted_or_bare() {
    let broker = Broker::default();
    let ingress = reading(&broker);
    let (longest, longer) = ("k".repeat(255), "k".repeat(256));
    let (quoted, quoted_longer) = (format!("\"{longest}\""), format!("\"{longer}\""));
    let escaped = format!("\"{}\"", "\\\\".repeat(255));
    let backslashes = "\\".repeat(255);
    let cases: [(&[&str], u16, &str, &str); 18] = [
        (&["k"], 202, "k", ""),
        (&["\"k\""], 202, "k", ""),
        (&["\"a,b\""], 202, "a,b", ""),
        (&[r#""a\"b\\c""#], 202, r#"a"b\c"#, ""),
        (&[&longest], 202, &longest, ""),
        (&[&quoted], 202, &longest, ""),
        (&[&escaped], 202, &backslashes, ""),
        (&[], 400, "idempotency_key_invalid", "idempotency-key"),
        (&[""], 400, "idempotency_key_invalid", "1 to 255"),
        (&["\"\""], 400, "idempotency_key_invalid", "1 to 255"),
        (&[&longer], 400, "idempotency_key_invalid", "1 to 255"),
        (&[&quoted_longer], 400, "idempotency_key_invalid", "1 to 255"),
        (&["clé"], 400, "idempotency_key_invalid", "1 to 255"),
        (&["\"k"], 400, "idempotency_key_invalid", "double quote"),
        (&["a", "b"], 400, "idempotency_key_invalid", "more than once"),
        (&["\"a\"", "\"b\""], 400, "idempotency_key_invalid", "more than once"),
        (&["a", "a"], 400, "idempotency_key_invalid", "more than once"),
        (&["a,b"], 400, "idempotency_key_invalid", "more than once"),
    ];
    for (values, status, code_or_key, says) in cases {
        let mut events = events("/required", "", &[("idempotency-key", values)]);
        for (_, event) in events.iter_mut().filter(|_| values.is_empty()) {
            event["headers"].as_object_mut().into_iter().for_each(|headers| _ = headers.remove("idempotency-key"));
        }
        check(&ingress, &broker, &events, status, code_or_key, says).await;
    }
}

#[tokio::test]
async fn the_pattern_of_the_example_applies_to_a_key_without_its_quotes() {
    let broker = Broker::default();
    let ingress = ingress(&broker, &Store::with(&secret_text()));
    for (value, status, code_or_key, says) in [
        ("k", 202, "k", ""),
        ("\"k\"", 202, "k", ""),
        ("\"a,b\"", 400, "idempotency_key_invalid", "does not match"),
        (r#""a\"b""#, 400, "idempotency_key_invalid", "does not match"),
        ("a b", 400, "idempotency_key_invalid", "does not match"),
    ] {
        let events = events("/orders", "", &[("idempotency-key", &[value])]);
        check(&ingress, &broker, &events, status, code_or_key, says).await;
    }
}

/// Returns a contract whose operations read headers and query parameters in every possible way.
const READING: &str = r"
openapi: 3.1.0
info: { title: t, version: v }
security: []
paths:
  /parameters:
    post:
      operationId: parameters
      parameters:
        - { name: X-Event, in: header, schema: { type: string } }
        - { name: page, in: query, schema: { type: integer } }
      x-sluicegate: { queue: q, type: t }
  /templates:
    post:
      operationId: templates
      x-sluicegate: { queue: q, type: 't.{header.x-event}', subject: '{query.page}' }
  /keys:
    post:
      operationId: keys
      parameters:
        - { name: Delivery, in: header, required: true, schema: { type: string, pattern: '^d-' } }
      x-sluicegate: { queue: q, type: t, idempotency: { key: '{header.delivery}' } }
  /required:
    post:
      operationId: required
      parameters:
        - { name: Idempotency-Key, in: header, required: true, schema: { type: string } }
      x-sluicegate: { queue: q, type: t, idempotency: { key: '{header.idempotency-key}' } }
  /optional:
    post:
      operationId: optional
      x-sluicegate: { queue: q, type: t, idempotency: { key: '{header.idempotency-key}' } }
  /composed:
    post:
      operationId: composed
      x-sluicegate: { queue: q, type: t, idempotency: { key: '{header.x-event}/{query.page}' } }
";

fn reading(broker: &Broker) -> Ingress<Broker, Store> {
    let contract = Box::leak(Box::new(Contract::parse("reading.yaml", READING).unwrap()));
    Ingress::new(contract, [("q".to_owned(), broker.clone())].into(), Store::with(&secret_text()))
}

#[tokio::test]
async fn repeated_values_of_single_parameters_are_refused() {
    let broker = Broker::default();
    let ingress = reading(&broker);
    let (one, two): (&[&str], &[&str]) = (&["push"], &["push", "ping"]);
    let (once, twice) = ("page=1", "page=1&other=2&page=3");
    // HTTP APIs and Function URLs join two headers to one value.
    let is_apart = |event: &&(&str, Value)| event.1["multiValueHeaders"].is_object();
    let invalid = "parameter_invalid";
    for (path, headers, query, status, code_or_key, says) in [
        ("/parameters", one, once, 202, "", ""),
        ("/parameters", two, once, 400, invalid, "header x-event was sent more than once"),
        ("/parameters", one, twice, 400, invalid, "query parameter page was sent more than once"),
        ("/parameters", one, "p%61ge=1&page=3", 400, invalid, "query parameter page was sent more than once"),
        ("/templates", one, once, 202, "", ""),
        ("/templates", two, once, 400, invalid, "header x-event was sent more than once"),
        ("/templates", one, twice, 400, invalid, "query parameter page was sent more than once"),
        ("/templates", one, "", 400, invalid, "The query parameter page is missing"),
        ("/composed", one, once, 202, "push/1", ""),
        ("/composed", one, "", 202, "", ""),
        ("/composed", two, once, 400, "idempotency_key_invalid", "header x-event was sent more than once"),
        ("/composed", one, twice, 400, "idempotency_key_invalid", "query parameter page was sent more than once"),
    ] {
        let events = events(path, query, &[("x-event", headers)]);
        if path == "/parameters" && query.contains('%') {
            // The query of a REST API event is already decoded.
            check(
                &ingress,
                &broker,
                events.iter().filter(|(name, _)| *name == "http-api-v2"),
                status,
                code_or_key,
                says,
            )
            .await;
        } else {
            let apart = events.iter().filter(|event| headers.len() == 1 || is_apart(event));
            check(&ingress, &broker, apart, status, code_or_key, says).await;
        }
    }
    for (path, name, values, status, code_or_key, says) in [
        ("/keys", "delivery", &["d-1"][..], 202, "d-1", ""),
        ("/keys", "delivery", &["e-1"], 400, "idempotency_key_invalid", "is not valid"),
        ("/keys", "delivery", &["d-1", "d-2"], 400, "idempotency_key_invalid", "more than once"),
        ("/optional", "idempotency-key", &["\"k\""], 202, "k", ""),
        ("/optional", "other", &["k"], 202, "", ""),
        ("/optional", "idempotency-key", &["a", "b"], 400, "idempotency_key_invalid", "more than once"),
        ("/optional", "idempotency-key", &[""], 400, "idempotency_key_invalid", "1 to 255"),
    ] {
        let events = events(path, "", &[(name, values)]);
        let apart = events.iter().filter(|event| values.len() == 1 || name != "delivery" || is_apart(event));
        check(&ingress, &broker, apart, status, code_or_key, says).await;
    }
}
