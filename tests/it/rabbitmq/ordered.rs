//! The consumer runtime on a queue with a single active consumer of a real broker, behind the local mapping.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambda_http::lambda_runtime::LambdaEvent;
use lapin::BasicProperties;
use serde_json::Value;
use serde_json::value::RawValue;
use sluicegate_batch::{Consumer, Delivery, Outcome, RetryPolicy};
use sluicegate_lambda_emulator::{BrokerEndpoint, Invocation, Invoke, RabbitmqMapping, RabbitmqMappingSpec};
use sluicegate_queue::rabbitmq::{Broker, BrokerConfig};
use sluicegate_topology::{Address, Topology, apply};
use tokio::sync::{mpsc, oneshot};

use crate::support::rabbitmq::{PATIENCE, Vhost, until};

const QUEUE: &str = "payments";
const RECEIVE_COUNT_MAX: u32 = 2;
/// A hanging handler uses up all of it except the last quarter, in which a busy machine dead-letters its message.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(4);

/// The bodies that the handler was called with, in order.
type Called = Arc<Mutex<Vec<String>>>;

/// The events of a function, and where each is answered.
type Events = mpsc::UnboundedReceiver<(bytes::Bytes, oneshot::Sender<Invocation>)>;

/// A function whose events [`serve`] handles.
#[derive(Clone)]
struct Function(mpsc::UnboundedSender<(bytes::Bytes, oneshot::Sender<Invocation>)>);

impl Invoke for Function {
    async fn invoke(&self, event: bytes::Bytes) -> Invocation {
        let (answer, answered) = oneshot::channel();
        self.0.send((event, answer)).expect("the test runs");
        answered.await.expect("an answer")
    }
}

/// Handles every event with the consumer.
async fn serve(consumer: &Consumer, mut events: Events) {
    while let Some((event, answer)) = events.recv().await {
        let event = RawValue::from_string(String::from_utf8(event.to_vec()).expect("UTF-8")).expect("JSON");
        let handled = consumer.handle(LambdaEvent::new(event, crate::support::context(FUNCTION_TIMEOUT))).await;
        let invocation = match handled {
            Ok(_) => Invocation::Response(bytes::Bytes::from_static(b"null")),
            Err(error) => Invocation::FunctionError { payload: error.to_string().into_bytes().into() },
        };
        drop(answer.send(invocation));
    }
}

fn consumer(url: &str, called: &Called) -> Consumer {
    let (url, called) = (url.to_owned(), Arc::clone(called));
    let config = BrokerConfig::from_env(|name| (name == "RABBITMQ_URL").then(|| url.clone())).expect("sound");
    let aws = |name: &str| (!name.starts_with("AWS_ENDPOINT")).then(|| "x".to_owned());
    let short = Duration::from_millis(10);
    Consumer::builder()
        .otherwise(move |delivery: Arc<Delivery>| {
            let body = String::from_utf8(delivery.envelope().payload().to_vec()).expect("text");
            called.lock().expect("no panic").push(body.clone());
            async move {
                match body.split(' ').next() {
                    Some("fails") => Outcome::Retry,
                    Some("hangs") => std::future::pending().await,
                    Some("rejected") => Outcome::reject("card_bad", "bad card"),
                    _ => Outcome::Done,
                }
            }
        })
        .retry(RetryPolicy { base: short, cap: short, ..Default::default() })
        .aws_environment(sluicegate_batch::AwsEnvironment::read(aws).expect("sound"))
        .broker(Broker::new(config.expect("set")))
        .receive_count_max(RECEIVE_COUNT_MAX)
        .ordered_queues([QUEUE])
        .build()
        .expect("a consumer")
}

/// Creates the queue.
async fn queue() -> Vhost {
    let vhost = Vhost::create().await;
    let file = "queues: { payments: { single-active-consumer: true, retry: [1] } }";
    let topology = Topology::parse("topology.yaml", file).expect("a sound file");
    apply(&topology, &Address::parse(&vhost.url()).expect("an address")).await.expect("applied");
    vhost
}

