//! Routes whose messages have a status: `Location`, who may read it, validators, failures of the store.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_idempotency::{MemoryStore, MessageState, StatusStore as _};
use sluicegate_ingress::{AnyStore, Ingress};
use sluicegate_queue::SendError;
use tokio::time::Instant;

use super::store::dynamodb;
use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress_of, secret_text, shipped_with};
use crate::support::service::emulator;

/// Returns the shipped contract whose orders have a status.
fn contract() -> &'static Contract {
    shipped_with(&[("type: order.placed\n", "type: order.placed\n        status: true\n")])
}

fn ingress(broker: &Broker, store: AnyStore) -> Ingress<Broker, Store> {
    ingress_of(contract(), broker, &Store::with(&secret_text())).with_store(Some(store))
}

fn ask(method: &str, path: &str, key: &str) -> Value {
    http_api(method, path, &[("x-api-key", key)], "")
}

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap_or(Value::Null)
}

/// Places an order. Returns the path of its status and its id.
async fn placed(ingress: &Ingress<Broker, Store>) -> (String, String) {
    let accepted = answer(ingress, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
    assert_eq!(accepted["statusCode"], 202, "{accepted}");
    let id = body(&accepted)["id"].as_str().unwrap().to_owned();
    let location = accepted["headers"]["location"].as_str().unwrap().to_owned();
    assert_eq!(location, format!("/messages/{id}"));
    (location, id)
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

#[tokio::test]
async fn an_accepted_message_has_a_status_at_its_location() {
    let endpoint = emulator().await;
    for store in [AnyStore::Memory(MemoryStore::default()), dynamodb(&endpoint, true).await] {
        let broker = Broker::default();
        let ingress = ingress(&broker, store);
        let (location, id) = placed(&ingress).await;
        assert!(broker.envelopes()[0].has_status(), "the consumer records it");
        let status = answer(&ingress, &ask("GET", &location, "writer")).await;
        assert_eq!((&status["statusCode"], body(&status)), (&json!(200), json!({ "id": id, "status": "accepted" })));
        let header = |name: &str| status["headers"][name].as_str().unwrap_or_default();
        assert_eq!((header("retry-after"), header("cache-control")), ("2", "private, no-cache"), "{status}");
        let head = answer(&ingress, &ask("HEAD", &location, "writer")).await;
        assert_eq!((&head["statusCode"], &head["body"]), (&json!(200), &json!("")));
        assert_eq!(head["headers"]["etag"], status["headers"]["etag"]);
        let options = answer(&ingress, &ask("OPTIONS", &location, "writer")).await;
        assert_eq!((&options["statusCode"], &options["headers"]["allow"]), (&json!(204), &json!("GET, HEAD, OPTIONS")));
        let delete = answer(&ingress, &ask("DELETE", &location, "writer")).await;
        assert_eq!((&delete["statusCode"], &delete["headers"]["allow"]), (&json!(405), &json!("GET, HEAD, OPTIONS")));
    }
}

#[tokio::test]
async fn each_state_has_its_body_and_its_validator() {
    let store = MemoryStore::default();
    let broker = Broker::default();
    let ingress = ingress(&broker, AnyStore::Memory(store.clone()));
    let (location, id) = placed(&ingress).await;
    let soon_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 100;
    let mut known: Vec<String> = Vec::new();
    for (state, expected, retry_after_s) in [
        (
            MessageState::Processing { receive_count: 1 },
            json!({ "status": "processing", "receiveCount": 1 }),
            Some(2..=2),
        ),
        (
            MessageState::Retrying { receive_count: 1, next_s: soon_s },
            json!({ "status": "retrying", "receiveCount": 1 }),
            Some(90..=100),
        ),
        (
            MessageState::Retrying { receive_count: 2, next_s: 7 },
            json!({ "nextAt": "1970-01-01T00:00:07Z" }),
            Some(2..=2),
        ),
        (
            MessageState::Dead { code: None, reason: "of an earlier version".to_owned() },
            json!({ "code": null, "reason": "of an earlier version" }),
            None,
        ),
        (
            MessageState::Dead { code: Some("article_unknown".to_owned()), reason: "no such article".to_owned() },
            json!({ "code": "article_unknown", "reason": "no such article" }),
            None,
        ),
        (MessageState::Done { result: Some("3".to_owned()) }, json!({ "status": "done", "result": "3" }), None),
    ] {
        store.change_status(&id, &state, SystemTime::now(), deadline()).await.unwrap();
        let mut request = ask("GET", &location, "writer");
        request["headers"]["if-none-match"] = known.join(", ").into();
        let status = answer(&ingress, &request).await;
        assert_eq!(status["statusCode"], 200, "{state:?}: {status}");
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&body(&status)[name], value, "{state:?}: {status}");
        }
        let waits = status["headers"]["retry-after"].as_str().map(|seconds| seconds.parse::<u64>().unwrap());
        assert!(waits.zip(retry_after_s.clone()).is_none_or(|(waits, expected)| expected.contains(&waits)), "{status}");
        assert_eq!(waits.is_some(), retry_after_s.is_some(), "{state:?}: {status}");
        let etag = status["headers"]["etag"].as_str().unwrap().to_owned();
        for tags in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
            request["headers"]["if-none-match"] = tags.clone().into();
            let same = answer(&ingress, &request).await;
            assert_eq!((&same["statusCode"], &same["body"]), (&json!(304), &json!("")), "{tags}: {same}");
            assert_eq!(same["headers"]["etag"], json!(etag));
        }
        known.push(etag);
    }
}

