//! HTTP Message Signatures at the ingress: a signed request is enqueued, and no altered one is.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;
use sluicegate_webhook::{Encoding, Provider, Request, Scheme};

/// Base64 of two keys.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const OTHER: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

const BODY: &str = r#"{"order":1}"#;
const URL: &str = "https://api.example.com/orders?a=1";

fn ingress() -> TestIngress {
    let yaml = "\
openapi: 3.1.0
info: { title: t, version: v }
paths:
  /orders:
    post:
      operationId: order
      security: [{ callers: [] }]
      requestBody: { content: { application/json: {} } }
      x-sluicegate: { queue: orders, type: order.placed }
components:
  securitySchemes:
    callers: { type: apiKey, in: header, name: Signature, x-secret: callers, x-signature: http-message-signatures }
";
    TestIngress::new(Contract::parse("orders.yaml", yaml).unwrap())
        .named_secret("callers", "shop", KEY)
        .named_secret("callers", "till", OTHER)
}

fn now_unix_s() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

type Headers = Vec<(String, String)>;

/// Signs a request as the scheme requires.
fn signed(keyid: Option<&str>, secret: &str, at_unix_s: i64) -> Headers {
    let scheme = &Provider::named("http-message-signatures").unwrap().scheme;
    let secret = scheme.secret_of(keyid, secret).unwrap();
    let headers = HeaderMap::new();
    scheme.sign(&secret, "k-1", at_unix_s, &Request::new(&headers, BODY.as_bytes()).at("POST", URL)).unwrap()
}

/// Signs a request with a signature base of one's own: the parameters, and the lines of the components.
fn signed_by_hand(components: &[&str], parameters: &str) -> Headers {
    let mut headers = signed(Some("shop"), KEY, now_unix_s());
    let digest = headers.iter().find(|(name, _)| name == "content-digest").unwrap().1.clone();
    let known = [
        ("@method", "POST"),
        ("@authority", "api.example.com"),
        ("@path", "/orders"),
        ("@query", "?a=1"),
        ("idempotency-key", "k-1"),
        ("content-digest", &digest),
    ];
    let names: Vec<String> = components.iter().map(|name| format!("\"{name}\"")).collect();
    let input = format!("({}){parameters}", names.join(" "));
    let mut base = String::new();
    for name in components {
        let (_, value) = known.iter().find(|(known, _)| known == name).unwrap();
        base.push_str(&format!("\"{name}\": {value}\n"));
    }
    base.push_str(&format!("\"@signature-params\": {input}"));
    // A scheme that signs the body with the same key computes the HMAC.
    let mac: Scheme = serde_json::from_value(json!({
        "signature": { "header": "mac", "encoding": "base64" }, "secret": { "encoding": "base64" },
    }))
    .unwrap();
    let none = HeaderMap::new();
    let mac = mac.sign(&mac.secret(KEY).unwrap(), "", 0, &Request::new(&none, base.as_bytes())).unwrap();
    set(&mut headers, "signature-input", &format!("sig1={input}"));
    set(&mut headers, "signature", &format!("sig1=:{}:", mac[0].1));
    headers
}

fn set(headers: &mut Headers, name: &str, value: &str) {
    headers.retain(|(known, _)| known != name);
    headers.push((name.to_owned(), value.to_owned()));
}

fn value<'h>(headers: &'h Headers, name: &str) -> &'h str {
    &headers.iter().find(|(known, _)| known == name).unwrap().1
}

