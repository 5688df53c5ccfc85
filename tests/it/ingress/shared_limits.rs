//! Rate limits that all environments count together, in memory and in DynamoDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use sluicegate_idempotency::MemoryStore;
use sluicegate_ingress::{AnyStore, Ingress};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::limits::{contract, order};
use super::store::dynamodb;
use super::{Broker, Store, answer, ingress_of, secret_text};
use crate::support::service::emulator;

/// Returns an environment of the function with these limits.
fn environment(limits: &str, broker: &Broker, store: AnyStore) -> Ingress<Broker, Store> {
    ingress_of(contract(limits), broker, &Store::with(&secret_text())).with_store(Some(store))
}

/// Returns the status, and the code and the violated policies of a refusal.
fn facts(answer: &Value) -> (u64, String, Value) {
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    (answer["statusCode"].as_u64().unwrap(), code, body["violated-policies"].clone())
}

#[tokio::test]
async fn two_environments_admit_together_exactly_the_limit() {
    let limits = "{ limit: 20, window: 24h, by: principal, store: dynamodb }";
    let endpoint = emulator().await;
    let memory = MemoryStore::default();
    let in_memory = || AnyStore::Memory(memory.clone());
    let (first, second) = (dynamodb(&endpoint, true).await, dynamodb(&endpoint, false).await);
    for stores in [[in_memory(), in_memory()], [first, second]] {
        let broker = Broker::default();
        let environments = stores.map(|store| Arc::new(environment(limits, &broker, store)));
        let mut answers = Vec::new();
        // More at a time may wait for a busy machine longer than the second that a request waits for the store.
        for _ in 0..4 {
            let mut requests = JoinSet::new();
            for number in 0..8 {
                let ingress = Arc::clone(&environments[number % 2]);
                requests.spawn(async move { answer(&ingress, &order("writer", None)).await });
            }
            answers.extend(requests.join_all().await);
        }
        let admitted = answers.iter().filter(|answer| answer["statusCode"] == 202).count();
        assert_eq!((admitted, broker.len()), (20, 20), "{answers:?}");
        // One request in 24 h / 20 = 4,320 s.
        for refused in answers.iter().filter(|answer| answer["statusCode"] != 202) {
            assert_eq!(facts(refused), (429, "rate_limited".to_owned(), json!(["principal"])), "{refused}");
            let wait_s: u64 = refused["headers"]["retry-after"].as_str().unwrap().parse().unwrap();
            assert!((4_300..=4_320).contains(&wait_s), "{refused}");
        }
        // Whatever the order, each admitted request left another number.
        let left =
            |answer: &Value| answer["headers"]["ratelimit"].as_str().unwrap().split(';').nth(1).unwrap().to_owned();
        let mut found: Vec<_> = answers.iter().filter(|answer| answer["statusCode"] == 202).map(left).collect();
        found.sort_unstable();
        let mut expected: Vec<_> = (0..20).map(|left| format!("r={left}")).collect();
        expected.sort_unstable();
        assert_eq!(found, expected);
        // Another caller has an allowance of its own.
        assert_eq!(answer(&environments[0], &order("old", None)).await["statusCode"], 202);
    }
}