#[tokio::test]
async fn to_another_caller_a_message_does_not_exist() {
    let broker = Broker::default();
    let ingress = ingress(&broker, AnyStore::Memory(MemoryStore::default()));
    let (location, _) = placed(&ingress).await;
    let mut absent = Vec::new();
    for (path, key) in [
        (location.as_str(), "new"),
        ("/messages/00000000-0000-4000-8000-000000000000", "new"),
        ("/messages/00000000-0000-4000-8000-000000000000", "writer"),
        ("/messages/short", "writer"),
        ("/messages/%2e", "writer"),
    ] {
        let refused = answer(&ingress, &ask("GET", path, key)).await;
        assert_eq!(
            (&refused["statusCode"], &body(&refused)["code"]),
            (&json!(404), &json!("message_unknown")),
            "{path}"
        );
        absent.push((refused["headers"].clone(), refused["body"].clone()));
    }
    assert!(absent.iter().all(|answer| *answer == absent[0]), "nothing distinguishes them: {absent:?}");
    for (event, code) in [
        (http_api("GET", &location, &[], ""), "credentials_missing"),
        (ask("GET", &location, "guess"), "credentials_invalid"),
    ] {
        let refused = answer(&ingress, &event).await;
        assert_eq!((&refused["statusCode"], &body(&refused)["code"]), (&json!(401), &json!(code)), "{refused}");
    }
    for path in ["/messages/", "/messages/a/b", "/messages"] {
        let refused = answer(&ingress, &ask("GET", path, "writer")).await;
        assert_eq!(body(&refused)["code"], "route_unknown", "{path}: {refused}");
    }
}

#[tokio::test]
async fn a_message_that_is_not_stored_has_no_status() {
    let store = MemoryStore::default();
    let sick = Broker { sick: Some(SendError::Unknown { reason: "as planned".to_owned() }), ..Broker::default() };
    let order = http_api("POST", "/orders", &ORDER_HEADERS, ORDER);
    let failed = answer(&ingress(&sick, AnyStore::Memory(store.clone())), &order).await;
    assert_eq!((&failed["statusCode"], &failed["headers"]["location"]), (&json!(503), &Value::Null), "{failed}");
    let path = format!("/messages/{}", body(&failed)["id"].as_str().unwrap());
    let well = Broker::default();
    let ingress = ingress(&well, AnyStore::Memory(store));
    assert_eq!(answer(&ingress, &ask("GET", &path, "writer")).await["statusCode"], 404);
    // The repeat is the same message, and has one.
    assert_eq!(placed(&ingress).await.0, path);
    assert_eq!(answer(&ingress, &ask("GET", &path, "writer")).await["statusCode"], 200);
}

#[tokio::test]
async fn without_the_table_a_message_is_accepted_without_a_status() {
    // Without a table, and without a service.
    let endpoint = emulator().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for endpoint in [endpoint, format!("http://{closed}")] {
        let broker = Broker::default();
        let ingress = ingress(&broker, dynamodb(&endpoint, false).await);
        let accepted = answer(&ingress, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
        assert_eq!((&accepted["statusCode"], broker.len()), (&json!(202), 1), "{accepted}");
        assert_eq!(accepted["headers"]["location"], Value::Null);
        let path = format!("/messages/{}", body(&accepted)["id"].as_str().unwrap());
        let status = answer(&ingress, &ask("GET", &path, "writer")).await;
        assert_eq!(
            (&status["statusCode"], &body(&status)["code"]),
            (&json!(503), &json!("store_unavailable")),
            "{status}"
        );
        assert!(status["headers"]["retry-after"].is_string(), "{status}");
    }
}

#[tokio::test]
async fn a_route_without_a_status_has_neither_location_nor_path() {
    let broker = Broker::default();
    let store = AnyStore::Memory(MemoryStore::default());
    let ingress = ingress_of(shipped_with(&[]), &broker, &Store::with(&secret_text())).with_store(Some(store));
    let accepted = answer(&ingress, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
    assert_eq!((&accepted["statusCode"], &accepted["headers"]["location"]), (&json!(202), &Value::Null), "{accepted}");
    assert!(!broker.envelopes()[0].has_status());
    let path = format!("/messages/{}", body(&accepted)["id"].as_str().unwrap());
    assert_eq!(body(&answer(&ingress, &ask("GET", &path, "writer")).await)["code"], "route_unknown");
}

#[tokio::test]
async fn the_location_has_the_stage_that_the_request_has() {
    let broker = Broker::default();
    let ingress = ingress(&broker, AnyStore::Memory(MemoryStore::default()));
    let mut order = http_api("POST", "/prod/orders", &ORDER_HEADERS, ORDER);
    order["requestContext"]["stage"] = "prod".into();
    let accepted = answer(&ingress, &order).await;
    let location = accepted["headers"]["location"].as_str().unwrap();
    assert_eq!(location, format!("/prod/messages/{}", body(&accepted)["id"].as_str().unwrap()));
    let mut status = ask("GET", location, "writer");
    status["requestContext"]["stage"] = "prod".into();
    assert_eq!(answer(&ingress, &status).await["statusCode"], 200);
}