/// Sends a request; returns the status and the body of the answer.
async fn send(ingress: &TestIngress, path: &str, query: &str, headers: &Headers, body: &str) -> (u64, String) {
    let mut all: serde_json::Map<String, Value> = serde_json::Map::new();
    for (name, value) in headers {
        // API Gateway joins the lines of a header.
        let joined = match all.get(name).and_then(Value::as_str) {
            Some(before) => format!("{before},{value}"),
            None => value.clone(),
        };
        all.insert(name.clone(), joined.into());
    }
    all.insert("host".to_owned(), "api.example.com".into());
    all.insert("content-type".to_owned(), "application/json".into());
    let event = json!({
        "version": "2.0", "rawPath": path, "rawQueryString": query, "headers": all, "body": body,
        "isBase64Encoded": false,
        "requestContext": {
            "domainName": "api.example.com", "requestId": "r-1", "stage": "$default",
            "http": { "method": "POST", "path": path, "sourceIp": "192.0.2.1" },
        },
    });
    let answer = ingress.handle(&event.to_string()).await.unwrap();
    (answer["statusCode"].as_u64().unwrap(), answer["body"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_signed_request_is_enqueued() {
    let ingress = ingress();
    for (keyid, secret) in [("shop", KEY), ("till", OTHER)] {
        let (status, text) = send(&ingress, "/orders", "a=1", &signed(Some(keyid), secret, now_unix_s()), BODY).await;
        assert_eq!(status, 202, "{text}");
    }
    let stored = ingress.stored();
    assert_eq!((stored.len(), stored[0].envelope.event_type()), (2, "order.placed"));
    // The key is signed, so a replay is the same message.
    assert_eq!(stored[0].envelope.id(), stored[1].envelope.id());
}

#[tokio::test]
async fn no_other_request_is_enqueued() {
    let ingress = ingress();
    let good = signed(Some("shop"), KEY, now_unix_s());
    let with = |name: &str, value: &str| {
        let mut headers = good.clone();
        set(&mut headers, name, value);
        headers
    };
    let without = |name: &str| {
        let mut headers = good.clone();
        headers.retain(|(known, _)| known != name);
        headers
    };
    let twice = |name: &str| {
        let mut headers = good.clone();
        headers.push((name.to_owned(), value(&good, name).to_owned()));
        headers
    };
    let digest = |body: &str| format!("sha-256=:{}:", Encoding::Base64.encode(&Sha256::digest(body)));
    let all = ["@method", "@authority", "@path", "@query", "idempotency-key", "content-digest"];
    let now = now_unix_s();
    let shop = format!(";created={now};keyid=\"shop\"");
    let other_label = value(&good, "signature").replacen("sig1", "sig2", 1);
    // What is valid by hand is valid, so what follows is refused for its own reason.
    assert_eq!(send(&ingress, "/orders", "a=1", &signed_by_hand(&all, &shop), BODY).await.0, 202);
    assert_eq!(ingress.stored().len(), 1);
    for (what, headers, body) in [
        ("another body", good.clone(), r#"{"order":2}"#),
        ("another body with its digest", with("content-digest", &digest(r#"{"order":2}"#)), r#"{"order":2}"#),
        ("the digest of another body", with("content-digest", &digest("{}")), BODY),
        ("no digest", without("content-digest"), BODY),
        ("a component less", signed_by_hand(&all[..5], &shop), BODY),
        ("no method", signed_by_hand(&all[1..], &shop), BODY),
        ("no component", signed_by_hand(&[], &shop), BODY),
        ("stale", signed(Some("shop"), KEY, now - 310), BODY),
        ("of the future", signed(Some("shop"), KEY, now + 70), BODY),
        ("expired", signed_by_hand(&all, &format!("{shop};expires={}", now - 1)), BODY),
        ("without a time", signed_by_hand(&all, ";keyid=\"shop\""), BODY),
        ("another algorithm", signed_by_hand(&all, &format!("{shop};alg=\"ed25519\"")), BODY),
        ("an unknown parameter", signed_by_hand(&all, &format!("{shop};a")), BODY),
        ("the keyid of another secret", signed(Some("till"), KEY, now), BODY),
        ("an unknown keyid", signed(Some("shed"), KEY, now), BODY),
        ("no keyid", signed(None, KEY, now), BODY),
        ("another idempotency key", with("idempotency-key", "k-2"), BODY),
        ("no idempotency key", without("idempotency-key"), BODY),
        ("Signature twice", twice("signature"), BODY),
        ("Signature-Input twice", twice("signature-input"), BODY),
        ("no Signature", without("signature"), BODY),
        ("no Signature-Input", without("signature-input"), BODY),
        ("a label that Signature lacks", with("signature", &other_label), BODY),
        ("not a structured field", with("signature-input", "sig1=(("), BODY),
        ("a long structured field", with("signature-input", &format!("sig1=({})", "\"a\" ".repeat(2_000))), BODY),
        ("nothing", Vec::new(), BODY),
    ] {
        let (status, text) = send(&ingress, "/orders", "a=1", &headers, body).await;
        assert_eq!(status, 401, "{what}: {text}");
        assert!(!text.contains("shop"), "{what}: {text}");
    }
    // Another query is not signed.
    assert_eq!(send(&ingress, "/orders", "a=2", &good, BODY).await.0, 401);
    assert_eq!(ingress.stored().len(), 1);
}

#[tokio::test]
async fn a_missing_header_is_named() {
    let (ingress, good) = (ingress(), signed(Some("shop"), KEY, now_unix_s()));
    for name in ["signature", "signature-input", "idempotency-key", "content-digest"] {
        let headers: Headers = good.iter().filter(|(known, _)| known != name).cloned().collect();
        let (status, text) = send(&ingress, "/orders", "a=1", &headers, BODY).await;
        assert!(status == 401 && text.contains(&format!("Send the header {name}.")), "{name}: {text}");
    }
    assert!(ingress.stored().is_empty());
}
