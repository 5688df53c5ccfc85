//! The secret cache: calls to the store, refreshes and outages.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use sluicegate_ingress::{FETCH_TIMEOUT, FetchError, Ingress, OUTAGE_GRACE, REFRESH_AFTER, SecretSource};
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use tokio::time::{Instant, advance};

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress, secret_text};

fn order(key: &str) -> Value {
    let headers = ORDER_HEADERS.map(|(name, value)| (name, if name == "x-api-key" { key } else { value }));
    http_api("POST", "/orders", &headers, ORDER)
}

#[tokio::test(start_paused = true)]
async fn the_store_is_called_once_then_on_expiry_and_rarely_for_unknown_keys() {
    let store = Store::with(&secret_text());
    let ingress = ingress(&Broker::default(), &store);
    for _ in 0..3 {
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    }
    assert_eq!(store.calls(), 1, "cached");
    for _ in 0..100 {
        assert_eq!(answer(&ingress, &order("guess")).await["statusCode"], 401);
    }
    assert_eq!(store.calls(), 1, "a flood right after a fetch does not cause another");
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    for _ in 0..100 {
        assert_eq!(answer(&ingress, &order("guess")).await["statusCode"], 401);
    }
    assert_eq!(store.calls(), 2, "a later flood causes one fetch");
    tokio::time::advance(sluicegate_ingress::REFRESH_AFTER).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    assert_eq!(store.calls(), 3, "old values are fetched again before they are used");
}

/// <https://github.com/octokit/webhooks.net/issues/261>
#[tokio::test(start_paused = true)]
async fn a_new_key_works_at_once_and_an_outage_keeps_the_old_ones() {
    let store = Store::with(r#"{"api-keys": [], "github": [], "standard-webhooks": []}"#);
    let ingress = ingress(&Broker::default(), &store);
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 401);
    tokio::time::advance(std::time::Duration::from_secs(31)).await;
    store.set(Ok(&secret_text()));
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    store.set(Err("down"));
    tokio::time::advance(sluicegate_ingress::REFRESH_AFTER).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
}

#[tokio::test]
async fn without_secrets_no_request_passes_and_the_answer_is_a_503() {
    let store = Store::with("");
    let ingress = ingress(&Broker::default(), &store);
    for text in [Err("arn:aws:secretsmanager:eu-west-1:1:secret:x is denied"), Ok("not json"), Ok("[]")] {
        store.set(text);
        let answer = answer(&ingress, &order("writer")).await;
        assert_eq!(answer["statusCode"], 503, "{text:?}");
        assert!(answer["headers"]["retry-after"].is_string());
        assert!(!answer["body"].as_str().unwrap().contains("arn:"), "{answer}");
    }
}

#[tokio::test]
async fn one_invalid_entry_does_not_affect_the_others() {
    let mut secrets: Value = serde_json::from_str(&secret_text()).unwrap();
    secrets["api-keys"][0]["sha256"] = "zz".into();
    secrets["github"][0] = 7.into();
    let ingress = ingress(&Broker::default(), &Store::with(&secrets.to_string()));
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
}

/// A slow store.
#[derive(Clone)]
struct Slow(Store, Duration);

impl SecretSource for Slow {
    async fn fetch(&self) -> Result<String, FetchError> {
        let text = self.0.fetch().await;
        tokio::time::sleep(self.1).await;
        text
    }
}

/// A broker that records the time of the last send.
#[derive(Clone, Default)]
struct Clocked(Broker, Arc<Mutex<Option<Instant>>>);

impl Producer for Clocked {
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        *self.1.lock().unwrap() = Some(Instant::now());
        self.0.send(message, deadline).await
    }
}

fn slow(store: &Store, takes: Duration, broker: &Clocked) -> Ingress<Clocked, Slow> {
    let contract = crate::support::contract();
    let producers: BTreeMap<_, _> =
        contract.queues().into_iter().map(|name| (name.to_owned(), broker.clone())).collect();
    Ingress::new(contract, producers, Slow(store.clone(), takes))
}

