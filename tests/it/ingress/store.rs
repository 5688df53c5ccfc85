//! Routes whose idempotency keys are in a store: replays, conflicts, requests in progress, failures, crashes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lambda_http::LambdaEvent;
use serde_json::{Value, json};
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_contract::Contract;
use sluicegate_idempotency::{DynamoDbStore, MemoryStore};
use sluicegate_ingress::{AnyStore, Arrival, Ingress, SecretSource};
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Broker, ORDER, ORDER_HEADERS, Store, answer, http_api, ingress_of, lambda, secret_text, shipped_with};
use crate::support::service::emulator;

const KEY: &str = "key: '{header.idempotency-key}'\n          required: true";

/// Returns the shipped contract whose orders have a store with these settings.
fn contract(settings: &str) -> &'static Contract {
    shipped_with(&[(KEY, &format!("{KEY}\n          store: dynamodb{settings}"))])
}

fn memory() -> AnyStore {
    AnyStore::Memory(MemoryStore::default())
}

/// Returns a store at this endpoint, whose table was created if `exists`.
pub(super) async fn dynamodb(endpoint: &str, exists: bool) -> AnyStore {
    let lookup = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(endpoint.to_owned()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    };
    let environment = AwsEnvironment::read(lookup).unwrap();
    if exists {
        create_table(&environment).await;
    }
    AnyStore::DynamoDb(Box::new(DynamoDbStore::new(&environment, "keys")))
}

async fn create_table(environment: &AwsEnvironment) {
    use sluicegate_aws_client::{AwsService, Progress, Service};
    let input = json!({
        "TableName": "keys",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "BillingMode": "PAY_PER_REQUEST",
    });
    let service = AwsService::new(environment, Service::DynamoDb);
    let deadline = Instant::now() + Duration::from_secs(20);
    let (target, progress) = ("DynamoDB_20120810.CreateTable", Progress::default());
    service.call(target, input.to_string(), None, deadline, &progress).await.unwrap();
}

fn order(key: &str, body: &str) -> Value {
    let headers = ORDER_HEADERS.map(|(name, value)| (name, if name == "idempotency-key" { key } else { value }));
    http_api("POST", "/orders", &headers, body)
}

/// Returns status, the id or the code, and the two headers of an answer.
fn facts(answer: &Value) -> (u64, String, Option<&str>, Option<&str>) {
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    let said = body["id"].as_str().or(body["code"].as_str()).unwrap().to_owned();
    let header = |name: &str| answer["headers"][name].as_str();
    (answer["statusCode"].as_u64().unwrap(), said, header("idempotency-replayed"), header("retry-after"))
}

#[tokio::test]
async fn a_repeat_is_replayed_and_another_payload_refused() {
    let endpoint = emulator().await;
    for store in [memory(), dynamodb(&endpoint, true).await] {
        let broker = Broker::default();
        let ingress = ingress_of(contract(""), &broker, &Store::with(&secret_text())).with_store(Some(store));
        let other = ORDER.replace("\"tea\"", "\"coffee\"");
        let first = answer(&ingress, &order("k", ORDER)).await;
        let (status, id, replayed, _) = facts(&first);
        assert_eq!((status, replayed), (202, None), "{first}");
        // Quoted, it is the same key.
        for key in ["k", "\"k\""] {
            let repeat = answer(&ingress, &order(key, ORDER)).await;
            assert_eq!(facts(&repeat), (202, id.clone(), Some("true"), None), "{repeat}");
        }
        let refused = answer(&ingress, &order("k", &other)).await;
        assert_eq!(facts(&refused), (422, "idempotency_key_reused".to_owned(), None, None), "{refused}");
        assert_eq!(broker.len(), 1, "only the first request is a message");
        // Another caller, and another key, are other requests.
        let mut others = order("k", ORDER);
        others["headers"]["x-api-key"] = "new".into();
        for event in [others, order("k-2", &other)] {
            let answer = answer(&ingress, &event).await;
            assert_eq!((facts(&answer).0, facts(&answer).2), (202, None), "{answer}");
            assert_ne!(facts(&answer).1, id);
        }
        assert_eq!(broker.len(), 3);
    }
}

