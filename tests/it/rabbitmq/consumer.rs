//! The consumer runtime on a real broker: retries through the delay queues, dead letters, receive counts.
//!
//! A simulated event source mapping takes messages from a queue, converts them to an Amazon MQ event, acknowledges all
//! of them if the invocation succeeded, and returns all of them if it failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lambda_http::lambda_runtime::{Error, LambdaEvent};
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use lapin::{BasicProperties, Channel};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sluicegate_batch::{AwsEnvironment, Consumer, Delivery, Outcome, RetryPolicy};
use sluicegate_envelope::Envelope;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::{Broker, BrokerConfig};
use sluicegate_topology::{Address, Topology, apply};

use crate::support::rabbitmq::{PATIENCE, Vhost};

/// Receives after which a message is dead-lettered.
const RECEIVE_COUNT_MAX: u32 = 4;

pub(crate) type Handled = Arc<Mutex<Vec<Arc<Delivery>>>>;

/// Returns a consumer whose handlers act by the event's type and record their deliveries.
pub(crate) fn consumer(url: &str, handled: &Handled) -> Consumer {
    let handled = Arc::clone(handled);
    Consumer::builder()
        .otherwise(move |delivery: Arc<Delivery>| {
            handled.lock().unwrap().push(Arc::clone(&delivery));
            async move {
                match delivery.envelope().event_type() {
                    "retry" => Outcome::Retry,
                    "reject" => Outcome::reject("card_bad", "bad card"),
                    "panic" => panic!("as the type asks"),
                    _ => Outcome::Done,
                }
            }
        })
        .retry(RetryPolicy { base: Duration::from_millis(10), cap: Duration::from_secs(1), ..Default::default() })
        .aws_environment(no_aws())
        .broker(broker(url))
        .retry_delays(RetryDelays::new(vec![1]).expect("delays"))
        .receive_count_max(RECEIVE_COUNT_MAX)
        .build()
        .expect("a consumer")
}

/// Returns the broker at this URL.
pub(crate) fn broker(url: &str) -> Broker {
    let config = BrokerConfig::from_env(|name| (name == "RABBITMQ_URL").then(|| url.to_owned()));
    Broker::new(config.expect("sound").expect("set"))
}

/// Returns the configuration of an SQS that is not used.
pub(crate) fn no_aws() -> AwsEnvironment {
    let aws = |name: &str| (!name.starts_with("AWS_ENDPOINT")).then(|| "x".to_owned());
    AwsEnvironment::read(aws).expect("sound")
}

/// Creates a virtual host with the queue `q`, its delay queue and its dead-letter queue.
pub(crate) async fn vhost() -> Vhost {
    let vhost = Vhost::create().await;
    let topology = Topology::parse("topology.yaml", "queues: { q: { retry: [1] } }").expect("a sound file");
    apply(&topology, &Address::parse(&vhost.url()).expect("an address")).await.expect("applied");
    vhost
}

/// Runs the mapping once: invokes the consumer with the ready messages of `q`. `None` if there are none.
pub(crate) async fn turn(vhost: &Vhost, channel: &Channel, consumer: &Consumer) -> Option<Result<(), Error>> {
    let (mut messages, mut last) = (Vec::new(), None);
    while let Some(message) = channel.basic_get("q".into(), BasicGetOptions::default()).await.expect("q is there") {
        messages.push(json!({
            "basicProperties": properties(&message.properties, message.data.len()),
            "redelivered": message.redelivered,
            "data": STANDARD.encode(&message.data),
        }));
        last = Some(message.delivery_tag);
    }
    let last = last?;
    let answer = handle(consumer, &event(vhost.name(), &messages)).await;
    match answer {
        Ok(()) => channel.basic_ack(last, BasicAckOptions { multiple: true }).await.expect("acknowledged"),
        Err(_) => {
            let options = BasicNackOptions { multiple: true, requeue: true };
            channel.basic_nack(last, options).await.expect("returned");
        }
    }
    Some(answer)
}

fn event(vhost: &str, messages: &[Value]) -> Value {
    let arn = "arn:aws:mq:us-west-2:111122223333:broker:b:b-9bcfa592-423a-4942-879d-eb284b418fc8";
    json!({ "eventSource": "aws:rmq", "eventSourceArn": arn, "rmqMessagesByQueue": { format!("q::{vhost}"): messages } })
}

/// Invokes with a timeout of 20 s, of which the runtime reserves 4 s.
async fn handle(consumer: &Consumer, event: &Value) -> Result<(), Error> {
    let context = crate::support::context(Duration::from_secs(20));
    let event = RawValue::from_string(event.to_string()).expect("JSON");
    let response = consumer.handle(LambdaEvent::new(event, context)).await?;
    assert_eq!(response.failures().count(), 0, "a RabbitMQ answer has no partial failures");
    Ok(())
}