/// Returns the secret with another value of one list, or without the list.
fn edited(list: &str, value: Value) -> String {
    let mut secret: Value = serde_json::from_str(&secret_text()).unwrap();
    match value {
        Value::Null => secret.as_object_mut().unwrap().remove(list),
        value => secret.as_object_mut().unwrap().insert(list.to_owned(), value),
    };
    secret.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_refused_by_the_first_request_after_any_idle_time() {
    for idle in [REFRESH_AFTER, Duration::from_secs(330), Duration::from_secs(36_000)] {
        let (store, broker) = (Store::with(&secret_text()), Broker::default());
        let ingress = ingress(&broker, &store);
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
        store.set(Ok(&edited("api-keys", json!([]))));
        advance(idle).await;
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 401, "after {idle:?}");
        assert_eq!((store.calls(), broker.len()), (2, 1), "after {idle:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_refused_even_if_no_request_reaches_the_broker() {
    for (event, status) in [
        (http_api("POST", "/orders", &ORDER_HEADERS, "{}"), 422),
        (http_api("POST", "/orders", &ORDER_HEADERS, "{"), 400),
        (order("reader"), 403),
    ] {
        let store = Store::with(&secret_text());
        let ingress = ingress(&Broker::default(), &store);
        assert_eq!(answer(&ingress, &event).await["statusCode"], status);
        store.set(Ok(&edited("api-keys", json!([]))));
        let mut last = Value::Null;
        for _ in 0..=REFRESH_AFTER.as_secs() / 10 {
            last = answer(&ingress, &event).await;
            advance(Duration::from_secs(10)).await;
        }
        assert_eq!(last["statusCode"], 401, "{status}: {last}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_requests_that_wait_share_one_fetch() {
    let store = Store::with(&secret_text());
    let ingress = slow(&store, Duration::from_secs(1), &Clocked::default());
    for (round, text) in [Ok(secret_text()), Ok(secret_text()), Err("down")].iter().enumerate() {
        store.set(text.as_deref().map_err(|error| *error));
        let started = Instant::now();
        let event = order("writer");
        let answers = futures_util::future::join_all((0..50).map(|_| answer(&ingress, &event))).await;
        assert!(answers.iter().all(|answer| answer["statusCode"] == 202), "round {round}");
        assert_eq!((store.calls(), started.elapsed().as_secs()), (round + 1, 1), "round {round}");
        advance(REFRESH_AFTER).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_does_not_delay_an_accepted_request() {
    let (store, broker) = (Store::with(&secret_text()), Clocked::default());
    let ingress = slow(&store, Duration::from_secs(2), &broker);
    for _ in 0..2 {
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
        let sent_at = broker.1.lock().unwrap().unwrap();
        assert_eq!(sent_at.elapsed(), Duration::ZERO, "time from the confirm to the answer");
        advance(REFRESH_AFTER).await;
    }
    assert_eq!(store.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn while_the_store_hangs_old_secrets_are_used_for_a_time_and_few_requests_wait() {
    let store = Store::with(&secret_text());
    let ingress = ingress(&Broker::default(), &store);
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
    store.set(Err("down"));
    advance(REFRESH_AFTER + OUTAGE_GRACE - Duration::from_secs(1)).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "at the end of the grace");
    assert_eq!(answer(&ingress, &order("guess")).await["statusCode"], 401);
    advance(Duration::from_secs(1)).await;
    let late = answer(&ingress, &order("writer")).await;
    assert_eq!(late["statusCode"], 503, "beyond the grace: {late}");
    assert!(late["headers"]["retry-after"].is_string(), "{late}");
    store.set(Ok(&secret_text()));
    advance(Duration::from_secs(5)).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "the store is back");

    // A store that never answers delays one request, not each.
    let store = Store::with(&secret_text());
    let ingress = slow(&store, Duration::from_secs(3_600), &Clocked::default());
    let started = Instant::now();
    for _ in 0..100 {
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 503);
    }
    assert_eq!((store.calls(), started.elapsed().as_secs()), (1, FETCH_TIMEOUT.as_secs()));
    advance(Duration::from_secs(6)).await;
    answer(&ingress, &order("writer")).await;
    assert_eq!(store.calls(), 2, "the store is called again after a pause");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_old_secrets_are_used_is_configured() {
    for grace_s in [0, 60, 86_400] {
        let (store, grace) = (Store::with(&secret_text()), Duration::from_secs(grace_s));
        let ingress = ingress(&Broker::default(), &store).with_secrets_grace(grace);
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
        store.set(Err("down"));
        if grace_s > 0 {
            advance(REFRESH_AFTER + grace - Duration::from_secs(1)).await;
            assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "{grace_s} s");
            advance(Duration::from_secs(1)).await;
        } else {
            advance(REFRESH_AFTER).await;
        }
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 503, "{grace_s} s");
    }
}

#[tokio::test(start_paused = true)]
async fn without_credentials_the_answer_does_not_wait_for_the_store() {
    let store = Store::with(&secret_text());
    let ingress = slow(&store, Duration::from_secs(3_600), &Clocked::default());
    let started = Instant::now();
    let path = "/webhooks/standard";
    let stale = [
        ("webhook-id", "m-1"),
        ("webhook-timestamp", "1"),
        ("webhook-signature", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ];
    for (event, code) in [
        (http_api("POST", "/orders", &[("content-type", "application/json")], ORDER), "credentials_missing"),
        (http_api("POST", "/webhooks/github", &[], "{}"), "credentials_missing"),
        (http_api("POST", path, &stale[..2], "{}"), "credentials_missing"),
        (http_api("POST", path, &stale, "{}"), "credentials_invalid"),
    ] {
        let answer = answer(&ingress, &event).await;
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        assert_eq!((&answer["statusCode"], &problem["code"]), (&json!(401), &json!(code)), "{answer}");
    }
    assert_eq!((store.calls(), started.elapsed()), (0, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn an_added_scope_is_effective_at_once_and_a_flood_without_it_rarely_calls_the_store() {
    let store = Store::with(&secret_text());
    let ingress = ingress(&Broker::default(), &store);
    assert_eq!(answer(&ingress, &order("reader")).await["statusCode"], 403);
    advance(Duration::from_secs(31)).await;
    for _ in 0..100 {
        assert_eq!(answer(&ingress, &order("reader")).await["statusCode"], 403);
    }
    assert_eq!(store.calls(), 2, "a flood causes one fetch");
    store.set(Ok(&secret_text().replace(r#""scopes":[]"#, r#""scopes":["orders.write"]"#)));
    advance(Duration::from_secs(31)).await;
    assert_eq!(answer(&ingress, &order("reader")).await["statusCode"], 202);
}

#[tokio::test(start_paused = true)]
async fn an_edit_that_loses_a_list_keeps_the_cached_one_for_a_time() {
    let bad_key = json!({ "sha256": "+1".repeat(32), "principal": "acme" });
    for text in [
        edited("api-keys", Value::Null),
        edited("api-keys", json!({})),
        edited("api-keys", json!("x")),
        edited("api-keys", json!([bad_key])),
        "not json".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
    ] {
        let store = Store::with(&secret_text());
        let ingress = ingress(&Broker::default(), &store);
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202);
        store.set(Ok(&text));
        let mut waited = Duration::ZERO;
        while waited + REFRESH_AFTER < REFRESH_AFTER + OUTAGE_GRACE {
            advance(REFRESH_AFTER).await;
            waited += REFRESH_AFTER;
            assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "{text} after {waited:?}");
        }
        advance(REFRESH_AFTER).await;
        assert_eq!(
            answer(&ingress, &order("writer")).await["statusCode"],
            503,
            "{text}: kept no longer than an outage"
        );
        store.set(Ok(&secret_text()));
        advance(Duration::from_secs(31)).await;
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "{text}: fixed");
    }
}

#[tokio::test]
async fn an_unusable_list_is_a_503_and_does_not_affect_other_lists() {
    let entry = |sha256: &str, principal: &str| json!([{ "sha256": sha256, "principal": principal, "scopes": ["*"] }]);
    let writer: Value = serde_json::from_str(&secret_text()).unwrap();
    let writer = writer["api-keys"][1]["sha256"].as_str().unwrap();
    for list in [
        Value::Null,
        json!({}),
        json!([7]),
        entry(&"+1".repeat(32), "acme"),
        entry(writer, ""),
        entry(writer, "a\u{7}"),
        entry(writer, "\u{FDD0}"),
        entry(writer, &"x".repeat(2_049)),
    ] {
        let ingress = ingress(&Broker::default(), &Store::with(&edited("api-keys", list.clone())));
        let orders = answer(&ingress, &order("writer")).await;
        assert_eq!(orders["statusCode"], 503, "{list}: {orders}");
        let code = if list.is_null() { "secrets_missing" } else { "secrets_unavailable" };
        assert!(orders["body"].as_str().unwrap().contains(code), "{list}: {orders}");
        let github = answer(&ingress, &http_api("POST", "/webhooks/github", &GITHUB_FORGED, "{}")).await;
        assert_eq!(github["statusCode"], 401, "{list}: {github}");
    }
    for (list, secrets) in [("github", json!(["a\n"])), ("github", json!([""])), ("github", json!([7]))] {
        let ingress = ingress(&Broker::default(), &Store::with(&edited(list, secrets.clone())));
        let github = answer(&ingress, &http_api("POST", "/webhooks/github", &GITHUB_FORGED, "{}")).await;
        assert_eq!(github["statusCode"], 503, "{secrets}: {github}");
        assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "{secrets}");
    }
    let ingress = ingress(&Broker::default(), &Store::with(&edited("api-keys", json!([]))));
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 401, "an empty list admits no caller");
}

/// The template's secret is `{}` until an operator fills it.
#[tokio::test(start_paused = true)]
async fn an_empty_secret_has_a_separate_code() {
    let store = Store::with("{}");
    let ingress = ingress(&Broker::default(), &store);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().to_string();
    let standard = [
        ("webhook-id", "m-1"),
        ("webhook-timestamp", now.as_str()),
        ("webhook-signature", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
    ];
    let check = async |event: &Value, status: u16, code: &str| {
        let answer = answer(&ingress, event).await;
        assert_eq!(answer["statusCode"], status, "{answer}");
        assert!(answer["body"].as_str().unwrap().contains(code), "{answer}");
        assert_eq!(answer["headers"]["retry-after"].is_string(), status == 503, "{answer}");
        for internal in ["api-keys", "sluicegate", "<SecretArn>"] {
            assert!(!answer["body"].as_str().unwrap().contains(internal), "{answer}");
        }
    };
    let github = http_api("POST", "/webhooks/github", &GITHUB_FORGED, "{}");
    for _ in 0..100 {
        check(&order("writer"), 503, "secrets_missing").await;
        check(&github, 503, "secrets_missing").await;
        check(&http_api("POST", "/webhooks/standard", &standard, "{}"), 503, "secrets_missing").await;
    }
    check(&http_api("POST", "/orders", &[], ORDER), 401, "credentials_missing").await;
    check(&http_api("GET", "/nowhere", &[], ""), 404, "route_unknown").await;
    assert_eq!(store.calls(), 1, "each read logs the missing lists, so a flood of requests does not flood the log");

    store.set(Ok(
        &json!({ "api-keys": serde_json::from_str::<Value>(&secret_text()).unwrap()["api-keys"] }).to_string()
    ));
    advance(Duration::from_secs(31)).await;
    assert_eq!(answer(&ingress, &order("writer")).await["statusCode"], 202, "one list is enough for its routes");
    check(&github, 503, "secrets_missing").await;

    store.set(Err("down"));
    advance(REFRESH_AFTER + OUTAGE_GRACE).await;
    check(&order("writer"), 503, "secrets_unavailable").await;
}

const GITHUB_FORGED: [(&str, &str); 3] = [
    ("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),
    ("x-github-event", "push"),
    ("x-github-delivery", "d-1"),
];
