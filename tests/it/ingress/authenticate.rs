//! Authentication: accepted credentials, principals, and the answers to refused ones.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::{Authenticated, Routed, Secrets};

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress_of, secret_text, shipped_with};
use crate::support::webhook;

/// 2023-11-14: the time of requests in tests that set it.
const NOW_UNIX_S: i64 = 1_700_000_000;

/// Returns the time of a request.
fn at(unix_s: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_s.try_into().unwrap())
}

/// Returns the shipped contract with another `security` on POST /orders.
fn contract(security: &str) -> &'static Contract {
    // A public operation cannot limit by principal.
    let limit = ("by: principal", "by: address");
    shipped_with(&[("        - apiKey: [orders.write]\n", &format!("{security}\n")), limit])
}

/// Returns the headers of a signed request, under the names that begin with `webhook-` or `svix-`.
fn signed(names: &str, id: &str, at_unix_s: i64, body: &str) -> Vec<(String, String)> {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let headers = webhook::signed("standard-webhooks", secret, id, at_unix_s, body.as_bytes());
    headers.into_iter().map(|(name, value)| (name.replace("webhook-", names), value)).collect()
}

fn event(path: &str, headers: &[(String, String)], body: &str) -> Value {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    http_api("POST", path, &headers, body)
}

fn deadline() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(10)
}

async fn authenticated(contract: &'static Contract, event: &Value) -> Authenticated<'static> {
    let secrets = Secrets::new(Store::with(&secret_text()), contract);
    let arrival = serde_json::from_value(event.clone()).unwrap();
    let routed = Routed::new(contract, arrival).unwrap();
    Authenticated::new(routed, contract, &secrets, None, at(NOW_UNIX_S), deadline()).await.unwrap()
}

#[tokio::test]
async fn a_principal_has_a_kind() {
    let github = webhook::signed("github", "first-secret", "", 0, b"{}");
    let key = ORDER_HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (security, path, headers, principal, domain) in [
        ("        - apiKey: []", "/orders", &key[..], "acme", "api-key"),
        ("        - apiKey: []", "/webhooks/github", &github, "github", "signature"),
        ("        - {}", "/orders", &key, "anonymous", "anonymous"),
    ] {
        let request = authenticated(contract(security), &event(path, headers, "{}")).await;
        assert_eq!((request.principal(), request.principal_domain()), (principal, domain), "{security} {path}");
    }
}

/// Sends POST /orders with these headers and checks status, code, detail and challenge.
async fn check(security: &str, headers: &[(String, String)], status: u16, code: &str, detail: &str, challenge: &str) {
    let ingress = ingress_of(contract(security), &Broker::default(), &Store::with(&secret_text()));
    let answer = answer(&ingress, &event("/orders", headers, ORDER)).await;
    let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let found = (answer["statusCode"].as_u64().unwrap(), problem["code"].as_str().unwrap(), problem["detail"].as_str());
    assert_eq!(found, (u64::from(status), code, Some(detail)), "{security} {headers:?}: {answer}");
    let sent = answer["headers"]["www-authenticate"].as_str().unwrap_or_default();
    assert_eq!(sent, challenge, "{security} {headers:?}: {answer}");
}

const KEY_OR_WEBHOOK: &str = "        - apiKey: [orders.write]\n        - standardWebhooks: []";
const WEBHOOK_OR_KEY: &str = "        - standardWebhooks: []\n        - apiKey: [orders.write]";
const KEY_AND_WEBHOOK: &str = "        - apiKey: [orders.write]\n          standardWebhooks: []";
const WEBHOOK: &str = "        - standardWebhooks: []";

const KEY: &str = r#"ApiKey header="x-api-key""#;
const SIGNATURE: &str = r#"Signature header="webhook-signature""#;

fn now_unix_s() -> i64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since_1970.as_secs().try_into().unwrap()
}

fn key(value: &str) -> (String, String) {
    ("x-api-key".to_owned(), value.to_owned())
}