fn properties(properties: &BasicProperties, body_bytes: usize) -> Value {
    json!({
        "contentType": properties.content_type().as_ref().map(ToString::to_string),
        "contentEncoding": properties.content_encoding().as_ref().map(ToString::to_string),
        "headers": properties.headers().as_ref().map(table),
        "deliveryMode": properties.delivery_mode(),
        "priority": properties.priority(),
        "correlationId": properties.correlation_id().as_ref().map(ToString::to_string),
        "replyTo": properties.reply_to().as_ref().map(ToString::to_string),
        "expiration": properties.expiration().as_ref().map(ToString::to_string),
        "messageId": properties.message_id().as_ref().map(ToString::to_string),
        "timestamp": properties.timestamp().map(|_| "Jan 1, 1970, 12:33:41\u{202F}AM"),
        "type": properties.kind().as_ref().map(ToString::to_string),
        "userId": properties.user_id().as_ref().map(ToString::to_string),
        "appId": properties.app_id().as_ref().map(ToString::to_string),
        "clusterId": properties.cluster_id().as_ref().map(ToString::to_string),
        "bodySize": body_bytes,
    })
}

fn table(table: &FieldTable) -> Value {
    table.into_iter().map(|(name, value)| (name.to_string(), header(value))).collect::<serde_json::Map<_, _>>().into()
}

fn header(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::LongString(text) => {
            json!({ "bytes": text.as_bytes().iter().map(|byte| byte.cast_signed()).collect::<Vec<_>>() })
        }
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(header).collect(),
        AMQPValue::FieldTable(members) => table(members),
        AMQPValue::Timestamp(_) => json!("Jan 1, 1970, 12:33:41\u{202F}AM"),
        AMQPValue::Void => Value::Null,
        other => panic!("not made here: {other:?}"),
    }
}

pub(crate) fn envelope(id: &str, event_type: &str) -> (BasicProperties, Vec<u8>) {
    let envelope = Envelope::builder(id, "/orders", event_type).build().expect("an envelope");
    let properties = BasicProperties::default()
        .with_content_type("application/cloudevents+json".into())
        .with_message_id(id.into())
        .with_type(event_type.into());
    (properties, envelope.encode().into_bytes())
}

