//! The event source mapping for RabbitMQ against a real broker, with a simulated function.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::{
    BrokerEndpoint, Invocation, Invoke, MappingEvent, RabbitmqEvent, RabbitmqMapping, RabbitmqMappingSpec,
};
use sluicegate_local::RabbitmqNode;
use tokio::sync::Notify;

use crate::support::rabbitmq::{PATIENCE, Vhost, until};

const QUEUE: &str = "orders";

type Answer = Pin<Box<dyn Future<Output = Invocation> + Send>>;

/// A function with scripted answers, which depend on the event and the number of earlier invocations.
#[derive(Clone)]
struct Script {
    answer: Arc<dyn Fn(Value, usize) -> Answer + Send + Sync>,
    events: Arc<Mutex<Vec<Value>>>,
}

impl Script {
    fn new<F: Future<Output = Invocation> + Send + 'static>(
        answer: impl Fn(Value, usize) -> F + Send + Sync + 'static,
    ) -> Self {
        Self { answer: Arc::new(move |event, before| Box::pin(answer(event, before))), events: Arc::default() }
    }

    fn events(&self) -> Vec<Value> {
        self.events.lock().unwrap().clone()
    }

    /// Returns a function that succeeds; its first invocation waits for the notification.
    fn held_at_first() -> (Self, Arc<Notify>) {
        let go_on = Arc::new(Notify::new());
        let held = Arc::clone(&go_on);
        let script = Self::new(move |_, before| {
            let held = Arc::clone(&held);
            async move {
                if before == 0 {
                    held.notified().await;
                }
                success()
            }
        });
        (script, go_on)
    }

    /// Returns the messages of each invocation: data and redelivered flag.
    fn batches(&self) -> Vec<Vec<(String, bool)>> {
        self.events().iter().map(records).collect()
    }
}

impl Invoke for Script {
    async fn invoke(&self, event: bytes::Bytes) -> Invocation {
        let event: Value = serde_json::from_slice(&event).expect("an event is JSON");
        let before = {
            let mut events = self.events.lock().unwrap();
            events.push(event.clone());
            events.len() - 1
        };
        (self.answer)(event, before).await
    }
}

fn success() -> Invocation {
    Invocation::Response(bytes::Bytes::from_static(b"null"))
}

fn failure() -> Invocation {
    Invocation::FunctionError { payload: bytes::Bytes::from_static(b"{\"errorMessage\":\"no\"}") }
}

fn records(event: &Value) -> Vec<(String, bool)> {
    let queues = event["rmqMessagesByQueue"].as_object().expect("a map");
    let records = queues.values().flat_map(|records| records.as_array().expect("a list"));
    let record = |record: &Value| {
        let data = STANDARD.decode(record["data"].as_str().expect("data")).expect("base64");
        (String::from_utf8(data).expect("text"), record["redelivered"].as_bool().expect("a flag"))
    };
    records.map(record).collect()
}

/// A queue on a new virtual host, and the events of its mappings.
struct Bench {
    vhost: Vhost,
    events: Arc<Mutex<Vec<RabbitmqEvent>>>,
}

impl Bench {
    async fn new() -> Self {
        let bench = Self { vhost: Vhost::create().await, events: Arc::default() };
        bench.vhost.declare_queue(QUEUE).await;
        bench
    }

    fn spec(&self) -> RabbitmqMappingSpec {
        RabbitmqMappingSpec {
            function: "F".into(),
            queue: QUEUE.into(),
            endpoint: BrokerEndpoint::parse(&self.vhost.url()).expect("a URL"),
            broker_arn: "arn:aws:mq:us-east-1:000000000000:broker:local:b-local".into(),
            batch_size: 100,
            batching_window: Duration::from_millis(500),
            filters: Vec::new(),
        }
    }

    fn start(&self, spec: RabbitmqMappingSpec, function: &Script) -> RabbitmqMapping {
        let events = Arc::clone(&self.events);
        let observer = Arc::new(move |event: &_| events.lock().unwrap().push(Clone::clone(event)));
        RabbitmqMapping::start(spec, function.clone(), observer).expect("the filters are sound")
    }

