//! The producer against a real broker: a receipt only for messages on a queue, and a correct conclusion otherwise, also
//! when connections fail. Most tests run on one thread, as the functions do.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use http::Method;
use serde_json::json;
use sluicegate_envelope::{ATTRIBUTE_BYTES_MAX, ATTRIBUTE_NAME_BYTES_MAX, EXTENSIONS_MAX, Envelope};
use sluicegate_local::RabbitmqNode;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_queue::rabbitmq::{
    BODY_BYTES_MAX, BasicProperties, Broker, BrokerConfig, Publication, RabbitmqProducer,
};
use sluicegate_queue::{Binding, Message, Producer, Receipt, SendError};
use tokio::time::Instant;

use super::child;
use crate::support::conclusion::conclusion;
use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::{PATIENCE, Vhost, until};

/// The deadline of a send that is expected to succeed.
const AMPLE: Duration = Duration::from_secs(20);

fn broker(url: &str) -> Broker {
    broker_of(&[("RABBITMQ_URL", url)])
}

fn broker_of(environment: &[(&str, &str)]) -> Broker {
    let lookup = |wanted: &str| {
        let found = environment.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    Broker::new(BrokerConfig::from_env(lookup).expect("a configuration").expect("RABBITMQ_URL is set"))
}

/// Returns a new virtual host with the queue `orders`, and the broker behind a proxy.
async fn proxied(query: &str) -> (Vhost, Proxy, Broker) {
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let proxy = Proxy::start(vhost.port()).await;
    let broker = broker(&format!("{}{query}", vhost.url_at(proxy.port())));
    (vhost, proxy, broker)
}

fn producer(broker: &Broker, binding: &str) -> RabbitmqProducer {
    let parsed = Binding::parse(binding).expect("a binding");
    let Binding::Rabbitmq { exchange, routing_key } = parsed else { panic!("{binding}") };
    RabbitmqProducer::new(broker.clone(), exchange, routing_key, RetryDelays::default())
}

fn envelope(id: &str) -> Envelope {
    let envelope = Envelope::builder(id, "/orders", "order.placed").payload(Some("application/json"), r#"{"n":1}"#);
    envelope.build().expect("an envelope")
}

async fn send_within(producer: &RabbitmqProducer, id: &str, time_max: Duration) -> Result<Receipt, SendError> {
    producer.send(&Message::new(&envelope(id)), Instant::now() + time_max).await
}

async fn send(producer: &RabbitmqProducer, id: &str) -> Result<Receipt, SendError> {
    send_within(producer, id, AMPLE).await
}

fn ids(messages: &[crate::support::rabbitmq::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.message_id.as_deref().expect("an id")).collect()
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_stored_message_has_the_envelope_and_its_properties() {
    let vhost = Vhost::create().await;
    vhost.declare_exchange("orders", "topic").await;
    vhost.declare_queue("orders").await;
    vhost.bind("orders", "orders", "order.*.eu%2Ewest").await;
    let broker = broker(&vhost.url());
    let producer = producer(&broker, "rabbitmq:orders/{type}.{group}");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let envelope = Envelope::builder("id-1", "/orders", "order.placed")
        .subject("o-1")
        .traceparent(trace)
        .tracestate("a=b")
        .group("eu.west")
        .payload(Some("application/json"), r#"{"n": 1.10}"#)
        .build()
        .unwrap();
    let receipt = producer.send(&Message::new(&envelope), Instant::now() + AMPLE).await.unwrap();
    assert_eq!(receipt.id, "id-1");

    let stored = vhost.until_drained("orders", 1).await.remove(0);
    assert_eq!(stored.text(), envelope.encode());
    assert_eq!((stored.exchange.as_str(), stored.routing_key.as_str()), ("orders", "order.placed.eu%2Ewest"));
    let properties = &stored.properties;
    let text = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string).unwrap_or_default();
    assert_eq!(text(properties.message_id()), "id-1");
    assert_eq!(text(properties.content_type()), "application/cloudevents+json");
    assert_eq!(text(properties.kind()), "order.placed");
    assert_eq!(text(properties.correlation_id()), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(text(properties.app_id()), "sluicegate");
    assert_eq!((*properties.delivery_mode(), *properties.priority()), (Some(2), Some(0)));
    assert!(properties.timestamp().is_some_and(|seconds| seconds > 1_600_000_000));
    for (name, value) in [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", "id-1"),
        ("cloudEvents:source", "/orders"),
        ("cloudEvents:type", "order.placed"),
        ("cloudEvents:subject", "o-1"),
        ("cloudEvents:datacontenttype", "application/json"),
        ("cloudEvents:partitionkey", "eu.west"),
        ("traceparent", trace),
        ("tracestate", "a=b"),
    ] {
        assert_eq!(stored.header_text(name), Some(value), "{name}");
    }
    vhost.delete().await;
}

/// As the ingress connects. A header that did not fit into a frame would end the connection.
#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn the_headers_of_any_event_fit_into_a_frame_of_a_connection_for_events() {
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let config = BrokerConfig::from_env(|name| (name == "RABBITMQ_URL").then(|| vhost.url()));
    let broker = Broker::new(config.expect("a configuration").expect("RABBITMQ_URL is set").for_events());
    let producer = producer(&broker, "rabbitmq:/orders");
    for (length, headers) in [(ATTRIBUTE_BYTES_MAX, 10..=14), (110, 60..=70)] {
        let long = "x".repeat(length);
        let mut builder =
            Envelope::builder("i".repeat(255), "/orders", "order.placed").subject(long.as_str()).tracestate("a=b");
        for number in 0..EXTENSIONS_MAX {
            let name = format!("{}{number:02}", "n".repeat(ATTRIBUTE_NAME_BYTES_MAX - 2));
            builder = builder.attribute(&name, &long).unwrap();
        }
        let envelope = builder.payload(Some("text/plain"), "x".repeat(1 << 20)).build().unwrap();
        producer.send(&Message::new(&envelope), Instant::now() + AMPLE).await.unwrap();
        let stored = vhost.until_drained("orders", 1).await.remove(0);
        assert_eq!(stored.text(), envelope.encode());
        assert_eq!(stored.header_text("tracestate"), Some("a=b"));
        let table = stored.properties.headers().as_ref().expect("headers").inner();
        assert!(headers.contains(&table.len()), "{} headers", table.len());
    }
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn every_conclusion_is_correct_and_does_not_affect_the_next_message() {
    let (vhost, proxy, broker) = proxied("").await;
    vhost.declare_queue_with("full", json!({ "x-max-length": 1, "x-overflow": "reject-publish" })).await;
    vhost.declare_exchange("nowhere", "topic").await;
    let good = producer(&broker, "rabbitmq:/orders");
    // A quorum queue rejects slightly above its length limit.
    let full = producer(&broker, "rabbitmq:/full");
    until("the queue is full", PATIENCE, async || (conclusion(&send(&full, "full").await) == "not sent").then_some(()))
        .await;
    for (n, (binding, expected, reason)) in [
        ("rabbitmq:/orders", "stored", ""),
        ("rabbitmq:/no-such-queue", "unroutable", "NO_ROUTE"),
        ("rabbitmq:nowhere/{type}", "unroutable", r#"exchange "nowhere", routing key "order.placed": NO_ROUTE"#),
        ("rabbitmq:/full", "not sent", "nack"),
        ("rabbitmq:no-such-exchange/k", "refused: queue", "no exchange 'no-such-exchange'"),
    ]
    .into_iter()
    .enumerate()
    {
        let result = send(&producer(&broker, binding), &format!("bad-{n}")).await;
        assert_eq!(conclusion(&result), expected, "{binding}: {result:?}");
        assert!(result.err().is_none_or(|error| error.to_string().contains(reason)), "{binding}: {reason}");
        assert_eq!(conclusion(&send(&good, &format!("good-{n}")).await), "stored", "after {binding}");
    }
    assert_eq!(proxy.connections(), 1, "the connection survives a closed channel");
    let stored = vhost.until_drained("orders", 6).await;
    assert_eq!(ids(&stored), ["bad-0", "good-0", "good-1", "good-2", "good-3", "good-4"]);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_return_among_many_in_flight_reaches_its_sender() {
    const COUNT: usize = 400;
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let broker = broker(&vhost.url());
    let (good, lost) = (producer(&broker, "rabbitmq:/orders"), producer(&broker, "rabbitmq:/no-such-queue"));
    for round in 0..5 {
        let sends = (0..COUNT).map(|n| {
            let to = if n % 3 == 0 { &lost } else { &good };
            async move { conclusion(&send(to, &format!("{round}-{n}")).await) }
        });
        for (n, conclusion) in join_all(sends).await.into_iter().enumerate() {
            assert_eq!(conclusion, if n % 3 == 0 { "unroutable" } else { "stored" }, "{round}-{n}");
        }
    }
    let stored = vhost.drain("orders").await;
    assert_eq!(stored.len(), 5 * (COUNT - COUNT.div_ceil(3)));
    vhost.delete().await;
}

/// The variable with the broker URL of the child process.
const CHILD_URL: &str = "SLUICEGATE_TEST_UNROUTABLE_URL";

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_returned_message_is_not_logged() {
    if let Ok(url) = std::env::var(CHILD_URL) {
        lambda_http::tracing::init_default_subscriber();
        let broker = broker(&url);
        let properties = BasicProperties::default().with_app_id("marked-property".into());
        let publication = Publication { exchange: "", routing_key: "nowhere", properties, body: b"marked-body" };
        lambda_http::tracing::info!(
            "conclusion: {}",
            conclusion(&broker.publish(&publication, Instant::now() + AMPLE).await)
        );
        return;
    }
    let vhost = Vhost::create().await;
    let test = concat!(module_path!(), "::a_returned_message_is_not_logged");
    let said = child::run(test, &[(CHILD_URL, &vhost.url()), ("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]).await;
    assert!(said.contains("conclusion: unroutable"), "{said}");
    // As text, and as the debug output of its bytes.
    for secret in ["marked", "109, 97, 114, 107, 101, 100", "guest"] {
        assert!(!said.contains(secret), "{secret}: {said}");
    }
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn an_unknown_exchange_does_not_affect_concurrent_messages() {
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let broker = broker(&vhost.url());
    let (good, bad) = (producer(&broker, "rabbitmq:/orders"), producer(&broker, "rabbitmq:no-such-exchange/k"));
    let sends = (0..40).map(|n| {
        let to = if n == 20 { &bad } else { &good };
        async move { conclusion(&send(to, &format!("{n}")).await) }
    });
    for (n, conclusion) in join_all(sends).await.into_iter().enumerate() {
        assert_eq!(conclusion, if n == 20 { "refused: queue" } else { "stored" }, "{n}");
    }
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn many_sends_wait_for_their_confirms_together() {
    const COUNT: usize = 100;
    let (vhost, proxy, broker) = proxied("").await;
    broker.connect(Instant::now() + AMPLE).await.unwrap();
    let each_way = Duration::from_millis(50);
    proxy.delay(each_way);
    let (good, lost) = (producer(&broker, "rabbitmq:/orders"), producer(&broker, "rabbitmq:/no-such-queue"));

    let envelopes: Vec<_> = (0..COUNT).map(|n| envelope(&format!("m-{n}"))).collect();
    let messages: Vec<_> = envelopes.iter().map(Message::new).collect();
    let started = Instant::now();
    let deadline = Instant::now() + AMPLE;
    let results = join_all(messages.iter().map(|message| good.send(message, deadline))).await;
    let elapsed = started.elapsed();
    let receipts: Vec<_> = results.into_iter().map(|result| result.unwrap().id).collect();
    assert_eq!(receipts, envelopes.iter().map(Envelope::id).collect::<Vec<_>>(), "in order");
    let one_by_one = each_way * 2 * u32::try_from(COUNT).unwrap();
    assert!(elapsed > each_way * 2 && elapsed < one_by_one / 5, "{elapsed:?} where one by one takes {one_by_one:?}");

    let results = join_all(messages[..2].iter().map(|message| lost.send(message, Instant::now() + AMPLE))).await;
    assert_eq!(results.iter().map(conclusion).collect::<Vec<_>>(), ["unroutable", "unroutable"]);
    assert_eq!(proxy.connections(), 1);
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_delayed_message_reaches_the_queue_after_its_delay() {
    let vhost = Vhost::create().await;
    vhost.declare_exchange("orders", "topic").await;
    vhost.declare_queue("orders").await;
    vhost.bind("orders", "orders", "order.placed").await;
    let to = |exchange: &str, key: Option<&str>| {
        let mut arguments = json!({ "x-message-ttl": 1_000, "x-dead-letter-exchange": exchange });
        if let Some(key) = key {
            arguments["x-dead-letter-routing-key"] = json!(key);
        }
        arguments
    };
    vhost.declare_exchange("orders.delay.1s", "fanout").await;
    vhost.declare_queue_with("orders.delay.1s", to("orders", None)).await;
    vhost.bind("orders.delay.1s", "orders.delay.1s", "").await;
    vhost.declare_queue_with("orders.retry.1s", to("", Some("orders"))).await;
    let broker = broker(&vhost.url());
    for (binding, key) in [("rabbitmq:orders/{type}", "order.placed"), ("rabbitmq:/orders", "orders")] {
        let (producer, envelope) = (producer(&broker, binding), envelope("id-1"));
        let delayed = |delay| Message { delay, ..Message::new(&envelope) };
        let started = Instant::now();
        let deadline = started + AMPLE;
        producer.send(&delayed(Duration::from_millis(700)), deadline).await.unwrap();
        assert_eq!(vhost.ready("orders").await, 0, "{binding}");
        let stored = vhost.until_drained("orders", 1).await.remove(0);
        assert!(started.elapsed() >= Duration::from_secs(1), "{binding}: {:?}", started.elapsed());
        assert_eq!((stored.routing_key.as_str(), stored.message_id.as_deref()), (key, Some("id-1")));
        // The topology has no queue for this delay.
        let missing = producer.send(&delayed(Duration::from_secs(3)), deadline).await;
        assert!(["unroutable", "refused: queue"].contains(&conclusion(&missing)), "{binding}: {missing:?}");
        let beyond = producer.send(&delayed(Duration::from_secs(3_601)), deadline).await;
        assert_eq!(conclusion(&beyond), "refused: queue", "{binding}: {beyond:?}");
    }
    vhost.delete().await;
}

#[tokio::test]
async fn limits_are_checked_before_anything_is_sent() {
    // An unused address.
    let broker = broker("amqp://u:p@127.0.0.1:1/v");
    let deadline = Instant::now() + AMPLE;
    let name = "n".repeat(256);
    let body = vec![0; BODY_BYTES_MAX + 1];
    for (exchange, routing_key, body, expected) in [
        (name.as_str(), "", &body[..1], "refused: message"),
        ("", &name, &body[..1], "refused: message"),
        ("", "q", &body, "too large"),
    ] {
        let publication = Publication { exchange, routing_key, properties: BasicProperties::default(), body };
        assert_eq!(conclusion(&broker.publish(&publication, deadline).await), expected);
    }
    let publication =
        Publication { exchange: "", routing_key: "q", properties: BasicProperties::default(), body: &body[1..] };
    assert_eq!(conclusion(&broker.publish(&publication, deadline).await), "not sent", "the address is unused");
    assert_eq!(conclusion(&broker.publish(&publication, Instant::now()).await), "not sent", "the deadline has passed");
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_refused_login_is_logged_without_the_password() {
    let vhost = Vhost::create().await;
    let port = vhost.port();
    for (url, reason) in [
        (format!("amqp://guest:pass-word@127.0.0.1:{port}/{}", vhost.name()), "ACCESS_REFUSED"),
        (format!("amqp://guest:guest@127.0.0.1:{port}/no-such-vhost"), "vhost no-such-vhost not found"),
    ] {
        let refused = broker(&url).connect(Instant::now() + AMPLE).await;
        assert_eq!(conclusion(&refused), "refused: queue", "{refused:?}");
        let text = refused.unwrap_err().to_string();
        assert!(text.contains(reason) && !text.contains("pass-word"), "{text}");
    }
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_closed_connection_is_reopened_once_for_all_waiting_sends() {
    let (vhost, proxy, broker) = proxied("").await;
    let producer = producer(&broker, "rabbitmq:/orders");
    send(&producer, "before").await.unwrap();
    until("the broker lists the connection", PATIENCE, async || (vhost.close_connections().await == 1).then_some(()))
        .await;
    let results = join_all((0..50).map(|n| {
        let producer = producer.clone();
        async move { conclusion(&send(&producer, &format!("{n}")).await) }
    }))
    .await;
    assert_eq!(results, vec!["stored"; 50]);
    assert_eq!(proxy.connections(), 2, "one new connection for all senders");

    proxy.cut(Cut::Now).await;
    send(&producer, "after").await.unwrap();
    // The connection is cut before the confirm: the message is published again under the same id.
    let ((), again) = tokio::join!(biased; proxy.cut(Cut::BeforeAnswer), send(&producer, "again"));
    again.unwrap();
    let stored = vhost.drain("orders").await;
    assert_eq!(ids(&stored).iter().filter(|id| **id == "again").count(), 2);
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_silently_broken_connection_loses_no_message() {
    let (vhost, proxy, broker) = proxied("").await;
    let producer = producer(&broker, "rabbitmq:/orders");
    send(&producer, "before").await.unwrap();

    // Permanently: no send exceeds its deadline.
    proxy.silence();
    for deadline in [Duration::from_millis(300), Duration::from_secs(4)] {
        let started = Instant::now();
        let silent = send_within(&producer, "silent", deadline).await;
        assert!(["unknown", "not sent"].contains(&conclusion(&silent)), "{silent:?}");
        assert!(started.elapsed() < deadline + Duration::from_millis(300), "{:?} of {deadline:?}", started.elapsed());
    }
    proxy.resume();
    send(&producer, "resumed").await.unwrap();

    // Temporarily: the connection is closed, and the next one carries the message.
    proxy.silence();
    let connections = proxy.connections();
    let started = Instant::now();
    let (sent, ()) = tokio::join!(send(&producer, "once"), async {
        until("another connection is tried", PATIENCE, async || (proxy.connections() > connections).then_some(()))
            .await;
        proxy.resume();
    });
    sent.unwrap();
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let stored = vhost.drain("orders").await;
    assert!((1..=2).contains(&ids(&stored).iter().filter(|id| **id == "once").count()));
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn an_idle_connection_is_checked_before_it_is_used() {
    let (vhost, proxy, broker) = proxied("?heartbeat=1").await;
    let producer = producer(&broker, "rabbitmq:/orders");
    send(&producer, "first").await.unwrap();
    // Idle for more than a heartbeat, and still open.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    send(&producer, "second").await.unwrap();
    assert_eq!(proxy.connections(), 1);
    // Idle and silently broken, as after a freeze. Nothing is published before the broker has answered.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    proxy.silence();
    let (to_broker, _) = proxy.bytes();
    let silent = send_within(&producer, "third", Duration::from_secs(3)).await;
    assert_eq!(conclusion(&silent), "not sent", "{silent:?}");
    proxy.resume();
    send(&producer, "fourth").await.unwrap();
    assert!(proxy.bytes().0 > to_broker);
    assert_eq!(ids(&vhost.drain("orders").await), ["first", "second", "fourth"]);
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_rotated_password_is_read_again_when_the_old_one_is_refused() {
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let user = format!("user-{}", vhost.name());
    let set_password = async |password: &str| {
        let body = json!({ "password": password, "tags": "" });
        vhost.manage(Method::PUT, &format!("users/{user}"), Some(body)).await;
    };
    set_password("pass-one").await;
    let permissions = json!({ "configure": "", "write": ".*", "read": ".*" });
    vhost.manage(Method::PUT, &format!("permissions/{}/{user}", vhost.name()), Some(permissions)).await;
    let secret = |password: &str| json!({ "username": user, "password": password }).to_string();
    let held = Arc::new(Mutex::new((secret("pass-wrong"), 0)));
    let asked = Arc::clone(&held);
    let endpoint = crate::support::service::emulator_with(Arc::new(move |name: &str| {
        let mut held = asked.lock().unwrap();
        held.1 += 1;
        (name == "broker-login").then(|| held.0.clone())
    }))
    .await;
    let url = format!("amqp://127.0.0.1:{}/{}", vhost.port(), vhost.name());
    let broker = broker_of(&[
        ("RABBITMQ_URL", &url),
        ("RABBITMQ_SECRET_ARN", "broker-login"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL", &endpoint),
    ]);
    let producer = producer(&broker, "rabbitmq:/orders");
    // The password is wrong, also when it is read again.
    let refused = send(&producer, "refused").await;
    assert_eq!(conclusion(&refused), "refused: queue", "{refused:?}");
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("ACCESS_REFUSED") && !text.contains("pass-wrong"), "{text}");

    held.lock().unwrap().0 = secret("pass-one");
    send(&producer, "one").await.unwrap();
    let reads = held.lock().unwrap().1;
    // Rotated: the connection stays open, and the next one uses the new password.
    set_password("pass-two").await;
    held.lock().unwrap().0 = secret("pass-two");
    send(&producer, "two").await.unwrap();
    assert_eq!(held.lock().unwrap().1, reads, "without a refusal the secret is not read");
    until("the broker lists the connection", PATIENCE, async || (vhost.close_connections().await > 0).then_some(()))
        .await;
    send(&producer, "three").await.unwrap();
    assert_eq!(held.lock().unwrap().1, reads + 1);
    vhost.manage(Method::DELETE, &format!("users/{user}"), None).await;
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_blocked_broker_is_reported_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = RabbitmqNode::start(folder.path(), None).await.unwrap();
    let vhost = Vhost::at(node.amqp_url()).await;
    vhost.declare_queue("orders").await;
    let broker = broker(&vhost.url());
    let producer = producer(&broker, "rabbitmq:/orders");
    send(&producer, "before").await.unwrap();
    node.ctl(&["set_vm_memory_high_watermark", "0"]).await.unwrap();
    // The broker raises the alarm a moment later. It stops reading within a body that is larger than the socket
    // buffers, and continues once the alarm is cleared.
    let body = vec![0; 8 * 1024 * 1024];
    let large = |id: String| async {
        let properties = BasicProperties::default().with_message_id(id.into());
        let publication = Publication { exchange: "", routing_key: "orders", properties, body: &body };
        conclusion(&broker.publish(&publication, Instant::now() + AMPLE).await)
    };
    let mut sent = 0;
    let first = until("the broker takes no messages", PATIENCE, async || {
        sent += 1;
        Some(large(format!("large-{sent}")).await).filter(|conclusion| *conclusion != "stored")
    })
    .await;
    assert_eq!(first, "unknown", "the message may have been written");
    let first = format!("large-{sent}");
    for _ in 0..20 {
        let started = Instant::now();
        let result = send(&producer, "blocked").await;
        assert!(["not sent", "unknown"].contains(&conclusion(&result)), "{result:?}");
        assert!(result.unwrap_err().to_string().contains("blocks publishers"));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
    node.ctl(&["set_vm_memory_high_watermark", "0.9"]).await.unwrap();
    until("the broker takes messages again", PATIENCE, async || {
        (conclusion(&send_within(&producer, "after", Duration::from_secs(5)).await) == "stored").then_some(())
    })
    .await;
    let stored = vhost.drain("orders").await;
    assert!(ids(&stored).contains(&first.as_str()), "the message was stored: {:?}", ids(&stored));
    assert!(!ids(&stored).contains(&"blocked"), "the unwritten message was not stored: {:?}", ids(&stored));

    // The limit of the broker is lower than the product's; a channel gets it when it is opened.
    node.ctl(&["eval", "application:set_env(rabbit, max_message_size, 1000)."]).await.unwrap();
    node.ctl(&["close_all_connections", "--vhost", vhost.name(), "for a test"]).await.unwrap();
    let body = [0; 2_000];
    let large =
        Publication { exchange: "", routing_key: "orders", properties: BasicProperties::default(), body: &body };
    until("the limit holds", PATIENCE, async || {
        (conclusion(&broker.publish(&large, Instant::now() + AMPLE).await) == "refused: message").then_some(())
    })
    .await;
    send(&producer, "small").await.unwrap();
    drop(vhost);
    node.stop().await;
}