#[tokio::test]
async fn a_request_for_another_queue_is_another_request() {
    let queues = "queue: [{ queue: urgent, when: '{header.x-priority}', is: high }, orders]\n";
    let store = format!("{KEY}\n          store: dynamodb");
    let contract = shipped_with(&[(KEY, &store), ("queue: orders\n", queues)]);
    let broker = Broker::default();
    let ingress = ingress_of(contract, &broker, &Store::with(&secret_text())).with_store(Some(memory()));
    let mut urgent = order("k", ORDER);
    urgent["headers"]["x-priority"] = "high".into();
    let first = answer(&ingress, &urgent).await;
    assert_eq!((facts(&first).0, facts(&first).2), (202, None), "{first}");
    let repeat = answer(&ingress, &urgent).await;
    assert_eq!(facts(&repeat), (202, facts(&first).1, Some("true"), None), "{repeat}");
    let other = answer(&ingress, &order("k", ORDER)).await;
    assert_eq!(facts(&other), (422, "idempotency_key_reused".to_owned(), None, None), "{other}");
    assert_eq!(broker.len(), 1);
}

#[tokio::test]
async fn with_a_key_alone_another_payload_is_a_repeat() {
    let broker = Broker::default();
    let contract = contract("\n          fingerprint: none");
    let ingress = ingress_of(contract, &broker, &Store::with(&secret_text())).with_store(Some(memory()));
    let first = answer(&ingress, &order("k", ORDER)).await;
    let repeat = answer(&ingress, &order("k", &ORDER.replace("\"tea\"", "\"coffee\""))).await;
    assert_eq!(facts(&repeat), (202, facts(&first).1, Some("true"), None), "{repeat}");
    assert_eq!(broker.len(), 1);
}

/// A broker that waits for `go` before it stores.
#[derive(Clone, Default)]
struct SlowBroker {
    stored: Arc<AtomicUsize>,
    is_sending: Arc<Notify>,
    go: Arc<Notify>,
}

impl Producer for SlowBroker {
    async fn send(&self, message: &Message<'_>, _deadline: Instant) -> Result<Receipt, SendError> {
        self.is_sending.notify_one();
        self.go.notified().await;
        self.stored.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt { id: message.envelope.id().to_owned(), broker_id: "b".to_owned() })
    }
}

