//! The consumer with a broker: records that the producer sent and confluent-kafka read back, as Lambda's events of
//! Amazon MSK have them, and the dead letters in their topic.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::StatusCode;
use lambda_http::lambda_runtime::LambdaEvent;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluicegate_batch::{Consumer, Delivery, Outcome, RetryPolicy};
use sluicegate_envelope::Envelope;
use sluicegate_queue::kafka::{KafkaProducer, Publication};
use sluicegate_queue::{Message, Producer as _, dead_letter};
use tokio::time::Instant;

use super::proxy::{PRODUCE, Proxy};
use super::{AMPLE, cluster};
use crate::metrics::functions::Running;
use crate::rabbitmq::consumer::no_aws;
use crate::support::context;
use crate::support::forward::ForwardServer;
use crate::support::kafka::{Broker, Record};

pub(crate) type Handled = Arc<Mutex<Vec<Arc<Delivery>>>>;

/// Returns a consumer whose handlers act by the event's type and record their deliveries.
pub(crate) fn consumer(servers: &str, handled: &Handled) -> Consumer {
    let handled = Arc::clone(handled);
    let handler = move |delivery: Arc<Delivery>| {
        handled.lock().unwrap().push(Arc::clone(&delivery));
        async move {
            match delivery.envelope().event_type() {
                "retry" => Outcome::Retry,
                "reject" => Outcome::reject("card_bad", "bad card"),
                _ => Outcome::Done,
            }
        }
    };
    let retry = RetryPolicy { base: Duration::from_millis(10), ..RetryPolicy::default() };
    let builder = Consumer::builder().otherwise(handler).retry(retry).aws_environment(no_aws());
    builder.cluster(cluster(servers)).kafka_receive_count_max(3).build().expect("a consumer")
}

/// Sends an event of each type, with its place in the list as id, in this group.
pub(crate) async fn send_all(servers: &str, events: &[(&str, &str)]) {
    let producer = KafkaProducer::new(cluster(servers), "orders");
    for (id, (event_type, group)) in events.iter().enumerate() {
        let envelope = Envelope::builder(id.to_string(), "/orders", *event_type).group(*group);
        let envelope = envelope.payload(Some("application/json"), "{}").build().expect("an envelope");
        producer.send(&Message::new(&envelope), Instant::now() + AMPLE).await.expect("stored");
    }
}

/// Returns the event of a batch with these records of the topic `orders`.
pub(crate) fn event(records: &[Record]) -> Value {
    let mut partitions = serde_json::Map::new();
    for record in records {
        let headers = record.headers.as_object().expect("headers").iter().map(|(name, value)| {
            let bytes = value.as_str().expect("text").bytes().map(u8::cast_signed).collect::<Vec<_>>();
            json!({ name: bytes })
        });
        let list = partitions.entry(format!("orders-{}", record.partition)).or_insert_with(|| json!([]));
        list.as_array_mut().expect("a list").push(json!({
            "topic": "orders",
            "partition": record.partition,
            "offset": record.offset,
            "timestamp": 1_795_035_749_700_u64,
            "timestampType": "CREATE_TIME",
            "key": record.key.as_ref().map(|key| BASE64_STANDARD.encode(key)),
            "value": BASE64_STANDARD.encode(&record.value),
            "headers": headers.collect::<Vec<_>>(),
        }));
    }
    json!({ "eventSource": "aws:kafka", "bootstrapServers": "broker:9092", "records": partitions })
}

pub(crate) async fn invoke(consumer: &Consumer, event: &Value) -> bool {
    let event = RawValue::from_string(event.to_string()).expect("JSON");
    consumer.handle(LambdaEvent::new(event, context(Duration::from_secs(20)))).await.is_ok()
}

