//! HTTP Message Signatures against the vectors of RFC 9421, and against requests that must be refused.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use sluicegate_webhook::{Provider, Request, Scheme, Secret, SecretError};

#[derive(Deserialize)]
struct File {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    /// A provider, or a scheme.
    scheme: Value,
    /// Each is a text, or an object with `keyid` and `secret`.
    secrets: Vec<Value>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: String,
    now_unix_s: i64,
    /// The expected error, `*` for any, or null for a valid request.
    error: Option<String>,
    /// The position of the secret that fits.
    secret: Option<usize>,
}

fn scheme(value: &Value) -> Scheme {
    match value {
        Value::String(slug) => Provider::named(slug).unwrap().scheme.clone(),
        scheme => serde_json::from_value(scheme.clone()).unwrap(),
    }
}

fn secret(scheme: &Scheme, entry: &Value) -> Secret {
    let text = entry.as_str().or_else(|| entry["secret"].as_str()).unwrap();
    scheme.secret_of(entry["keyid"].as_str(), text).unwrap()
}

fn headers<'h>(all: impl IntoIterator<Item = &'h (String, String)>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in all {
        headers.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/webhook/rfc9421.json");
    serde_json::from_slice::<File>(&fs::read(path).unwrap()).unwrap().cases
}

#[test]
fn every_case_has_its_result() {
    let (mut valid, mut refused) = (0, 0);
    for case in cases() {
        let Case { name, method, url, now_unix_s, error, .. } = &case;
        let scheme = scheme(&case.scheme);
        assert_eq!(scheme.faults(), [], "{name}");
        let secrets: Vec<Secret> = case.secrets.iter().map(|entry| secret(&scheme, entry)).collect();
        let headers = headers(&case.headers);
        let request = Request::new(&headers, case.body.as_bytes()).at(method, url);
        let result = scheme.verify(&request, &secrets, *now_unix_s);
        let found = result.clone().err().map(|error| error.to_string());
        match error.as_deref() {
            Some("*") => assert!(found.is_some(), "{name}"),
            expected => assert_eq!(found.as_deref(), expected, "{name}"),
        }
        if case.secret.is_some() {
            assert_eq!(result.ok().map(|verified| verified.secret), case.secret, "{name}");
        }
        *if found.is_none() { &mut valid } else { &mut refused } += 1;
    }
    assert!(valid > 20 && refused > 70, "{valid} valid, {refused} refused");
}

/// Returns a scheme with these fields, besides the shortest one with message signatures.
fn written(signature: Value, more: Value) -> Value {
    let mut scheme = json!({
        "signature": { "header": "signature", "message": signature },
        "timestamp": { "field": "created", "unit": "s", "pastSeconds": 300 },
    });
    scheme.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    scheme
}