#[tokio::test]
async fn of_fifty_requests_at_a_time_one_is_a_message() {
    let endpoint = emulator().await;
    for store in [memory(), dynamodb(&endpoint, true).await] {
        let broker = SlowBroker::default();
        let contract = contract("");
        let producers = contract.queues().into_iter().map(|queue| (queue.to_owned(), broker.clone())).collect();
        let ingress = Ingress::new(contract, producers, Store::with(&secret_text())).with_store(Some(store));
        let ingress = Arc::new(ingress);
        let (go, is_sending) = (Arc::clone(&broker.go), Arc::clone(&broker.is_sending));
        let mut requests = tokio::task::JoinSet::new();
        for _ in 0..50 {
            let ingress = Arc::clone(&ingress);
            requests.spawn(async move { answer(&ingress, &order("k", ORDER)).await });
        }
        is_sending.notified().await;
        // The others are answered while the first is still being sent.
        for _ in 0..49 {
            let refused = requests.join_next().await.unwrap().unwrap();
            assert_eq!(facts(&refused), (409, "request_in_progress".to_owned(), None, Some("1")), "{refused}");
        }
        go.notify_one();
        let accepted = requests.join_next().await.unwrap().unwrap();
        assert_eq!(facts(&accepted).0, 202, "{accepted}");
        let repeat = answer(&ingress, &order("k", ORDER)).await;
        assert_eq!(facts(&repeat).2, Some("true"), "{repeat}");
        assert_eq!(broker.stored.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn a_failed_send_is_answered_as_without_a_store_and_can_be_repeated() {
    let other = ORDER.replace("\"tea\"", "\"coffee\"");
    let reason = || "as planned".to_owned();
    let table = MemoryStore::default();
    for (number, (error, others)) in [
        // Nothing is stored, so the key is free for any payload.
        (SendError::NotSent { reason: reason() }, 202),
        (SendError::TooLarge { bytes: 2, bytes_max: 1 }, 202),
        (SendError::Refused { reason: reason(), message_at_fault: true }, 202),
        (SendError::Unroutable { reason: reason() }, 202),
        // The first payload may be stored, so another is refused, and the same is sent again.
        (SendError::Unknown { reason: reason() }, 422),
    ]
    .into_iter()
    .enumerate()
    {
        let (sick, well) = (Broker { sick: Some(error.clone()), ..Broker::default() }, Broker::default());
        let on = |broker: &Broker| {
            let store = AnyStore::Memory(table.clone());
            ingress_of(contract(""), broker, &Store::with(&secret_text())).with_store(Some(store))
        };
        let (first, second) = (format!("k-{number}"), format!("other-{number}"));
        for key in [&first, &second] {
            let failed = answer(&on(&sick), &order(key, ORDER)).await;
            assert!(failed["statusCode"].as_u64().unwrap() >= 400, "{error}: {failed}");
        }
        let again = answer(&on(&well), &order(&first, ORDER)).await;
        assert_eq!((facts(&again).0, facts(&again).2), (202, None), "{error}: {again}");
        let changed = answer(&on(&well), &order(&second, &other)).await;
        assert_eq!(facts(&changed).0, others, "{error}: {changed}");
    }
}

#[tokio::test]
async fn a_request_that_may_be_stored_keeps_its_key_when_its_repeat_is_not() {
    let other = ORDER.replace("\"tea\"", "\"coffee\"");
    let reason = || "as planned".to_owned();
    let endpoint = emulator().await;
    dynamodb(&endpoint, true).await;
    let (contract, table) = (contract(""), MemoryStore::default());
    for is_in_memory in [true, false] {
        let on = async |broker: &Broker| {
            let in_memory = AnyStore::Memory(table.clone());
            let store = if is_in_memory { in_memory } else { dynamodb(&endpoint, false).await };
            ingress_of(contract, broker, &Store::with(&secret_text())).with_store(Some(store))
        };
        for (number, sure) in [
            SendError::NotSent { reason: reason() },
            SendError::TooLarge { bytes: 2, bytes_max: 1 },
            SendError::Refused { reason: reason(), message_at_fault: true },
            SendError::Unroutable { reason: reason() },
        ]
        .into_iter()
        .enumerate()
        {
            let key = format!("k-{number}");
            // The second sure failure follows one that was sure as well.
            for error in [SendError::Unknown { reason: reason() }, sure.clone(), sure] {
                let sick = Broker { sick: Some(error.clone()), ..Broker::default() };
                let failed = answer(&on(&sick).await, &order(&key, ORDER)).await;
                assert!(failed["statusCode"].as_u64().unwrap() >= 400, "{error}: {failed}");
            }
            let well = on(&Broker::default()).await;
            let refused = answer(&well, &order(&key, &other)).await;
            assert_eq!(facts(&refused), (422, "idempotency_key_reused".to_owned(), None, None), "{refused}");
            let accepted = answer(&well, &order(&key, ORDER)).await;
            assert_eq!((facts(&accepted).0, facts(&accepted).2), (202, None), "{accepted}");
        }
    }
}

/// Returns the order of a function that has two seconds left.
fn short_order() -> LambdaEvent<Arrival> {
    let mut event = lambda(&order("k", ORDER)).unwrap();
    event.context = crate::support::context(Duration::from_secs(2));
    event
}

/// Repeats the order until the lease of the first request has ended. Returns the answer.
async fn after_the_lease<P: Producer, S: SecretSource>(ingress: &Ingress<P, S>) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let repeat = answer(ingress, &order("k", ORDER)).await;
        match facts(&repeat).0 {
            409 if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(50)).await,
            _ => return repeat,
        }
    }
}

#[tokio::test]
async fn a_crash_at_any_point_loses_no_payload_and_claims_nothing() {
    // A request that is dropped at its send is a function that was killed there.
    let table = MemoryStore::default();
    let broker = SlowBroker::default();
    let contract = contract("");
    let on = |broker: &SlowBroker| {
        let producers = contract.queues().into_iter().map(|queue| (queue.to_owned(), broker.clone())).collect();
        let store = AnyStore::Memory(table.clone());
        Ingress::new(contract, producers, Store::with(&secret_text())).with_store(Some(store))
    };
    let killed = on(&broker);
    let ended = tokio::select! {
        _ = killed.handle(short_order()) => false,
        () = broker.is_sending.notified() => true,
    };
    assert!(ended, "the request was at its send");
    // Its lease runs until its deadline: neither accepted nor sent a second time.
    let next = on(&broker);
    let waiting = answer(&next, &order("k", ORDER)).await;
    assert_eq!(facts(&waiting).0, 409, "{waiting}");
    // After the deadline the repeat is sent, and only then accepted.
    broker.go.notify_one();
    let accepted = after_the_lease(&next).await;
    assert_eq!((facts(&accepted).0, facts(&accepted).2), (202, None), "{accepted}");
    assert_eq!(broker.stored.load(Ordering::Relaxed), 1);
}