    async fn publish(&self, body: &str) {
        self.vhost.publish("", QUEUE, BasicProperties::default(), body.as_bytes()).await;
    }

    /// Returns the recorded steps: name and body.
    fn steps(&self) -> Vec<(&'static str, String)> {
        let events = self.events.lock().unwrap();
        let step = |event: &RabbitmqEvent| {
            let RabbitmqEvent::Message(event) = event else { return None };
            let name = match event {
                MappingEvent::Delivered(_) => "delivered",
                MappingEvent::Done(_) => "done",
                MappingEvent::Returned(_) => "returned",
                MappingEvent::FilteredOut(_) => "filtered",
                MappingEvent::BatchFailed { .. } => "failed",
                MappingEvent::DeadLettered { .. } => "dead-lettered",
                MappingEvent::Dropped { .. } => "dropped",
            };
            Some((name, event.message().body.to_string()))
        };
        events.iter().filter_map(step).collect()
    }

    /// Returns how often a mapping has started to consume.
    fn consuming(&self) -> usize {
        self.events.lock().unwrap().iter().filter(|event| **event == RabbitmqEvent::Consuming).count()
    }

    /// Makes the broker close the connection of the mapping, once the connection is listed.
    async fn cut(&self) {
        until("the connection is listed and cut", PATIENCE, async || {
            (self.vhost.close_connections().await > 0).then_some(())
        })
        .await;
    }

    async fn until_event(&self, name: &str, count: usize) {
        let started = Instant::now();
        until(&format!("{count} are {name}"), PATIENCE * 2, async || {
            assert!(started.elapsed() < PATIENCE, "not yet {count} {name}: {:#?}", self.events.lock().unwrap());
            (self.steps().iter().filter(|(step, _)| *step == name).count() >= count).then_some(())
        })
        .await;
    }