#[tokio::test]
async fn a_refusal_has_the_challenges_of_all_alternatives_in_the_order_of_the_contract() {
    let not_valid = "The credentials are not valid for this request.";
    let stale = signed("webhook-", "m-1", 0, ORDER);
    let with_key = |value, mut headers: Vec<_>| {
        headers.push(key(value));
        headers
    };
    for (security, both) in
        [(KEY_OR_WEBHOOK, format!("{KEY}, {SIGNATURE}")), (WEBHOOK_OR_KEY, format!("{SIGNATURE}, {KEY}"))]
    {
        let missing = match security {
            KEY_OR_WEBHOOK => "Send the header x-api-key or webhook-signature.",
            _ => "Send the header webhook-signature or x-api-key.",
        };
        check(security, &[], 401, "credentials_missing", missing, &both).await;
        for headers in [vec![key("guess")], stale.clone(), with_key("guess", stale.clone())] {
            check(security, &headers, 401, "credentials_invalid", not_valid, &both).await;
        }
        let lacks = "The credentials lack the scope orders.write.";
        for headers in [vec![key("reader")], with_key("reader", stale.clone())] {
            check(security, &headers, 403, "scope_missing", lacks, "").await;
        }
    }
    // The answer does not reveal which requirement of an alternative is satisfied.
    let (both, missing) = (format!("{KEY}, {SIGNATURE}"), "Send the header webhook-signature.");
    for (headers, code, detail) in [
        (vec![], "credentials_missing", "Send the header x-api-key and webhook-signature."),
        (vec![key("guess")], "credentials_missing", missing),
        (vec![key("writer")], "credentials_missing", missing),
        (with_key("reader", stale.clone()), "credentials_invalid", not_valid),
        (with_key("writer", stale), "credentials_invalid", not_valid),
    ] {
        check(KEY_AND_WEBHOOK, &headers, 401, code, detail, &both).await;
    }
}