/// A service in front of DynamoDB that answers no request that records a result.
async fn without_results(endpoint: String) -> (String, Arc<Notify>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (http, recording) = (reqwest::Client::new(), Arc::new(Notify::new()));
    let noticed = Arc::clone(&recording);
    let service = axum::Router::new().fallback(async move |headers: http::HeaderMap, body: axum::body::Bytes| {
        if headers["x-amz-target"] == "DynamoDB_20120810.UpdateItem" {
            noticed.notify_one();
            return std::future::pending().await;
        }
        let answer = http.post(endpoint).headers(headers).body(body).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap())
    });
    tokio::spawn(async { axum::serve(listener, service).await });
    (url, recording)
}

#[tokio::test]
async fn a_crash_between_the_receipt_and_its_record_repeats_the_message_under_its_id() {
    let endpoint = emulator().await;
    let store = dynamodb(&endpoint, true).await;
    let (url, recording) = without_results(endpoint).await;
    let (broker, contract) = (Broker::default(), contract(""));
    let on = |store| ingress_of(contract, &broker, &Store::with(&secret_text())).with_store(Some(store));
    let killed = on(dynamodb(&url, false).await);
    let ended = tokio::select! {
        _ = killed.handle(short_order()) => false,
        () = recording.notified() => true,
    };
    assert!(ended, "the request was at the record of its result");
    let stored = broker.envelopes();
    assert_eq!(stored.len(), 1, "the broker has stored the message");
    // Until the lease ends, the outcome of the first request is not known.
    let next = on(store);
    let waiting = answer(&next, &order("k", ORDER)).await;
    assert_eq!(facts(&waiting), (409, "request_in_progress".to_owned(), None, Some("1")), "{waiting}");
    let accepted = after_the_lease(&next).await;
    let id = stored[0].id().to_owned();
    assert_eq!(facts(&accepted), (202, id.clone(), None, None), "{accepted}");
    let ids: Vec<_> = broker.envelopes().iter().map(|envelope| envelope.id().to_owned()).collect();
    assert_eq!(ids, [id.clone(), id.clone()], "nothing is lost, and a consumer sees one message twice");
    let replayed = answer(&next, &order("k", ORDER)).await;
    assert_eq!(facts(&replayed), (202, id, Some("true"), None), "{replayed}");
    assert_eq!(broker.len(), 2);
}

#[tokio::test]
async fn a_failing_store_refuses_or_admits_as_the_route_says() {
    // Without a table, and without a service.
    let endpoint = emulator().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for endpoint in [endpoint, format!("http://{closed}")] {
        for (settings, status, messages) in
            [("", 503, 0), ("\n          onStoreFailure: closed", 503, 0), ("\n          onStoreFailure: open", 202, 2)]
        {
            let broker = Broker::default();
            let ingress = ingress_of(contract(settings), &broker, &Store::with(&secret_text()));
            let ingress = ingress.with_store(Some(dynamodb(&endpoint, false).await));
            let mut ids = Vec::new();
            for _ in 0..2 {
                let answer = answer(&ingress, &order("k", ORDER)).await;
                let (found, said, replayed, retry_after) = facts(&answer);
                assert_eq!((found, replayed), (status, None), "{settings}: {answer}");
                assert_eq!(retry_after.is_some(), status == 503, "{settings}: {answer}");
                ids.push(said);
            }
            // Without the store, a repeat is a message with the same id.
            assert_eq!(ids[0], ids[1]);
            assert_eq!(ids[0] == "store_unavailable", status == 503, "{ids:?}");
            assert_eq!(broker.len(), messages, "{settings}");
        }
    }
}

#[tokio::test]
async fn a_route_without_a_configured_store_is_an_internal_error() {
    let broker = Broker::default();
    let ingress = ingress_of(contract(""), &broker, &Store::with(&secret_text()));
    let refused = answer(&ingress, &order("k", ORDER)).await;
    assert_eq!((facts(&refused).0, broker.len()), (500, 0), "{refused}");
}
