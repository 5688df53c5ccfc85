//! Brokers that fail, are slow or do not answer: requests are answered in time, and then refused without a send until
//! the broker is back.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sluicegate_aws_client::{ATTEMPTS_MAX, AwsEnvironment};
use sluicegate_contract::Contract;
use sluicegate_idempotency::MemoryStore;
use sluicegate_ingress::{AnyStore, Ingress, SecretSource};
use sluicegate_queue::sqs::SqsProducer;
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use tokio::time::{Instant, advance};

use super::{ORDER, ORDER_HEADERS, Store, answer, brokers, http_api, secret_text, shipped_with};
use crate::support::outage::Outage;
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::Vhost;
use crate::support::service::{Service, emulator, emulator_with};

/// The time of a request: a request may take 10 s, less the time for the answer.
const TIME: Duration = Duration::from_millis(9_700);
/// The longest that a breaker is open at first, and the longest at all.
const OPEN_INITIAL: Duration = Duration::from_secs(2);
const OPEN_MAX: Duration = Duration::from_secs(30);
/// The code of a request that is refused without a send.
const NOT_TRIED: &str = "broker_unavailable";

/// What a broker does with a message.
#[derive(Clone, Copy)]
enum Health {
    Well,
    /// It stores the message after this share of the time that the send has.
    Slow(f64),
    /// It never answers.
    Silent,
    Refusing,
    TooLarge,
}

/// A broker in memory whose health changes.
#[derive(Clone)]
struct Broker {
    health: Arc<Mutex<Health>>,
    stored: Arc<Mutex<Vec<String>>>,
    calls: Arc<Mutex<usize>>,
}

impl Broker {
    fn new(health: Health) -> Self {
        Self { health: Arc::new(Mutex::new(health)), stored: Arc::default(), calls: Arc::default() }
    }

    fn becomes(&self, health: Health) {
        *self.health.lock().unwrap() = health;
    }

    /// Returns the calls since the last time.
    fn calls(&self) -> usize {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    fn stored(&self) -> Vec<String> {
        self.stored.lock().unwrap().clone()
    }
}

impl Producer for Broker {
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        *self.calls.lock().unwrap() += 1;
        let reason = || "as planned".to_owned();
        let health = *self.health.lock().unwrap();
        match health {
            Health::Well => {}
            Health::Slow(share) => tokio::time::sleep((deadline - Instant::now()).mul_f64(share)).await,
            Health::Silent => {
                tokio::time::sleep_until(deadline).await;
                return Err(SendError::Unknown { reason: reason() });
            }
            Health::Refusing => return Err(SendError::NotSent { reason: reason() }),
            Health::TooLarge => return Err(SendError::TooLarge { bytes: 2, bytes_max: 1 }),
        }
        let id = message.envelope.id().to_owned();
        self.stored.lock().unwrap().push(id.clone());
        Ok(Receipt { id, broker_id: "b".to_owned() })
    }
}

fn ingress<P: Producer + Clone>(contract: &'static Contract, producer: &P) -> Ingress<P, Store> {
    let producers = contract.queues().into_iter().map(|queue| (queue.to_owned(), producer.clone())).collect();
    Ingress::new(contract, producers, Store::with(&secret_text()))
}

/// The facts of an answer.
#[derive(Debug)]
struct Answered {
    status: u64,
    /// Empty for a 202.
    code: String,
    id: Option<String>,
    retry_after_s: Option<u64>,
    /// By the clock of the runtime.
    took: Duration,
}

async fn place<P: Producer, S: SecretSource>(ingress: &Ingress<P, S>, key: &str) -> Answered {
    let headers = ORDER_HEADERS.map(|(name, value)| (name, if name == "idempotency-key" { key } else { value }));
    let started = Instant::now();
    let answer = answer(ingress, &http_api("POST", "/orders", &headers, ORDER)).await;
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    Answered {
        status: answer["statusCode"].as_u64().unwrap(),
        code: body["code"].as_str().unwrap_or_default().to_owned(),
        id: body["id"].as_str().map(str::to_owned),
        retry_after_s: answer["headers"]["retry-after"].as_str().map(|seconds| seconds.parse().unwrap()),
        took: started.elapsed(),
    }
}