/// Returns a mapping of the queue to a function with these events.
fn mapping(vhost: &Vhost, batching_window: Duration) -> (RabbitmqMapping, Events) {
    let spec = RabbitmqMappingSpec {
        function: "F".into(),
        queue: QUEUE.into(),
        endpoint: BrokerEndpoint::parse(&vhost.url()).expect("a URL"),
        broker_arn: "arn:aws:mq:us-east-1:000000000000:broker:local:b-local".into(),
        batch_size: 100,
        batching_window,
        filters: Vec::new(),
    };
    let (sender, events) = mpsc::unbounded_channel();
    (RabbitmqMapping::start(spec, Function(sender), Arc::new(|_| ())).expect("no filters"), events)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_queue_with_a_single_active_consumer_keeps_its_order_when_messages_fail() {
    let vhost = queue().await;
    let publish = async |body: &str| vhost.publish("", QUEUE, BasicProperties::default(), body.as_bytes()).await;
    for body in ["done 1", "fails 2", "done 3", "hangs 4", "rejected 5", "done 6"] {
        publish(body).await;
    }

    let called = Called::default();
    // Longer than a busy machine takes to return a batch, which then comes again with message 7.
    let (mapping, events) = mapping(&vhost, Duration::from_secs(4));
    let consumer = consumer(&vhost.url(), &called);
    let so_far = || called.lock().expect("no panic").clone();
    let test = async {
        until("message 4 hangs", PATIENCE, async || so_far().contains(&"hangs 4".to_owned()).then_some(())).await;
        // The mapping fetches it while the first batch is handled, and that batch is returned.
        publish("done 7").await;
        until("message 7 is handled", PATIENCE, async || so_far().contains(&"done 7".to_owned()).then_some(())).await;
        mapping.stop().await;
    };
    // The mapping ends with the test, and with it the events.
    tokio::join!(test, serve(&consumer, events));

    let expected = ["done 1", "fails 2", "fails 2", "done 3", "hangs 4", "hangs 4", "rejected 5", "done 6", "done 7"];
    assert_eq!(so_far(), expected, "in order, and none again after it was settled");
    let dead = vhost.until_drained("payments.dlq", 3).await;
    let shown: Vec<_> = dead.iter().map(|dead| (dead.text(), dead.header_text("sluicegate-reason"))).collect();
    assert_eq!(
        shown,
        [
            ("fails 2", Some("receives exhausted after 2: the handler returned a retry")),
            ("hangs 4", Some("receives exhausted after 2: the handler was cancelled at the deadline")),
            ("rejected 5", Some("bad card")),
        ]
    );
    assert_eq!((vhost.ready(QUEUE).await, vhost.ready("payments.retry.1s").await), (0, 0));
    vhost.delete().await;
}

/// Returns the bodies of an event, in its order.
fn bodies(event: &[u8]) -> Vec<String> {
    let event: Value = serde_json::from_slice(event).expect("JSON");
    let mut queues = event["rmqMessagesByQueue"].as_object().expect("queues").values();
    let records = queues.next().and_then(Value::as_array);
    let body = |record: &Value| STANDARD.decode(record["data"].as_str().expect("a text")).expect("Base64");
    records.expect("records").iter().map(|record| String::from_utf8(body(record)).expect("text")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_new_environment_handles_a_returned_batch_in_order() {
    let vhost = queue().await;
    let publish = async |body: &str| vhost.publish("", QUEUE, BasicProperties::default(), body.as_bytes()).await;
    publish("done 1").await;
    publish("done 2").await;
    let (mapping, mut events) = mapping(&vhost, Duration::from_secs(2));
    // Two environments end before they have handled anything. During the first batch the mapping fetches one more.
    for expected in [["done 1", "done 2"].as_slice(), &["done 3", "done 1", "done 2"]] {
        let (event, answer) = events.recv().await.expect("an event");
        assert_eq!(bodies(&event), expected);
        if expected.len() == 2 {
            publish("done 3").await;
            until("message 3 is fetched", PATIENCE, async || (vhost.ready(QUEUE).await == 0).then_some(())).await;
        }
        drop(answer.send(Invocation::FunctionError { payload: bytes::Bytes::from_static(b"killed") }));
    }
    let called = Called::default();
    let consumer = consumer(&vhost.url(), &called);
    let so_far = || called.lock().expect("no panic").clone();
    let test = async {
        until("every message is handled", PATIENCE, async || (so_far().len() == 3).then_some(())).await;
        mapping.stop().await;
    };
    tokio::join!(test, serve(&consumer, events));
    assert_eq!(so_far(), ["done 1", "done 2", "done 3"]);
    vhost.delete().await;
}
