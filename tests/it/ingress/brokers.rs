//! One contract on both brokers: answers and stored messages do not depend on the broker of a queue. And what RabbitMQ
//! alone can show: batches whose connection breaks, and copies of which a queue is missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::{AnyProducer, Ingress, SecretsManager, from_env};

use super::bodies::taking_contract;
use super::{ORDER, ORDER_HEADERS, answer, http_api, lambda, secret_text, shipped_with};
use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::{Message, PATIENCE, Vhost, until};
use crate::support::service::{Service, emulator_with};
use crate::support::webhook;

const PING: &str = r#"{"zen": "Keep it logically awesome.", "hook_id": 1}"#;

/// Returns a signed GitHub ping.
fn ping() -> Value {
    let signature = webhook::github_signature("first-secret", PING.as_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "ping"),
        ("x-github-delivery", "d-1"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    http_api("POST", "/webhooks/github", &headers, PING)
}

/// Returns the ingress, configured only by its environment.
pub(super) async fn ingress(
    contract: &'static Contract,
    endpoint: &str,
    bindings: &[(&str, &str)],
) -> Ingress<AnyProducer, SecretsManager> {
    let environment = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("SECRET_ARN", "ingress"),
    ];
    let lookup = |wanted: &str| {
        let found = environment.iter().chain(bindings).find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    from_env(contract, lookup).await.unwrap_or_else(|reasons| panic!("{reasons:?}"))
}

/// Returns the stored event without its time.
fn stored(body: &str) -> Value {
    let mut event: Value = serde_json::from_str(body).unwrap();
    assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
    event["time"].take();
    event
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn one_contract_goes_to_either_broker_by_configuration_alone() {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
    let sqs = Service::at(&endpoint);
    let (orders, webhooks) = (sqs.queue(&[]).await, sqs.queue(&[]).await);
    let contract = crate::support::contract();
    let on_sqs = ingress(contract, &endpoint, &[("QUEUE_ORDERS", &orders), ("QUEUE_WEBHOOKS", &webhooks)]).await;

    let vhost = Vhost::create().await;
    vhost.declare_exchange("events", "topic").await;
    for (queue, pattern) in [("orders", "order.#"), ("webhooks", "github.#")] {
        vhost.declare_queue(queue).await;
        vhost.bind("events", queue, pattern).await;
    }
    let url = vhost.url();
    let on_rabbitmq = ingress(
        contract,
        &endpoint,
        &[
            ("RABBITMQ_URL", &url),
            ("QUEUE_ORDERS", "rabbitmq:events/{type}"),
            ("QUEUE_WEBHOOKS", "rabbitmq:events/{type}"),
        ],
    )
    .await;
    assert_eq!(on_rabbitmq_connections(&vhost).await, 1, "connected at the start");

    for (queue_url, queue, event, status) in [
        (&orders, "orders", http_api("POST", "/orders", &ORDER_HEADERS, ORDER), 202),
        (&webhooks, "webhooks", ping(), 202),
        (&orders, "orders", http_api("POST", "/orders", &ORDER_HEADERS, "{}"), 422),
    ] {
        let mut answers = [answer(&on_sqs, &event).await, answer(&on_rabbitmq, &event).await];
        assert_eq!(answers[0]["statusCode"], status, "{}", answers[0]);
        assert_eq!(answers[0], answers[1]);
        if status != 202 {
            continue;
        }
        let one = sqs.receive_one(queue_url).await;
        let other = vhost.until_drained(queue, 1).await.remove(0);
        assert_eq!(stored(one.body().unwrap()), stored(other.text()));
        let accepted: Value = serde_json::from_str(answers[0]["body"].take().as_str().unwrap()).unwrap();
        assert_eq!(accepted["id"].as_str(), other.message_id.as_deref());
    }

    // Only RabbitMQ reports an unroutable message.
    vhost.delete_queue("orders").await;
    let lost = answer(&on_rabbitmq, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
    assert_eq!((lost["statusCode"].as_u64(), lost["headers"]["retry-after"].as_str()), (Some(503), Some("30")));
    assert!(lost["body"].as_str().unwrap().contains(r#""code":"unroutable""#), "{lost}");
    vhost.delete().await;
}

async fn on_rabbitmq_connections(vhost: &Vhost) -> usize {
    until("the broker lists the connection", PATIENCE, async || {
        Some(vhost.connections("sluicegate").await.len()).filter(|count| *count > 0)
    })
    .await
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_copy_without_its_queue_is_a_503_that_says_where_the_message_is() {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
    let vhost = Vhost::create().await;
    for queue in ["orders", "audit"] {
        vhost.declare_queue(queue).await;
    }
    let contract =
        shipped_with(&[("        queue: orders\n", "        queue: orders\n        copyTo: [audit, search]\n")]);
    let url = vhost.url();
    let bindings = ["ORDERS", "AUDIT", "SEARCH", "WEBHOOKS"]
        .map(|name| (format!("QUEUE_{name}"), format!("rabbitmq:/{}", name.to_lowercase())));
    let bindings = bindings.iter().map(|(name, value)| (&**name, &**value)).chain([("RABBITMQ_URL", &*url)]);
    let ingress = ingress(contract, &endpoint, &bindings.collect::<Vec<_>>()).await;
    let place = async || {
        let answer = answer(&ingress, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
        let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        (answer["statusCode"].as_u64().unwrap(), answer["headers"]["retry-after"].is_string(), body)
    };
    let ids = async |queue: &str| {
        let messages = vhost.drain(queue).await;
        messages.into_iter().map(|message| message.message_id.unwrap()).collect::<Vec<_>>()
    };

    let (status, has_retry_after, problem) = place().await;
    assert_eq!((status, has_retry_after, &problem["code"]), (503, true, &json!("queue_unavailable")), "{problem}");
    let stored = [("orders", "yes"), ("audit", "yes"), ("search", "no")];
    let stored = stored.map(|(queue, stored)| json!({ "queue": queue, "stored": stored }));
    assert_eq!(problem["destinations"], json!(stored));
    let id = problem["id"].as_str().unwrap().to_owned();
    assert_eq!((ids("orders").await, ids("audit").await), (vec![id.clone()], vec![id.clone()]));

    vhost.declare_queue("search").await;
    let (status, _, accepted) = place().await;
    assert_eq!((status, accepted["id"].as_str()), (202, Some(&*id)), "{accepted}");
    for queue in ["orders", "audit", "search"] {
        assert_eq!(ids(queue).await, [&*id], "{queue}");
    }
    vhost.delete().await;
}

/// The requests and the items of each: 1,000 messages.
const BATCHES: usize = 10;
const BATCH_ITEMS: usize = 100;

/// How long a function has for a batch that the broker does not confirm.
const FUNCTION_TIME: Duration = Duration::from_secs(6);

/// A part of the bytes of the items.
const PART_BYTES: usize = 200_000;

/// A route for batches, on a broker behind a proxy. Each `n` with [`is_lost`] has a routing key without a queue.
struct Batches {
    vhost: Vhost,
    proxy: Proxy,
    ingress: Ingress<AnyProducer, SecretsManager>,
}

fn is_lost(n: usize) -> bool {
    n % 7 == 3
}

impl Batches {
    async fn start() -> Self {
        let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
        let vhost = Vhost::create().await;
        vhost.declare_exchange("items", "topic").await;
        vhost.declare_queue("items").await;
        vhost.bind("items", "items", "kept").await;
        let proxy = Proxy::start(vhost.port()).await;
        let contract = taking_contract(&json!({
            "requestBody": { "content": { "application/json": { "schema": { "type": "array", "items": {} } } } },
            "x-sluicegate": { "batch": true, "group": "{body#/group}" },
        }));
        let url = vhost.url_at(proxy.port());
        let bindings = [("RABBITMQ_URL", url.as_str()), ("QUEUE_Q", "rabbitmq:items/{group}")];
        let ingress = ingress(contract, &endpoint, &bindings).await;
        Self { vhost, proxy, ingress }
    }

    /// Posts batches concurrently. Returns the result of each item with its number.
    async fn post(&self, batches: std::ops::Range<usize>) -> Vec<(usize, Value)> {
        let post = async |batch: usize| {
            let numbers = batch * BATCH_ITEMS..(batch + 1) * BATCH_ITEMS;
            let item = |n| json!({ "n": n, "group": if is_lost(n) { "lost" } else { "kept" } });
            let items: Value = numbers.clone().map(item).collect();
            let headers = [("content-type", "application/json")];
            let mut event = lambda(&http_api("POST", "/take/a", &headers, &items.to_string())).unwrap();
            let deadline = (SystemTime::now() + FUNCTION_TIME).duration_since(SystemTime::UNIX_EPOCH).unwrap();
            event.context.deadline = deadline.as_millis().try_into().unwrap();
            let answer = serde_json::to_value(self.ingress.handle(event).await).unwrap();
            let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
            let results = body["items"].as_array().unwrap().clone();
            assert_eq!(results.len(), BATCH_ITEMS, "{body}");
            numbers.zip(results).collect::<Vec<_>>()
        };
        join_all(batches.map(post)).await.concat()
    }

    /// Returns the ids of the messages on the queue by the number of their item.
    async fn stored(&self) -> BTreeMap<usize, Vec<String>> {
        let mut stored = BTreeMap::<usize, Vec<String>>::new();
        let number = |message: &Message| {
            let event: Value = serde_json::from_str(message.text()).unwrap();
            usize::try_from(event["data"]["n"].as_u64().unwrap()).unwrap()
        };
        for message in self.vhost.drain("items").await {
            stored.entry(number(&message)).or_default().push(message.message_id.unwrap());
        }
        stored
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn each_item_of_a_batch_is_answered_as_it_is_stored_though_the_connection_is_cut() {
    for cut in [Cut::BeforeAnswer, Cut::InWrite] {
        let batches = Batches::start().await;
        let posted = tokio::join!(biased; batches.proxy.cut_after(PART_BYTES, cut), batches.post(0..BATCHES));
        assert_eq!(batches.proxy.connections(), 2, "{cut:?}: the connection was opened again");
        let stored = batches.stored().await;
        let mut twice = 0;
        for (n, result) in posted.1 {
            let what = format!("{cut:?} {n}: {result}");
            if is_lost(n) {
                // Where the first attempt was cut, the return of the second does not say what became of the first.
                let is_unknown = result["code"] == "queue_unavailable" && result["id"].is_string();
                assert!(result["status"] == 503 && (is_unknown || result["code"] == "unroutable"), "{what}");
                assert!(!stored.contains_key(&n), "{what}");
            } else {
                assert_eq!(result["status"], 202, "{what}");
                // An item that was not confirmed before the cut is published again, as the same message.
                assert!(stored[&n].iter().all(|id| result["id"] == **id), "{what}: {:?}", stored[&n]);
                twice += usize::from(stored[&n].len() > 1);
            }
        }
        println!("{cut:?}: {twice} items were stored twice");
        assert!(twice < stored.len(), "{cut:?}: the cut is in the middle");
        batches.vhost.delete().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn an_item_that_is_not_confirmed_before_the_deadline_is_not_answered_as_not_stored() {
    let batches = Batches::start().await;
    let confirmed = batches.post(0..BATCHES / 2).await;
    assert!(confirmed.iter().all(|(n, result)| result["status"] == if is_lost(*n) { 503 } else { 202 }));
    // The broker gets the other items, and the answers to them are late enough to be held back.
    batches.proxy.delay(Duration::from_millis(500));
    let (before, _) = batches.proxy.bytes();
    let silence = async {
        let sent = async || (batches.proxy.bytes().0 > before + PART_BYTES).then_some(());
        until("the broker gets items", PATIENCE, sent).await;
        batches.proxy.silence();
    };
    let (unconfirmed, ()) = tokio::join!(batches.post(BATCHES / 2..BATCHES), silence);
    // What the proxy holds back does not arrive later.
    batches.proxy.cut(Cut::Now).await;
    let stored = batches.stored().await;
    for (n, result) in confirmed.iter().chain(&unconfirmed) {
        let what = format!("{n}: {result}");
        match (result["status"].as_u64(), stored.get(n)) {
            // An id of an item that is not known to be stored says that it may be.
            (Some(202 | 503), Some(ids)) => assert_eq!(*ids, [result["id"].as_str().unwrap()], "{what}"),
            (Some(503), None) => {}
            _ => panic!("{what}"),
        }
    }
    let hidden = unconfirmed.iter().filter(|(n, _)| stored.contains_key(n)).count();
    println!("{hidden} items are stored and were not confirmed");
    assert!(unconfirmed.iter().all(|(_, result)| result["status"] == 503) && hidden > 0);
    batches.vhost.delete().await;
}
