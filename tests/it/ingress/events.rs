//! The same signed request through each supported service.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::Ingress;

use super::{Broker, Store, answer, ingress, lambda, secret_text};
use crate::support::webhook;

const SIGNATURE: &str = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

fn event(file: &str) -> Value {
    serde_json::from_str(file).unwrap()
}

/// Returns the event with this request, in the fields of payload format 2.0, or of 1.0 and load balancers.
pub(super) fn with_request(mut event: Value, path: &str, headers: &[(&str, &str)], body: Value, base64: bool) -> Value {
    if event["version"] == "2.0" {
        event["rawPath"] = path.into();
        event["requestContext"]["http"]["method"] = "POST".into();
    } else {
        event["path"] = path.into();
        event["httpMethod"] = "POST".into();
    }
    for (name, value) in headers {
        if event["headers"].is_object() {
            event["headers"][*name] = (*value).into();
        }
        if event["multiValueHeaders"].is_object() {
            event["multiValueHeaders"][*name] = json!([value]);
        }
    }
    event["body"] = body;
    event["isBase64Encoded"] = base64.into();
    event
}

const BODY: &str = r#"{"zen": "Keep it logically awesome."}"#;

fn github_headers() -> [(&'static str, String); 4] {
    let signature = webhook::github_signature("It's a Secret to Everybody", BODY.as_bytes());
    [
        ("X-Hub-Signature-256", signature),
        ("X-GitHub-Event", "ping".to_owned()),
        ("X-GitHub-Delivery", "d-1".to_owned()),
        ("Content-Type", "application/json".to_owned()),
    ]
}

#[tokio::test]
async fn every_service_delivers_the_exact_bytes_and_gets_its_form_of_answer() {
    let events = [
        ("http-api-v2", include_str!("../../events/http-api-v2.json"), "headers"),
        ("http-api-sam-local", include_str!("../../events/http-api-sam-local.json"), "headers"),
        ("rest-api-v1", include_str!("../../events/rest-api-v1.json"), "headers"),
        ("function-url", include_str!("../../events/function-url.json"), "headers"),
        ("alb", include_str!("../../events/alb.json"), "headers"),
        ("alb-multi-value", include_str!("../../events/alb-multi-value.json"), "multiValueHeaders"),
    ];
    let headers = github_headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for (name, file, answer_headers) in events {
        for base64 in [false, true] {
            let broker = Broker::default();
            let ingress = ingress(&broker, &Store::with(&secret_text()));
            let body = if base64 { BASE64_STANDARD.encode(BODY) } else { BODY.to_owned() };
            let event = with_request(event(file), "/webhooks/github", &headers, body.into(), base64);
            let answer = answer(&ingress, &event).await;
            assert_eq!(answer["statusCode"], 202, "{name}: {answer}");
            assert!(answer[answer_headers].is_object(), "{name}: {answer}");
            assert_eq!(name.starts_with("alb"), answer["statusDescription"] == "202 Accepted", "{name}: {answer}");
            let (envelope, _) = broker.last().unwrap();
            assert_eq!(
                (envelope.payload().as_ref(), envelope.event_type()),
                (BODY.as_bytes(), "github.ping"),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn a_second_signature_header_of_a_rest_event_is_refused() {
    let broker = Broker::default();
    let ingress = ingress(&broker, &Store::with(&secret_text()));
    let headers = github_headers();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut event = with_request(
        event(include_str!("../../events/rest-api-v1.json")),
        "/webhooks/github",
        &headers,
        BODY.into(),
        false,
    );
    // A repeated header of a REST API: the single-value map has only the last value.
    event["headers"]["X-Hub-Signature-256"] = SIGNATURE.into();
    event["multiValueHeaders"]["X-Hub-Signature-256"] = json!([headers[0].1, SIGNATURE]);
    assert_eq!(answer(&ingress, &event).await["statusCode"], 401);
}

#[tokio::test]
async fn a_named_stage_is_not_part_of_the_route() {
    let broker = Broker::default();
    let ingress = ingress(&broker, &Store::with(&secret_text()));
    for (path, status) in
        [("/prod/webhooks/github", 202), ("/webhooks/github", 202), ("/production/webhooks/github", 404)]
    {
        let headers = github_headers();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut event =
            with_request(event(include_str!("../../events/http-api-v2.json")), path, &headers, BODY.into(), false);
        event["requestContext"]["stage"] = "prod".into();
        assert_eq!(answer(&ingress, &event).await["statusCode"], status, "{path}");
    }
}

#[test]
fn a_caller_cannot_choose_its_address() {
    let forged = "203.0.113.7";
    let address = |event: &Value| lambda(event).unwrap().payload.source_ip;
    // The services of API Gateway and function URLs give the address beside the headers.
    for (name, file, seen) in [
        ("http-api-v2", include_str!("../../events/http-api-v2.json"), "1.2.3.4"),
        ("function-url", include_str!("../../events/function-url.json"), "123.123.123.123"),
        ("rest-api-v1", include_str!("../../events/rest-api-v1.json"), "192.168.196.186"),
        ("http-api-v1", include_str!("../../events/http-api-v1-decoded.json"), "192.168.196.186"),
    ] {
        let headers = ["x-forwarded-for", "X-Forwarded-For", "forwarded", "x-real-ip"].map(|header| (header, forged));
        let event = with_request(event(file), "/orders", &headers, Value::Null, false);
        assert_eq!(address(&event).as_deref(), Some(seen), "{name}");
        let mut without = event.clone();
        without["requestContext"]["http"]["sourceIp"].take();
        without["requestContext"]["identity"]["sourceIp"].take();
        assert_eq!(address(&without), None, "{name}: no header takes its place");
    }
    // A load balancer appends the address to the header that the client sent.
    let alb = |headers: &str, values: Value| {
        let file = match headers {
            "headers" => include_str!("../../events/alb.json"),
            _ => include_str!("../../events/alb-multi-value.json"),
        };
        let mut event = event(file);
        event[headers]["x-forwarded-for"] = values;
        address(&event)
    };
    for (headers, values, seen) in [
        ("headers", json!("192.0.2.1"), Some("192.0.2.1")),
        ("headers", json!("203.0.113.7, 192.0.2.1"), Some("192.0.2.1")),
        ("headers", json!("203.0.113.7,198.51.100.2,192.0.2.1"), Some("192.0.2.1")),
        ("headers", json!("\u{e9}, 192.0.2.1"), Some("192.0.2.1")),
        ("headers", json!("203.0.113.7, 192.0.2.1:49152"), Some("192.0.2.1")),
        ("headers", json!("[2001:db8::1]:49152"), Some("2001:db8::1")),
        ("headers", json!("2001:db8::1"), Some("2001:db8::1")),
        ("headers", Value::Null, None),
        ("multiValueHeaders", json!(["192.0.2.1"]), Some("192.0.2.1")),
        ("multiValueHeaders", json!(["203.0.113.7, 192.0.2.1"]), Some("192.0.2.1")),
        ("multiValueHeaders", json!(["203.0.113.7", "192.0.2.1"]), Some("192.0.2.1")),
        ("multiValueHeaders", json!(["198.51.100.2", "203.0.113.7, 192.0.2.1"]), Some("192.0.2.1")),
        ("multiValueHeaders", json!([]), None),
    ] {
        assert_eq!(alb(headers, values.clone()).as_deref(), seen, "{headers} {values}");
    }
}

/// Returns an ingress with one route, whose path has a parameter and a percent-encoded literal segment.
fn items(broker: &Broker) -> Ingress<Broker, Store> {
    const ITEMS: &str = r"
openapi: 3.1.0
info: { title: t, version: v }
paths:
  /items/{item_id}/caf%C3%A9:
    post:
      operationId: item
      security: []
      parameters: [{ name: item_id, in: path, required: true }]
      x-sluicegate: { queue: q, type: t, subject: '{path.item_id}' }
";
    let contract = Box::leak(Box::new(Contract::parse("items.yaml", ITEMS).unwrap()));
    Ingress::new(contract, [("q".to_owned(), broker.clone())].into(), Store::with(&secret_text()))
}

const SOURCE: &str = "/items/%7Bitem_id%7D/caf%C3%A9";

#[tokio::test]
async fn a_path_is_decoded_once_whether_or_not_the_service_did() {
    let (encoded, decoded) = ("/items/{}/caf%C3%A9", "/items/{}/café");
    let events = [
        ("function-url", include_str!("../../events/function-url-encoded.json"), encoded, "a b/c"),
        ("rest-api-v1", include_str!("../../events/rest-api-v1-encoded.json"), encoded, "a b/c"),
        ("alb", include_str!("../../events/alb.json"), encoded, ""),
        ("http-api-v2", include_str!("../../events/http-api-v2-decoded.json"), decoded, "a b"),
        ("http-api-v1", include_str!("../../events/http-api-v1-decoded.json"), decoded, "a b"),
    ];
    let check = async |name: &str, event: &Value, status: u16, subject: &str| {
        let broker = Broker::default();
        let answer = answer(&items(&broker), event).await;
        assert_eq!(answer["statusCode"], status, "{name} {subject}: {answer}");
        let stored =
            broker.last().map(|(envelope, _)| (envelope.subject().map(str::to_owned), envelope.source().to_owned()));
        let expected = (status == 202).then(|| (Some(subject.to_owned()), SOURCE.to_owned()));
        assert_eq!(stored, expected, "{name} {subject}");
    };
    for (name, file, path, as_it_is) in events {
        if !as_it_is.is_empty() {
            check(name, &event(file), 202, as_it_is).await;
        }
        let cases: &[(&str, u16, &str)] = if path == encoded {
            &[
                ("a%20b", 202, "a b"),
                ("a%2Fb", 202, "a/b"),
                ("50%25", 202, "50%"),
                ("%2541", 202, "%41"),
                ("%7e%c3%a9", 202, "~é"),
                ("a/b", 404, ""),
                ("%zz", 400, ""),
                ("%FF", 400, ""),
            ]
        } else {
            &[("a b", 202, "a b"), ("50%", 202, "50%"), ("%41", 202, "%41"), ("a?b#c", 202, "a?b#c"), ("a/b", 404, "")]
        };
        for (item_id, status, subject) in cases {
            let event = with_request(event(file), &path.replace("{}", item_id), &[], Value::Null, false);
            check(name, &event, *status, subject).await;
        }
    }
    // Other encodings of the literal segment.
    for (file, path) in
        [(events[0].1, "/items/x/caf%c3%a9"), (events[1].1, "/items/x/c%61f%C3%A9"), (events[2].1, "/items/x/café")]
    {
        check(path, &with_request(event(file), path, &[], Value::Null, false), 202, "x").await;
    }
}

#[tokio::test]
async fn the_source_is_the_route_for_any_host_and_parameters() {
    for (path, stage) in [("/items/x/café", "$default"), ("/prod/items/x/café", "prod"), ("/items/y z/café", "prod")]
    {
        let broker = Broker::default();
        let mut event =
            with_request(event(include_str!("../../events/http-api-v2.json")), path, &[], Value::Null, false);
        event["requestContext"]["stage"] = stage.into();
        assert_eq!(answer(&items(&broker), &event).await["statusCode"], 202, "{path}");
        assert_eq!(broker.last().unwrap().0.source(), SOURCE, "{path}");
    }
}

#[tokio::test]
async fn malformed_events_are_answered_without_a_panic() {
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    let file = event(include_str!("../../events/http-api-v2.json"));
    let bad_base64 = with_request(file.clone(), "/webhooks/github", &[], "%%%".into(), true);
    assert_eq!(answer(&ingress, &bad_base64).await["statusCode"], 400);
    let bad_host = with_request(file, "/webhooks/github", &[("host", "not a host:::")], "x".into(), false);
    assert_eq!(answer(&ingress, &bad_host).await["statusCode"], 401);
}

#[test]
fn an_event_of_another_service_is_an_error_with_the_expected_services() {
    let error = lambda(&json!({ "Records": [] })).unwrap_err();
    assert!(error.to_string().contains("API Gateway"), "{error}");
}

#[tokio::test]
async fn json_that_is_not_utf_8_is_refused_after_its_signature_is_verified() {
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    let body = b"{\"zen\": \"\xff\"}";
    let signature = webhook::github_signature("first-secret", body);
    let mut headers = github_headers();
    headers[0].1 = signature;
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let file = event(include_str!("../../events/http-api-v2.json"));
    let answer =
        answer(&ingress, &with_request(file, "/webhooks/github", &headers, BASE64_STANDARD.encode(body).into(), true))
            .await;
    assert_eq!(answer["statusCode"], 400, "{answer}");
    assert!(answer["body"].as_str().unwrap().contains("UTF-8 at byte 9"), "{answer}");
}

/// Events with each field, at any depth, removed or of another type: an answer or an error, never a panic.
#[tokio::test]
async fn no_changed_event_causes_a_panic() {
    fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
        for (key, child) in value.as_object().into_iter().flatten() {
            let pointer = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
            pointers(child, &pointer, found);
            found.push(pointer);
        }
    }
    let ingress = ingress(&Broker::default(), &Store::with(&secret_text()));
    for file in [
        include_str!("../../events/http-api-v2.json"),
        include_str!("../../events/rest-api-v1.json"),
        include_str!("../../events/function-url.json"),
        include_str!("../../events/alb-multi-value.json"),
    ] {
        let whole = event(file);
        let mut places = Vec::new();
        pointers(&whole, "", &mut places);
        for place in places {
            for odd in [Value::Null, json!(7), json!("\u{0}%ff é"), json!([]), json!({ "a": [null] })] {
                let mut changed = whole.clone();
                *changed.pointer_mut(&place).unwrap() = odd;
                if let Ok(event) = lambda(&changed) {
                    ingress.handle(event).await;
                }
            }
        }
    }
}