/// Places an order that must be refused without a send.
async fn refused<P: Producer>(ingress: &Ingress<P, Store>, retry_after_s: std::ops::RangeInclusive<u64>) {
    let answered = place(ingress, "k").await;
    assert_eq!((answered.status, answered.code.as_str()), (503, NOT_TRIED), "{answered:?}");
    assert!(answered.id.is_none() && answered.took.is_zero(), "{answered:?}");
    assert!(answered.retry_after_s.is_some_and(|seconds| retry_after_s.contains(&seconds)), "{answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_never_answers_is_left_alone_after_three_requests_and_probed_by_one_at_a_time() {
    let broker = Broker::new(Health::Silent);
    let ingress = ingress(crate::support::contract(), &broker);
    for number in 0..3 {
        let answered = place(&ingress, &format!("k-{number}")).await;
        assert_eq!((answered.status, answered.code.as_str()), (503, "queue_unavailable"), "{answered:?}");
        assert_eq!((answered.id.is_some(), answered.retry_after_s), (true, Some(2)), "it may be stored: {answered:?}");
        assert!(answered.took <= TIME, "no time is left for the answer: {answered:?}");
    }
    assert_eq!(broker.calls(), 3);
    refused(&ingress, 1..=2).await;
    assert_eq!(broker.calls(), 0, "nothing was sent");

    // Of five requests at a time, one is sent. It fails as well, and the broker is left alone for longer.
    advance(OPEN_INITIAL).await;
    let answered = join_all((0..5).map(|_| place(&ingress, "k"))).await;
    let probes: Vec<_> = answered.iter().filter(|answered| answered.code == "queue_unavailable").collect();
    assert_eq!((probes.len(), broker.calls()), (1, 1), "{answered:?}");
    let others = answered.iter().filter(|answered| answered.code == NOT_TRIED);
    assert!(others.clone().count() == 4 && others.clone().all(|other| other.retry_after_s == Some(1)), "{answered:?}");
    refused(&ingress, 2..=4).await;

    // A probe that is dropped makes way for the next, which succeeds.
    advance(2 * OPEN_INITIAL).await;
    let dropped = tokio::time::timeout(Duration::from_secs(1), place(&ingress, "k")).await;
    assert!(dropped.is_err() && broker.calls() == 1);
    broker.becomes(Health::Well);
    for number in 0..9 {
        let answered = place(&ingress, &format!("again-{number}")).await;
        assert_eq!((answered.status, broker.stored().last()), (202, answered.id.as_ref()), "{answered:?}");
    }
    assert_eq!(broker.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_late_stores_three_messages_before_requests_are_turned_away() {
    let broker = Broker::new(Health::Slow(0.8));
    let ingress = ingress(crate::support::contract(), &broker);
    let mut accepted = Vec::new();
    for number in 0..3 {
        let answered = place(&ingress, &format!("k-{number}")).await;
        assert_eq!(answered.status, 202, "{answered:?}");
        assert!(answered.took <= TIME, "{answered:?}");
        accepted.extend(answered.id);
    }
    refused(&ingress, 1..=2).await;
    // A probe that is late is accepted, and the broker is still left alone.
    advance(OPEN_INITIAL).await;
    let late = place(&ingress, "late").await;
    assert_eq!(late.status, 202, "{late:?}");
    refused(&ingress, 2..=4).await;
    advance(2 * OPEN_INITIAL).await;
    broker.becomes(Health::Slow(0.1));
    let early = place(&ingress, "early").await;
    let next = place(&ingress, "next").await;
    assert_eq!((early.status, next.status), (202, 202), "{early:?} {next:?}");
    accepted.extend([late.id, early.id, next.id].into_iter().flatten());
    assert_eq!(broker.stored(), accepted, "every 202 is stored, and nothing else");
}

#[tokio::test(start_paused = true)]
async fn messages_that_the_queue_refuses_do_not_open_a_breaker() {
    let broker = Broker::new(Health::TooLarge);
    let ingress = ingress(crate::support::contract(), &broker);
    for _ in 0..9 {
        let answered = place(&ingress, "k").await;
        assert_eq!((answered.status, answered.code.as_str()), (413, "payload_too_large"), "{answered:?}");
    }
    assert_eq!(broker.calls(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_refused_without_a_send_takes_no_lease_of_its_key() {
    let key = "key: '{header.idempotency-key}'\n          required: true";
    let contract = shipped_with(&[(key, &format!("{key}\n          store: dynamodb"))]);
    let broker = Broker::new(Health::Refusing);
    let table = AnyStore::Memory(MemoryStore::default());
    let ingress = ingress(contract, &broker).with_store(Some(table));
    for number in 0..3 {
        assert_eq!(place(&ingress, &format!("k-{number}")).await.code, "queue_unavailable");
    }
    refused(&ingress, 1..=2).await;
    refused(&ingress, 1..=2).await;
    broker.becomes(Health::Well);
    advance(OPEN_INITIAL).await;
    let answered = place(&ingress, "k").await;
    assert_eq!(answered.status, 202, "with the key of the refused ones: {answered:?}");
}

#[tokio::test(start_paused = true)]
async fn a_message_with_copies_is_sent_to_no_queue_while_one_of_them_does_not_answer() {
    let copied = "        queue: orders\n        copyTo: [audit]\n";
    let contract = shipped_with(&[("        queue: orders\n", copied)]);
    let brokers = BTreeMap::from_iter(contract.queues().into_iter().map(|queue| {
        let health = if queue == "audit" { Health::Refusing } else { Health::Well };
        (queue.to_owned(), Broker::new(health))
    }));
    let ingress = Ingress::new(contract, brokers.clone(), Store::with(&secret_text()));
    for number in 0..3 {
        let answered = place(&ingress, &format!("k-{number}")).await;
        assert_eq!((answered.status, answered.code.as_str()), (503, "queue_unavailable"), "{answered:?}");
    }
    assert_eq!(["orders", "audit"].map(|queue| brokers[queue].calls()), [3, 3]);
    refused(&ingress, 1..=2).await;
    assert_eq!(["orders", "audit"].map(|queue| brokers[queue].calls()), [0, 0]);
    advance(OPEN_INITIAL).await;
    brokers["audit"].becomes(Health::Well);
    assert_eq!(place(&ingress, "k").await.status, 202);
    assert_eq!(["orders", "audit"].map(|queue| brokers[queue].calls()), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_refused_item_by_item_without_a_send() {
    let document = json!({
        "openapi": "3.1.1",
        "info": { "title": "t", "version": "1" },
        "paths": { "/take": { "post": {
            "operationId": "take",
            "security": [],
            "requestBody": { "required": true, "content": { "application/json": { "schema": {
                "type": "array", "maxItems": 9, "items": { "type": "integer" },
            } } } },
            "x-sluicegate": { "queue": "q", "type": "t", "batch": true },
        } } },
    });
    let contract = Box::leak(Box::new(Contract::parse("openapi.yaml", &document.to_string()).unwrap()));
    let broker = Broker::new(Health::Refusing);
    let ingress = ingress(contract, &broker);
    let post = async |body: &str| {
        let answer = answer(&ingress, &http_api("POST", "/take", &[("content-type", "application/json")], body)).await;
        let said: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
        let codes: Vec<_> = said["items"].as_array().unwrap().iter().map(|item| item["code"].clone()).collect();
        (answer["statusCode"].as_u64().unwrap(), codes, answer["headers"]["retry-after"].is_string())
    };
    for _ in 0..3 {
        assert_eq!(post("[1, 2]").await, (503, vec![json!("queue_unavailable"); 2], true));
    }
    assert_eq!(broker.calls(), 6);
    let codes = vec![json!(NOT_TRIED), json!("schema_violated"), json!(NOT_TRIED)];
    assert_eq!(post("[1, \"2\", 3]").await, (503, codes, true));
    assert_eq!(post("[\"1\"]").await, (422, vec![json!("schema_violated")], false));
    assert_eq!(broker.calls(), 0);
    advance(OPEN_INITIAL).await;
    broker.becomes(Health::Well);
    assert_eq!(post("[1]").await, (202, vec![Value::Null], false));
}

fn sqs_producer(endpoint: &str, queue_url: &str) -> SqsProducer {
    let environment = AwsEnvironment::read(|name| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    });
    SqsProducer::new(&environment.unwrap(), queue_url)
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_accepts_connections_and_never_answers_is_a_503_in_time() {
    let silent = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let ingress = ingress(crate::support::contract(), &sqs_producer(&endpoint, &format!("{endpoint}/0/orders")));
    let answered = place(&ingress, "k").await;
    assert_eq!((answered.status, answered.code.as_str()), (503, "queue_unavailable"), "{answered:?}");
    assert_eq!(answered.retry_after_s, Some(2), "{answered:?}");
    assert!(answered.took > Duration::from_secs(7) && answered.took <= TIME, "three attempts: {answered:?}");
}

#[tokio::test]
async fn a_stopped_broker_sees_only_probes_and_requests_pass_again_after_its_start() {
    let upstream = emulator().await;
    let sqs = Service::at(&upstream);
    let (queue_url, server) = (sqs.queue(&[]).await, Outage::start(&upstream).await);
    let ingress = ingress(crate::support::contract(), &sqs_producer(server.url(), &queue_url));
    let mut accepted = vec![place(&ingress, "before").await.id.unwrap()];

    server.stop();
    let stopped_at = Instant::now();
    let mut answers = Vec::new();
    // Long enough for two probes.
    while stopped_at.elapsed() < Duration::from_secs(5) {
        let answered = place(&ingress, &format!("during-{}", answers.len())).await;
        assert_eq!(answered.status, 503, "{answered:?}");
        assert!(answered.retry_after_s.is_some_and(|seconds| (1..=30).contains(&seconds)), "{answered:?}");
        answers.push(answered);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let tried = answers.iter().filter(|answered| answered.code == "queue_unavailable").count();
    let turned_away = answers.iter().filter(|answered| answered.code == NOT_TRIED).count();
    println!("{tried} requests were sent, {turned_away} turned away");
    // The first open time is 1 s at least, the next 2 s.
    assert!((4..=5).contains(&tried) && turned_away > 100 && tried + turned_away == answers.len(), "{answers:?}");
    let refused = server.refused();
    assert!(refused <= tried * ATTEMPTS_MAX as usize, "{refused} connections of {tried} requests");

    server.start_again();
    let started_at = Instant::now();
    let last = loop {
        assert!(started_at.elapsed() < OPEN_MAX, "no request was accepted");
        let answered = place(&ingress, "after").await;
        if answered.status == 202 {
            break answered.id.unwrap();
        }
        assert_eq!(answered.code, NOT_TRIED, "{answered:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    accepted.push(last);
    for number in 0..5 {
        accepted.push(place(&ingress, &format!("after-{number}")).await.id.unwrap());
    }
    let messages = sqs.receive_count(&queue_url, accepted.len()).await;
    let stored: Vec<Value> =
        messages.iter().map(|message| serde_json::from_str(message.body().unwrap()).unwrap()).collect();
    for id in &accepted {
        assert!(stored.iter().any(|event| event["id"] == id.as_str()), "{id} was answered 202 and is lost");
    }
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_rabbitmq_that_falls_silent_is_left_alone_and_used_again_once_it_answers() {
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let proxy = Proxy::start(vhost.port()).await;
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
    let url = vhost.url_at(proxy.port());
    let bindings =
        [("RABBITMQ_URL", url.as_str()), ("QUEUE_ORDERS", "rabbitmq:/orders"), ("QUEUE_WEBHOOKS", "rabbitmq:/orders")];
    let ingress = brokers::ingress(crate::support::contract(), &endpoint, &bindings).await;
    let mut accepted = vec![place(&ingress, "before").await.id.unwrap()];
    proxy.silence();
    for number in 0..3 {
        let answered = place(&ingress, &format!("during-{number}")).await;
        assert_eq!((answered.status, answered.code.as_str()), (503, "queue_unavailable"), "{answered:?}");
        assert!(answered.took <= TIME, "{answered:?}");
    }
    let connections = proxy.connections();
    for _ in 0..9 {
        assert_eq!(place(&ingress, "turned-away").await.code, NOT_TRIED);
    }
    assert_eq!(proxy.connections(), connections);
    proxy.resume();
    let resumed_at = Instant::now();
    loop {
        assert!(resumed_at.elapsed() < OPEN_MAX, "no request was accepted");
        let answered = place(&ingress, "after").await;
        if answered.status == 202 {
            break accepted.extend(answered.id);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let stored = vhost.until_drained("orders", accepted.len()).await;
    for id in &accepted {
        assert!(
            stored.iter().any(|message| message.message_id.as_ref() == Some(id)),
            "{id} was answered 202 and is lost"
        );
    }
    vhost.delete().await;
}