#[tokio::test]
async fn the_header_that_is_missing_is_named() {
    let all = signed("webhook-", "m-1", now_unix_s(), ORDER);
    let svix = signed("svix-", "m-1", now_unix_s(), ORDER);
    let without = |headers: &[(String, String)], end: &str| -> Vec<(String, String)> {
        headers.iter().filter(|(name, _)| !name.ends_with(end)).cloned().collect()
    };
    for (headers, name) in [
        (without(&all, "-id"), "webhook-id"),
        (without(&all, "-timestamp"), "webhook-timestamp"),
        (without(&all, "-signature"), "webhook-signature"),
        (without(&svix, "-id"), "webhook-id"),
        (without(&svix, "-timestamp"), "webhook-timestamp"),
        (without(&without(&all, "-id"), "-signature"), "webhook-signature"),
    ] {
        let challenge = format!("Signature header=\"{name}\"");
        check(WEBHOOK, &headers, 401, "credentials_missing", &format!("Send the header {name}."), &challenge).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_accepted_at_once_even_if_another_alternative_fails() {
    for security in [KEY_OR_WEBHOOK, WEBHOOK_OR_KEY] {
        let store = Store::with(r#"{"api-keys": [], "github": [], "standard-webhooks": []}"#);
        let ingress = ingress_of(contract(security), &Broker::default(), &store);
        let mut headers = signed("webhook-", "m-1", 0, ORDER);
        headers.extend(ORDER_HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let event = event("/orders", &headers, ORDER);
        assert_eq!(answer(&ingress, &event).await["statusCode"], 401, "{security}");
        store.set(Ok(&secret_text()));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(answer(&ingress, &event).await["statusCode"], 202, "{security}");
        assert_eq!(store.calls(), 2, "{security}");
    }
}

#[tokio::test]
async fn a_key_sent_twice_is_refused_and_one_with_a_comma_is_one_key() {
    let digest = |key: &str| {
        use sha2::{Digest, Sha256};
        Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let entry = |key: &str, principal: &str| json!({ "sha256": digest(key), "principal": principal, "scopes": ["*"] });
    let secret = json!({ "api-keys": [entry("writer", "acme"), entry("a,b", "comma")] }).to_string();
    for (file, keys, status) in [
        (include_str!("../../events/rest-api-v1.json"), &["writer"][..], 202),
        (include_str!("../../events/rest-api-v1.json"), &["writer", "guess"], 401),
        (include_str!("../../events/rest-api-v1.json"), &["guess", "writer"], 401),
        (include_str!("../../events/rest-api-v1.json"), &["writer", "writer"], 401),
        (include_str!("../../events/rest-api-v1.json"), &["a,b"], 202),
        (include_str!("../../events/rest-api-v1.json"), &["a", "b"], 401),
        (include_str!("../../events/alb-multi-value.json"), &["writer"], 202),
        (include_str!("../../events/alb-multi-value.json"), &["writer", "guess"], 401),
        (include_str!("../../events/http-api-v2.json"), &["writer"], 202),
        (include_str!("../../events/http-api-v2.json"), &["a,b"], 202),
        (include_str!("../../events/http-api-v2.json"), &["writer,guess"], 401),
        (include_str!("../../events/http-api-v2.json"), &["guess,writer"], 401),
    ] {
        let mut event: Value = serde_json::from_str(file).unwrap();
        if event["version"] == "2.0" {
            event["rawPath"] = "/orders".into();
            event["requestContext"]["http"]["method"] = "POST".into();
        } else {
            event["path"] = "/orders".into();
            event["httpMethod"] = "POST".into();
        }
        for headers in ["headers", "multiValueHeaders"] {
            // The header of the fixture, in any case.
            if let Some(headers) = event[headers].as_object_mut() {
                headers.retain(|name, _| !ORDER_HEADERS.iter().any(|(sent, _)| name.eq_ignore_ascii_case(sent)));
            }
        }
        for (name, value) in ORDER_HEADERS.into_iter().filter(|(name, _)| *name != "x-api-key") {
            if event["headers"].is_object() {
                event["headers"][name] = value.into();
            }
            if event["multiValueHeaders"].is_object() {
                event["multiValueHeaders"][name] = json!([value]);
            }
        }
        // The single-value map has only the last value.
        if event["headers"].is_object() {
            event["headers"]["x-api-key"] = (*keys.last().unwrap()).into();
        }
        if event["multiValueHeaders"].is_object() {
            event["multiValueHeaders"]["x-api-key"] = json!(keys);
        }
        event["body"] = ORDER.into();
        event["isBase64Encoded"] = false.into();
        let ingress = super::ingress(&Broker::default(), &Store::with(&secret));
        let answer = answer(&ingress, &event).await;
        assert_eq!(answer["statusCode"], status, "{keys:?}: {answer}");
        let said = answer["body"].as_str().unwrap();
        assert_eq!(said.contains("x-api-key is sent more than once"), keys.len() > 1, "{keys:?}: {answer}");
    }
}

#[tokio::test]
async fn a_webhook_under_the_header_names_of_svix_is_the_same_webhook() {
    let mut ids = Vec::new();
    for names in ["webhook-", "svix-"] {
        let broker = Broker::default();
        let ingress = super::ingress(&broker, &Store::with(&secret_text()));
        let mut headers = signed(names, "msg_1", now_unix_s(), "{}");
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let answer = answer(&ingress, &event("/webhooks/standard", &headers, "{}")).await;
        assert_eq!(answer["statusCode"], 202, "{names}: {answer}");
        let (envelope, _) = broker.last().unwrap();
        assert_eq!(envelope.idempotency_key(), Some("msg_1"), "{names}");
        ids.push(envelope.id().to_owned());
    }
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn header_names_are_interchangeable_only_after_the_signature_passed() {
    let headers = [signed("svix-", "m-1", NOW_UNIX_S, "{}"), vec![key("writer")]].concat();
    let event = event("/orders", &headers, "{}");
    for (security, id) in [(WEBHOOK, Some("m-1")), (KEY_AND_WEBHOOK, Some("m-1")), (KEY_OR_WEBHOOK, None)] {
        let request = authenticated(contract(security), &event).await;
        assert_eq!((request.header("webhook-id"), request.header("svix-id")), (id, Some("m-1")), "{security}");
        assert_eq!(request.header("webhook-other"), None, "{security}");
    }
}

#[tokio::test]
async fn secrets_also_expire_by_the_wall_clock() {
    let store = Store::with(&secret_text());
    let contract = contract("        - apiKey: []");
    let secrets = Secrets::new(store.clone(), contract);
    let passes = async |now_unix_s: i64| {
        let event = event("/orders", &[key("writer")], "{}");
        let arrival = serde_json::from_value(event).unwrap();
        let routed = Routed::new(contract, arrival).unwrap();
        Authenticated::new(routed, contract, &secrets, None, at(now_unix_s), deadline()).await.is_ok()
    };
    assert!(passes(NOW_UNIX_S).await);
    store.set(Ok(r#"{"api-keys": []}"#));
    assert!(passes(NOW_UNIX_S + 299).await, "cached");
    assert!(passes(NOW_UNIX_S - 36_000).await, "a clock that is set back does not cause a fetch");
    assert!(!passes(NOW_UNIX_S + 300).await, "the process was frozen in between");
    assert_eq!(store.calls(), 2);
}