    /// Stops the mapping and checks that the queue is empty.
    async fn end_empty(self, mapping: RabbitmqMapping) {
        mapping.stop().await;
        assert_eq!(self.vhost.ready(QUEUE).await, 0);
        self.vhost.delete().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_message_arrives_in_the_event_format_of_lambda() {
    let bench = Bench::new().await;
    let mut headers = FieldTable::default();
    headers.insert("name".into(), AMQPValue::LongString("é".into()));
    headers.insert("n".into(), AMQPValue::LongInt(7));
    let properties = BasicProperties::default()
        .with_message_id("m-1".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_expiration("60000".into())
        .with_timestamp(2_021);
    bench.vhost.publish("", QUEUE, properties, b"{}").await;
    let function = Script::new(|_, _| async { success() });
    let mapping = bench.start(bench.spec(), &function);
    bench.until_event("done", 1).await;
    let expected = json!({
        "eventSource": "aws:rmq",
        "eventSourceArn": "arn:aws:mq:us-east-1:000000000000:broker:local:b-local",
        "rmqMessagesByQueue": { format!("orders::{}", bench.vhost.name()): [{
            "basicProperties": {
                "contentType": null, "contentEncoding": null,
                "headers": { "name": { "bytes": [-61, -87] }, "n": 7 },
                "deliveryMode": 2, "priority": null, "correlationId": null, "replyTo": null, "expiration": "60000",
                "messageId": "m-1", "timestamp": "Jan 1, 1970, 12:33:41 AM", "type": null, "userId": null, "appId": null,
                "clusterId": null, "bodySize": 2,
            },
            "redelivered": false,
            "data": "e30=",
        }] },
    });
    assert_eq!(function.events(), [expected]);
    bench.end_empty(mapping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_failed_batch_is_redelivered_whole_until_it_succeeds() {
    let bench = Bench::new().await;
    for body in ["a", "b", "c"] {
        bench.publish(body).await;
    }
    let outcomes = [failure(), Invocation::TimedOut, Invocation::Throttled, Invocation::Throttled, success()];
    let function = Script::new(move |_, before| {
        let outcome = outcomes.get(before).cloned().unwrap_or_else(success);
        async move { outcome }
    });
    let mapping = bench.start(bench.spec(), &function);
    bench.until_event("done", 3).await;
    let batch = |redelivered| ["a", "b", "c"].map(|body| (body.to_owned(), redelivered)).to_vec();
    // A throttled batch is kept by the mapping; a failed or timed-out one is returned to the queue.
    assert_eq!(function.batches(), [batch(false), batch(true), batch(true), batch(true), batch(true)]);
    let names: Vec<_> = bench.steps().iter().map(|(name, _)| *name).collect();
    let expected = ["delivered", "failed", "delivered", "failed", "delivered", "done"];
    assert_eq!(names, expected.iter().flat_map(|name| [*name; 3]).collect::<Vec<_>>());
    bench.end_empty(mapping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn batches_end_by_size_window_or_payload_and_are_invoked_one_at_a_time() {
    let bench = Bench::new().await;
    for number in 0..7 {
        bench.publish(&number.to_string()).await;
    }
    let running = Arc::new(Mutex::new((0, 0)));
    let function = Script::new({
        let running = Arc::clone(&running);
        move |_, _| {
            let running = Arc::clone(&running);
            async move {
                {
                    let mut running = running.lock().unwrap();
                    running.0 += 1;
                    running.1 = running.1.max(running.0);
                }
                tokio::task::yield_now().await;
                running.lock().unwrap().0 -= 1;
                success()
            }
        }
    });
    let mapping = bench.start(RabbitmqMappingSpec { batch_size: 3, ..bench.spec() }, &function);
    bench.until_event("done", 7).await;
    mapping.stop().await;
    let sizes = |from: usize| function.batches()[from..].iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!((sizes(0), running.lock().unwrap().1), (vec![3, 3, 1], 1));

    // The mapping waits for the window, which starts with the first message.
    let spec = RabbitmqMappingSpec { batching_window: Duration::from_secs(1), ..bench.spec() };
    let mapping = bench.start(spec, &function);
    until("it consumes", PATIENCE, async || (bench.consuming() == 2).then_some(())).await;
    let started = Instant::now();
    bench.publish("first").await;
    bench.publish("second").await;
    bench.until_event("done", 9).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    mapping.stop().await;
    assert_eq!(sizes(3), [2]);

    // Three messages of 2 MB exceed 6 MB as base64, and a message of 5 MB exceeds the event size limit.
    let large = "x".repeat(2_000_000);
    bench.publish(&large).await;
    bench.publish(&"y".repeat(5_000_000)).await;
    bench.publish(&large).await;
    bench.publish(&large).await;
    let mapping = bench.start(bench.spec(), &function);
    bench.until_event("done", 12).await;
    assert_eq!(sizes(4), [2, 1]);
    assert_eq!(bench.steps().iter().filter(|(name, body)| *name == "dropped" && body.starts_with('y')).count(), 1);
    bench.end_empty(mapping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn messages_that_match_no_filter_are_acknowledged_without_an_invocation() {
    let bench = Bench::new().await;
    for body in ["{\"kind\":\"a\"}", "{\"kind\":\"b\"}", "plain"] {
        bench.publish(body).await;
    }
    let function = Script::new(|_, _| async { success() });
    let filters = vec![json!({ "data": { "kind": ["b"] } })];
    let mapping = bench.start(RabbitmqMappingSpec { filters, ..bench.spec() }, &function);
    bench.until_event("filtered", 2).await;
    bench.until_event("done", 1).await;
    assert_eq!(function.batches(), [[("{\"kind\":\"b\"}".to_owned(), false)]]);
    bench.end_empty(mapping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_is_acknowledged_before_the_function_has_succeeded() {
    let bench = Bench::new().await;
    bench.publish("a").await;
    bench.publish("b").await;
    // The mapping is dropped during an invocation.
    let function = Script::new(|_, _| async { std::future::pending().await });
    let mapping = bench.start(bench.spec(), &function);
    bench.until_event("delivered", 2).await;
    drop(mapping);
    bench.vhost.until_ready(QUEUE, 2).await;

    // It is stopped during an invocation, which completes; later messages stay in the queue.
    let go_on = Arc::new(Notify::new());
    let function = Script::new({
        let go_on = Arc::clone(&go_on);
        move |_, _| {
            let go_on = Arc::clone(&go_on);
            async move {
                go_on.notified().await;
                success()
            }
        }
    });
    let mapping = bench.start(RabbitmqMappingSpec { batch_size: 2, ..bench.spec() }, &function);
    bench.until_event("delivered", 4).await;
    bench.publish("c").await;
    let stopping = tokio::spawn(mapping.stop());
    go_on.notify_one();
    stopping.await.unwrap();
    bench.until_event("done", 2).await;
    assert_eq!(function.batches(), [["a", "b"].map(|body| (body.to_owned(), true))]);
    bench.vhost.until_ready(QUEUE, 1).await;
    bench.vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_cut_connection_is_reopened_and_the_batch_is_redelivered() {
    let bench = Bench::new().await;
    bench.publish("a").await;
    let (function, go_on) = Script::held_at_first();
    let mapping = bench.start(bench.spec(), &function);
    bench.until_event("delivered", 1).await;
    // The connection is cut during an invocation, whose success cannot be acknowledged.
    bench.cut().await;
    bench.vhost.until_ready(QUEUE, 1).await;
    go_on.notify_one();
    bench.until_event("delivered", 2).await;
    until("the second delivery is done", PATIENCE, async || {
        let names: Vec<_> = bench.steps().iter().map(|(name, _)| *name).collect();
        // An acknowledgement that was sent before the client noticed the cut is lost, and its batch seems done.
        matches!(names[..], ["delivered", "failed" | "done", "delivered", "done"]).then_some(())
    })
    .await;
    assert_eq!(function.batches(), [[("a".to_owned(), false)], [("a".to_owned(), true)]]);
    // The connection is cut while the mapping waits for messages.
    bench.cut().await;
    bench.publish("b").await;
    bench.until_event("delivered", 3).await;
    bench.end_empty(mapping).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_missing_queue_is_reported_once_and_consumed_when_it_exists() {
    let bench = Bench::new().await;
    bench.vhost.delete_queue(QUEUE).await;
    let function = Script::new(|_, _| async { success() });
    let mapping = bench.start(bench.spec(), &function);
    let waits = || {
        let events = bench.events.lock().unwrap();
        events.iter().filter(|event| matches!(event, RabbitmqEvent::Waiting { .. })).cloned().collect::<Vec<_>>()
    };
    until("it waits", PATIENCE, async || (!waits().is_empty()).then_some(())).await;
    bench.vhost.declare_queue(QUEUE).await;
    bench.publish("a").await;
    bench.until_event("done", 1).await;
    let events = waits();
    assert!(
        matches!(&events[..], [RabbitmqEvent::Waiting { reason }] if reason.contains("no queue 'orders'")),
        "{events:?}"
    );
    // A queue deleted while it is consumed is reported with another reason.
    bench.vhost.delete_queue(QUEUE).await;
    until("it waits again", PATIENCE, async || (waits().len() > 1).then_some(())).await;
    mapping.stop().await;
    bench.vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn after_a_kill_of_the_broker_the_mapping_continues_and_no_message_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = RabbitmqNode::start(folder.path(), None).await.expect("a private node");
    let bench = Bench { vhost: Vhost::at(node.amqp_url()).await, events: Arc::default() };
    bench.vhost.declare_queue(QUEUE).await;
    for body in ["a", "b"] {
        bench.publish(body).await;
    }
    // The broker is killed during the invocation with both messages.
    let (function, go_on) = Script::held_at_first();
    // A broker killed within half a second of a declaration loses the queue of the messages on its disk, so the
    // batching window is longer.
    let spec = RabbitmqMappingSpec { batching_window: Duration::from_secs(2), ..bench.spec() };
    let mapping = bench.start(spec, &function);
    bench.until_event("delivered", 2).await;
    node.kill().await;
    go_on.notify_one();
    bench.until_event("failed", 2).await;
    node.restart().await.expect("it starts again");
    bench.until_event("done", 2).await;
    let data = |batch: &[(String, bool)]| batch.iter().map(|(data, _)| data.clone()).collect::<Vec<_>>();
    assert_eq!(function.batches().iter().map(|batch| data(batch)).collect::<Vec<_>>(), [["a", "b"], ["a", "b"]]);
    bench.end_empty(mapping).await;
    node.kill().await;
}