#[test]
fn a_scheme_of_ones_own_is_checked() {
    let digest = json!({ "components": ["content-digest"] });
    for (signature, more, pointer) in [
        (digest.clone(), json!({}), None),
        (json!({ "components": [] }), json!({ "assurance": "partial" }), None),
        (json!({ "components": ["@method"] }), json!({}), Some("/assurance")),
        (json!({ "components": ["content-digest", "Date"] }), json!({}), Some("/signature/message/components/1")),
        (json!({ "components": ["content-digest", "@status"] }), json!({}), Some("/signature/message/components/1")),
        (
            json!({ "components": ["content-digest", "@query-param"] }),
            json!({}),
            Some("/signature/message/components/1"),
        ),
        (
            json!({ "components": ["content-digest", "content-digest"] }),
            json!({}),
            Some("/signature/message/components/1"),
        ),
        (json!({ "components": ["content-digest"], "label": "Sig" }), json!({}), Some("/signature/message/label")),
        (json!({ "components": ["content-digest"], "tag": "é" }), json!({}), Some("/signature/message/tag")),
        (digest.clone(), json!({ "id": "idempotency-key" }), Some("/id")),
        (digest.clone(), json!({ "timestamp": null }), Some("/timestamp")),
        (digest.clone(), json!({ "timestamp": { "field": "created", "unit": "s" } }), Some("/timestamp")),
        (
            digest.clone(),
            json!({ "timestamp": { "header": "date", "unit": "s", "pastSeconds": 9 } }),
            Some("/timestamp"),
        ),
        (digest.clone(), json!({ "signed": "{method}{body}" }), Some("/signed")),
        (digest.clone(), json!({ "each": "/items" }), Some("/signature/message")),
        (digest.clone(), json!({ "algorithm": "hmac-sha512" }), Some("/algorithm")),
        (digest.clone(), json!({ "algorithm": "ed25519" }), Some("/secret/encoding")),
        (digest.clone(), json!({ "signature": { "header": "x-sign", "message": digest } }), Some("/signature")),
        (
            digest.clone(),
            json!({ "signature": { "header": "signature", "prefix": "a", "message": digest } }),
            Some("/signature"),
        ),
    ] {
        let text = written(signature, more);
        let scheme: Scheme = serde_json::from_value(text.clone()).unwrap();
        let pointers: Vec<String> = scheme.faults().into_iter().map(|(pointer, _)| pointer).collect();
        assert_eq!(pointers, Vec::from_iter(pointer.map(str::to_owned)), "{text}");
        assert!(scheme.signs_url(), "{text}");
        let written = serde_json::to_value(&scheme).unwrap();
        assert_eq!(serde_json::from_value::<Scheme>(written).unwrap(), scheme, "{text}");
    }
}

/// What this crate signs, it verifies: with a name, a label and a tag, and over a header of the caller.
#[test]
fn a_signed_request_is_valid() {
    let components = json!(["@target-uri", "@scheme", "x-tenant", "content-digest"]);
    let message = json!({ "components": components, "label": "to-orders", "tag": "orders" });
    let scheme: Scheme = serde_json::from_value(written(message, json!({}))).unwrap();
    let secret = scheme.secret_of(Some("client \"1\""), "hush").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("x-tenant", HeaderValue::from_static(" a\t"));
    let body = b"\x00\xff";
    let url = "http://127.0.0.1:3000/orders?a=b%20c";
    let signed = scheme.sign(&secret, "", 7, &Request::new(&headers, body).at("PUT", url)).unwrap();
    let input = &signed.iter().find(|(name, _)| name == "signature-input").unwrap().1;
    assert_eq!(
        input,
        r#"to-orders=("@target-uri" "@scheme" "x-tenant" "content-digest");created=7;keyid="client \"1\"";tag="orders""#
    );
    for (name, value) in &signed {
        headers.insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
    }
    let request = Request::new(&headers, body).at("PUT", url);
    let bases = scheme.signed_texts(&request).unwrap();
    assert!(
        bases.len() == 1
            && bases[0].starts_with(b"\"@target-uri\": http://127.0.0.1:3000/orders?a=b%20c\n\"@scheme\": http\n")
    );
    let secrets = [scheme.secret("other").unwrap(), secret];
    assert_eq!(scheme.verify(&request, &secrets, 7 + 300).map(|verified| verified.secret), Ok(1));
    assert!(scheme.verify(&Request::new(&headers, b"\x00\xfe").at("PUT", url), &secrets, 7).is_err());
    assert!(
        scheme.verify(&Request::new(&headers, body).at("POST", url), &secrets, 7).is_ok(),
        "the method is not signed"
    );
    // A component that the request lacks cannot be signed.
    assert!(scheme.sign(&secrets[1], "", 7, &Request::new(&HeaderMap::new(), body).at("PUT", url)).is_err());
}

#[test]
fn only_a_secret_of_message_signatures_has_a_name() {
    let named = |slug: &str, keyid: &str| {
        let scheme = &Provider::named(slug).unwrap().scheme;
        scheme
            .secret_of(
                Some(keyid),
                "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==",
            )
            .err()
    };
    assert_eq!(named("http-message-signatures", "a b"), None);
    assert_eq!(named("http-message-signatures", ""), Some(SecretError::Keyid));
    assert_eq!(named("http-message-signatures", "é"), Some(SecretError::Keyid));
    assert_eq!(named("github", "a"), Some(SecretError::KeyidUnused));
}