fn header<'a>(record: &'a Record, name: &str) -> &'a str {
    record.headers[name].as_str().unwrap_or_else(|| panic!("no {name}: {record:?}"))
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_poison_record_is_in_the_dead_letter_topic_with_its_reason_and_the_others_are_done_once_and_in_order() {
    let broker = Broker::start(&["orders:3", "orders.dlq:1"]).await;
    let types = [("retry", "a"), ("fine", "a"), ("fine", "b"), ("reject", "c"), ("fine", "a"), ("fine", "b")];
    send_all(&broker.servers(), &types).await;
    let sent = broker.records("orders").await;
    let handled = Handled::default();
    assert!(invoke(&consumer(&broker.servers(), &handled), &event(&sent)).await);

    let handled: Vec<_> = handled.lock().unwrap().iter().map(|each| each.envelope().id().to_owned()).collect();
    let of = |ids: &[&str]| handled.iter().filter(|id| ids.contains(&id.as_str())).cloned().collect::<Vec<_>>();
    assert_eq!(of(&["0", "1", "4"]), ["0", "0", "0", "1", "4"]);
    assert_eq!((of(&["2", "5"]), of(&["3"])), (vec!["2".to_owned(), "5".to_owned()], vec!["3".to_owned()]));

    let mut dead = broker.records("orders.dlq").await;
    dead.sort_by_key(Record::event_id);
    let facts: Vec<_> = dead
        .iter()
        .map(|record| [dead_letter::CODE, dead_letter::RECEIVE_COUNT].map(|name| header(record, name)))
        .collect();
    assert_eq!(facts, [["receives_exhausted", "3"], ["card_bad", "1"]]);
    assert_eq!(header(&dead[1], dead_letter::REASON), "bad card");
    for (record, id) in dead.iter().zip(["0", "3"]) {
        let original = sent.iter().find(|sent| sent.event_id() == id).unwrap();
        assert_eq!((&record.key, &record.value), (&original.key, &original.value));
        let place = format!("orders:{}:{}", original.partition, original.offset);
        assert_eq!(header(record, dead_letter::SOURCE), place);
        assert_eq!(header(record, "ce_id"), id, "its own headers stay");
    }
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_consumer_that_is_killed_while_it_stores_a_dead_letter_loses_nothing() {
    let broker = Broker::start(&["orders:1", "orders.dlq:1"]).await;
    let proxy = Proxy::start(broker.port()).await;
    send_all(&broker.servers(), &[("fine", "a"), ("reject", "a"), ("fine", "a")]).await;
    let event = event(&broker.records("orders").await);
    let handled = Handled::default();
    let first = consumer(&proxy.servers(), &handled);
    proxy.lose_answers(usize::MAX);
    let asked = async {
        while proxy.requests(PRODUCE) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        is_done = invoke(&first, &event) => panic!("without a confirm the batch is not done: {is_done}"),
        () = asked => {}
    }
    drop(first);
    proxy.lose_answers(0);
    assert!(invoke(&consumer(&proxy.servers(), &handled), &event).await);
    let dead = broker.records("orders.dlq").await;
    assert!((1..=2).contains(&dead.len()), "{dead:?}");
    assert!(dead.iter().all(|record| header(record, dead_letter::SOURCE) == "orders:0:1"), "{dead:?}");
    let ids: Vec<_> = handled.lock().unwrap().iter().map(|each| each.envelope().id().to_owned()).collect();
    assert_eq!(ids, ["0", "1", "0", "1", "2"], "the batch comes again, in order");
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn without_the_dead_letter_topic_the_batch_is_returned_until_it_exists() {
    let broker = Broker::start(&["orders:1"]).await;
    send_all(&broker.servers(), &[("fine", "a"), ("reject", "b")]).await;
    let event = event(&broker.records("orders").await);
    let handled = Handled::default();
    let consumer = consumer(&broker.servers(), &handled);
    assert!(!invoke(&consumer, &event).await);
    crate::support::kafka::program("topics.py", &[&broker.servers(), "orders.dlq:1"]).await;
    assert!(invoke(&consumer, &event).await);
    let dead = broker.records("orders.dlq").await;
    assert_eq!(dead.iter().map(Record::event_id).collect::<Vec<_>>(), ["1"]);
    let ids: Vec<_> = handled.lock().unwrap().iter().map(|each| each.envelope().id().to_owned()).collect();
    assert_eq!(ids, ["0", "1", "1"], "what was done is not handled again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn the_binary_forwards_what_it_can_read_and_dead_letters_the_rest() {
    let broker = Broker::start(&["orders:1", "orders.dlq:1"]).await;
    send_all(&broker.servers(), &[("order.placed", "a"), ("order.placed", "a")]).await;
    let headers = [("content-type", Some(&b"application/cloudevents+json"[..]))];
    let poison = Publication { topic: "orders", key: None, value: Some(b"{}"), headers: &headers };
    cluster(&broker.servers()).publish(&poison, Instant::now() + AMPLE).await.expect("stored");
    let server = ForwardServer::start(|_| StatusCode::OK).await;
    let servers = broker.servers();
    let environment = [
        ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
        ("FORWARD_URL", server.url.as_str()),
        ("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()),
        ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT"),
    ];
    let function = Running::start("my-consumer", "functions/kafka", "consumer-kafka", &environment).await;
    let answer = function.invoke(&event(&broker.records("orders").await)).await;
    assert_eq!(answer, json!({ "batchItemFailures": [] }));
    assert_eq!(server.received(|_| true).len(), 2);
    let dead = broker.records("orders.dlq").await;
    assert_eq!(dead.len(), 1);
    assert_eq!((header(&dead[0], dead_letter::CODE), &dead[0].value[..]), ("undecodable", &b"{}"[..]));
    let lines = function.stop().await;
    assert!(lines.iter().any(|line| line.contains(r#""broker_id":"orders:0:2""#)), "{lines:#?}");
}