/// <https://github.com/getAlby/lndhub.go/issues/376>
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_poison_message_is_dead_lettered_after_its_receives_and_the_others_are_done_once() {
    let vhost = vhost().await;
    for (id, event_type) in
        [("good-1", "done"), ("poison", "retry"), ("bomb", "panic"), ("bad", "reject"), ("good-2", "done")]
    {
        let (properties, body) = envelope(id, event_type);
        vhost.publish("", "q", properties, &body).await;
    }
    // A message that once expired in `q`: RabbitMQ would drop it on its way from the delay queue, as a dead-letter
    // cycle.
    let (properties, body) = envelope("moved", "retry");
    let mut death = FieldTable::default();
    for (name, value) in [("queue", "q"), ("reason", "expired"), ("exchange", "")] {
        death.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    death.insert("count".into(), AMQPValue::LongLongInt(1));
    let mut headers = FieldTable::default();
    headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
    vhost.publish("", "q", properties.with_headers(headers), &body).await;
    let garbage = BasicProperties::default().with_content_type("application/cloudevents+json".into());
    vhost.publish("", "q", garbage, b"\xFF\x00 garbage").await;
    // Published as in the first RabbitMQ tutorial.
    vhost.publish("", "q", BasicProperties::default(), b"Order ID: 12345").await;
    vhost.publish("", "q", BasicProperties::default(), b"Order ID: 12345").await;

    let (channel, handled) = (vhost.channel().await, Handled::default());
    let consumer = consumer(&vhost.url(), &handled);
    let (started, mut dead) = (Instant::now(), Vec::new());
    while dead.len() < 5 {
        assert!(started.elapsed() < PATIENCE, "five messages must be dead-lettered, {} are", dead.len());
        match turn(&vhost, &channel, &consumer).await {
            Some(answer) => answer.expect("every batch is settled"),
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        dead.extend(vhost.drain("q.dlq").await);
    }

    let mut receives: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let (mut orders, mut raw_ids) = (0, Vec::new());
    for delivery in handled.lock().unwrap().iter() {
        let envelope = delivery.envelope();
        if envelope.event_type() == "rabbitmq.message" {
            assert_eq!((envelope.payload().as_ref(), envelope.content_type()), (b"Order ID: 12345".as_slice(), None));
            assert_eq!(envelope.source(), format!("/rabbitmq/{}/q", vhost.name()));
            raw_ids.push(envelope.id().to_owned());
            orders += 1;
        } else {
            receives.entry(envelope.id().to_owned()).or_default().push(delivery.receive_count());
        }
    }
    raw_ids.sort();
    raw_ids.dedup();
    assert_eq!((orders, raw_ids.len()), (2, 2), "equal messages get different ids");
    let expected = [
        ("bad", vec![1]),
        ("bomb", vec![1, 2, 3, 4]),
        ("good-1", vec![1]),
        ("good-2", vec![1]),
        ("moved", vec![1, 2, 3, 4]),
        ("poison", vec![1, 2, 3, 4]),
    ];
    assert_eq!(receives, expected.map(|(id, receives)| (id.to_owned(), receives)).into());

    let source = format!("q::{}", vhost.name());
    let listed: BTreeMap<_, _> = dead
        .iter()
        .map(|message| {
            assert_eq!(message.header_text("sluicegate-source"), Some(source.as_str()));
            assert_eq!(message.header("x-death"), None, "x-death would make RabbitMQ drop the next retry");
            assert_eq!(message.properties.delivery_mode(), &Some(2));
            let text = |name| message.header_text(name).unwrap();
            let receive_count = message.header_number("sluicegate-receive-count").unwrap();
            (text("sluicegate-code"), (text("sluicegate-reason"), receive_count))
        })
        .collect();
    let expected = [
        ("card_bad", ("bad card", 1)),
        ("handler_panicked", ("receives exhausted after 4: the handler panicked", 4)),
        ("receives_exhausted", ("receives exhausted after 4: the handler returned a retry", 4)),
        ("undecodable", ("undecodable: not UTF-8", 1)),
    ];
    assert_eq!(listed, expected.into());
    assert!(dead.iter().any(|message| message.body == b"\xFF\x00 garbage"), "the bytes are unchanged");
    for queue in ["q", "q.retry.1s", "q.dlq"] {
        assert_eq!(vhost.ready(queue).await, 0, "{queue}");
    }
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_batch_is_returned_until_its_queues_exist() {
    let vhost = Vhost::create().await;
    vhost.declare_queue("q").await;
    let (properties, body) = envelope("1", "retry");
    vhost.publish("", "q", properties, &body).await;
    let (channel, handled) = (vhost.channel().await, Handled::default());
    let consumer = consumer(&vhost.url(), &handled);
    for receive_count in 1..=3 {
        let error = turn(&vhost, &channel, &consumer).await.expect("a message").expect_err("neither queue is there");
        assert!(error.to_string().starts_with("the batch is returned: 1 of 1 messages"), "{error}");
        assert_eq!(handled.lock().unwrap().last().unwrap().receive_count(), receive_count, "x-delivery-count counts");
    }
    vhost.declare_queue("q.dlq").await;
    turn(&vhost, &channel, &consumer).await.expect("a message").expect("settled");
    let dead = vhost.until_drained("q.dlq", 1).await;
    assert!(dead[0].header_text("sluicegate-reason").unwrap().starts_with("receives exhausted after 4"));
    assert_eq!(
        dead[0].header_number("x-delivery-count"),
        Some(0),
        "the count of the present queue, not of the previous one"
    );
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn republished_messages_reach_only_their_queue_for_any_properties_of_the_original() {
    let vhost = vhost().await;
    vhost.declare_queue("other").await;
    let mut headers = FieldTable::default();
    let keys = vec![AMQPValue::LongString("other".into())];
    headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(keys)));
    let (properties, body) = envelope("1", "reject");
    vhost.publish("", "q", properties.with_headers(headers), &body).await;
    vhost.until_drained("other", 1).await;
    let (channel, handled) = (vhost.channel().await, Handled::default());
    let consumer = consumer(&vhost.url(), &handled);
    turn(&vhost, &channel, &consumer).await.expect("a message").expect("settled");
    assert!(vhost.until_drained("q.dlq", 1).await[0].header("sluicegate-cc").is_some());
    assert_eq!(vhost.ready("other").await, 0, "only the original was routed there");

    // Properties that a publisher must not set would close the channel and fail the batch.
    let message = json!({
        "basicProperties": { "type": "reject", "userId": "another-user", "replyTo": "amq.rabbitmq.reply-to", "expiration": "1" },
        "redelivered": false,
        "data": "",
    });
    handle(&consumer, &event(vhost.name(), &[message, json!(null)])).await.expect("settled");
    let dead = vhost.until_drained("q.dlq", 2).await;
    assert!(dead.iter().any(|message| message.header_text("sluicegate-user-id") == Some("another-user")));
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_full_failed_batch_is_settled_within_the_deadline_margin() {
    let vhost = vhost().await;
    let (_, body) = envelope("1", "retry");
    let message = json!({ "basicProperties": null, "redelivered": false, "data": STANDARD.encode(body) });
    let consumer = consumer(&vhost.url(), &Handled::default());
    let started = Instant::now();
    handle(&consumer, &event(vhost.name(), &vec![message; 1_000])).await.expect("settled");
    let taken = started.elapsed();
    println!("1,000 messages returned in {} ms", taken.as_millis());
    assert!(taken < Duration::from_secs(4), "beyond the deadline margin: {taken:?}");
    vhost.until_drained("q", 1_000).await;
    vhost.delete().await;
}

#[tokio::test]
async fn without_a_broker_a_batch_that_needs_none_succeeds_and_another_fails_in_time() {
    // An unused port.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let consumer = consumer(&format!("amqp://guest:guest@127.0.0.1:{port}"), &Handled::default());
    let message = |event_type: &str| json!({ "basicProperties": { "type": event_type }, "data": "" });
    handle(&consumer, &event("/", &[message("done")])).await.expect("nothing to publish");
    let started = Instant::now();
    let error =
        handle(&consumer, &event("/", &[message("done"), message("retry")])).await.expect_err("nothing to publish to");
    assert!(error.to_string().starts_with("the batch is returned: 1 of 2 messages"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(20), "within the deadline");
}