#[tokio::test]
async fn a_table_that_is_away_refuses_or_counts_here_as_the_limit_says() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Without a table, and without a service.
    for endpoint in [emulator().await, format!("http://{closed}")] {
        for settings in ["", ", onStoreFailure: closed"] {
            let broker = Broker::default();
            let limits = format!("{{ limit: 2, window: 1h, by: route, store: dynamodb{settings} }}");
            let ingress = environment(&limits, &broker, dynamodb(&endpoint, false).await);
            for _ in 0..3 {
                let refused = answer(&ingress, &order("writer", None)).await;
                assert_eq!(facts(&refused), (503, "store_unavailable".to_owned(), Value::Null), "{refused}");
                assert_eq!(refused["headers"]["retry-after"], "5", "{refused}");
                let policy = &refused["headers"]["ratelimit-policy"];
                assert_eq!((policy, &refused["headers"]["ratelimit"]), (&r#""route";q=2;w=3600"#.into(), &Value::Null));
            }
            assert_eq!(broker.len(), 0, "{settings}");
        }
        let broker = Broker::default();
        let limits = "{ limit: 2, window: 1h, by: route, store: dynamodb, onStoreFailure: open }";
        let ingress = environment(limits, &broker, dynamodb(&endpoint, false).await);
        let mut statuses = Vec::new();
        for _ in 0..3 {
            statuses.push(facts(&answer(&ingress, &order("writer", None)).await).0);
        }
        assert_eq!((statuses, broker.len()), (vec![202, 202, 429], 2));
    }
}

#[tokio::test]
async fn a_request_that_the_table_refuses_counts_for_no_other_limit() {
    let limits = "[{ limit: 2, window: 1h, by: principal }, { limit: 1, window: 1h, by: route, store: dynamodb }]";
    let (broker, store) = (Broker::default(), MemoryStore::default());
    let ingress = environment(limits, &broker, AnyStore::Memory(store.clone()));
    assert_eq!(facts(&answer(&ingress, &order("writer", None)).await).0, 202);
    for _ in 0..4 {
        let refused = answer(&ingress, &order("writer", None)).await;
        assert_eq!(facts(&refused), (429, "rate_limited".to_owned(), json!(["route"])), "{refused}");
    }
    // A request that its own environment refuses is not counted in the table.
    let limits = "[{ limit: 2, window: 1h, by: address, store: dynamodb }, { limit: 1, window: 1h, by: principal }]";
    let environments = [(); 2].map(|()| environment(limits, &broker, AnyStore::Memory(store.clone())));
    let mut found = Vec::new();
    for (ingress, key) in [(0, "writer"), (0, "writer"), (0, "writer"), (1, "writer"), (1, "old")] {
        let answer = answer(&environments[ingress], &order(key, Some("192.0.2.1"))).await;
        found.push((facts(&answer).0, facts(&answer).2[0].clone()));
    }
    let refused = |by: &str| (429, Value::from(by));
    let admitted = (202, Value::Null);
    assert_eq!(found, [admitted.clone(), refused("principal"), refused("principal"), admitted, refused("address")]);
}

/// Returns a service in front of DynamoDB that calls `before` for each request, and forwards it then.
async fn in_front_of<Before>(endpoint: String, before: impl Fn() -> Before + Clone + Send + Sync + 'static) -> String
where
    Before: Future<Output = ()> + Send,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let http = reqwest::Client::new();
    let service = axum::Router::new().fallback(async move |headers: http::HeaderMap, body: axum::body::Bytes| {
        before().await;
        let answer = http.post(endpoint).headers(headers).body(body).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    });
    tokio::spawn(async { axum::serve(listener, service).await });
    url
}

#[tokio::test]
async fn an_admitted_request_is_one_write_and_one_over_the_limit_none() {
    let endpoint = emulator().await;
    let table = dynamodb(&endpoint, true).await;
    let writes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&writes);
    let count = move || {
        counter.fetch_add(1, Ordering::Relaxed);
        std::future::ready(())
    };
    let url = in_front_of(endpoint, count).await;
    let (broker, limits) = (Broker::default(), "{ limit: 4, window: 24h, by: route, store: dynamodb }");
    let (ingress, other) =
        (environment(limits, &broker, dynamodb(&url, false).await), environment(limits, &broker, table));
    let mut found = Vec::new();
    let mut send = async |ingress| {
        let before = writes.load(Ordering::Relaxed);
        let status = facts(&answer(ingress, &order("writer", None)).await).0;
        found.push((status, writes.load(Ordering::Relaxed) - before));
    };
    send(&ingress).await;
    send(&ingress).await;
    // Two of another environment, whose writes do not pass the counter.
    send(&other).await;
    send(&other).await;
    // The first refusal is from the table, and the others are from what it returned.
    for _ in 0..3 {
        send(&ingress).await;
    }
    assert_eq!(found, [(202, 1), (202, 1), (202, 0), (202, 0), (429, 1), (429, 0), (429, 0)]);
}

/// Sends two requests with a limit in a day. Returns the answers to the second, and to the first, which the second has
/// overtaken on the way to the table.
async fn overtaken(limit: u32) -> [Value; 2] {
    let endpoint = emulator().await;
    let table = dynamodb(&endpoint, true).await;
    let (arrived, (overtaken, go_on)) = (Arc::new(Notify::new()), watch::channel(false));
    let at_the_table = Arc::clone(&arrived);
    let hold = move || {
        at_the_table.notify_one();
        let mut go_on = go_on.clone();
        async move { drop(go_on.wait_for(|overtaken| *overtaken).await) }
    };
    let url = in_front_of(endpoint, hold).await;
    let limits = format!("{{ limit: {limit}, window: 24h, by: principal, store: dynamodb }}");
    let broker = Broker::default();
    let held = Arc::new(environment(&limits, &broker, dynamodb(&url, false).await));
    let other = environment(&limits, &broker, table);
    let first = tokio::spawn(async move { answer(&held, &order("writer", None)).await });
    arrived.notified().await;
    let second = answer(&other, &order("writer", None)).await;
    overtaken.send_replace(true);
    [second, first.await.unwrap()]
}

#[tokio::test]
async fn a_request_that_another_overtakes_is_answered_with_what_is_left() {
    for (limit, expected, wait_max_s) in [(4, ["r=3", "r=2"], 21_600), (1, ["r=0", "r=0"], 86_400)] {
        let mut answers = overtaken(limit).await;
        // On a busy machine, the first may wait for the table longer than the limit of a second.
        for _ in 0..9 {
            if answers[1]["statusCode"] == 503 {
                answers = overtaken(limit).await;
            }
        }
        for (answer, expected) in answers.iter().zip(expected) {
            let fields: Vec<_> = answer["headers"]["ratelimit"].as_str().unwrap().split(';').collect();
            let wait_s: u32 = fields[2].strip_prefix("t=").unwrap().parse().unwrap();
            assert_eq!(fields[1], expected, "{answer}");
            assert!((wait_max_s - 20..=wait_max_s).contains(&wait_s), "{answer}");
        }
    }
}
