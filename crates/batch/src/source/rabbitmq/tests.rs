//! Events, the publishes that follow from them, and whether the batch is returned. The broker is a fake with scripted
//! results.

mod ordered;
mod reading;
mod settling;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sluicegate_queue::rabbitmq::types::AMQPValue;

use super::*;
use crate::batch_run::BatchRun;
use crate::report::Report;
use crate::status::Statuses;
use crate::{Consumer, Outcome};

/// Reads the messages of an event.
fn received(event: &str, vhost: Option<&str>) -> Option<Result<Vec<Received>, EventError>> {
    let received = |messages: Vec<EventMessage>| messages.into_iter().map(Received::new).collect();
    event::messages(event, vhost).map(|messages| messages.map(received))
}

const FIXTURES: [(&str, &str, usize); 4] = [
    ("guide", include_str!("../../../../../tests/events/rabbitmq-guide.json"), 1),
    ("null-priority", include_str!("../../../../../tests/events/rabbitmq-null-priority.json"), 3),
    ("queues", include_str!("../../../../../tests/events/rabbitmq-queues.json"), 4),
    ("damaged", include_str!("../../../../../tests/events/rabbitmq-damaged.json"), 9),
];

const REPORT: Report<'_> = Report { request_id: "r", xray: None, at: std::time::UNIX_EPOCH, emitter: None };

/// The result of a publish.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Confirmed,
    Nacked,
    Unroutable,
    Cut,
    Silent,
}

/// A broker on which every publish succeeds, except to queues with scripted results: one for each publish in turn, the
/// last one repeated.
#[derive(Default)]
struct Fake {
    fates: Mutex<HashMap<String, Vec<Fate>>>,
    confirmed: Mutex<Vec<Sent>>,
    asked: AtomicUsize,
    in_flight_max: AtomicUsize,
    in_flight: AtomicUsize,
}

struct Sent {
    queue: String,
    properties: BasicProperties,
    body: Vec<u8>,
}

impl Publish for Fake {
    async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<(), SendError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.in_flight_max.fetch_max(in_flight, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        assert_eq!(publication.exchange, "", "the default exchange reaches every queue and needs no binding");
        let reason = || "planned".to_owned();
        match self.fate(publication.routing_key) {
            Fate::Confirmed => {
                let (properties, body) = (publication.properties.clone(), publication.body.to_vec());
                let queue = publication.routing_key.to_owned();
                self.confirmed.lock().unwrap().push(Sent { queue, properties, body });
                Ok(())
            }
            Fate::Nacked => Err(SendError::NotSent { reason: reason() }),
            Fate::Unroutable => Err(SendError::Unroutable { reason: reason() }),
            Fate::Cut => Err(SendError::Unknown { reason: reason() }),
            Fate::Silent => {
                tokio::time::sleep_until(deadline).await;
                Err(SendError::Unknown { reason: reason() })
            }
        }
    }

    async fn connect(&self, _: Instant) -> Result<(), SendError> {
        Ok(())
    }
}

impl Fake {
    fn fate(&self, queue: &str) -> Fate {
        let mut fates = self.fates.lock().unwrap();
        match fates.get_mut(queue) {
            Some(fates) if fates.len() > 1 => fates.remove(0),
            Some(fates) => fates[0],
            None => Fate::Confirmed,
        }
    }
}

impl Sent {
    fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref().unwrap().inner().get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(queue_header::text)
    }

    fn count(&self) -> Option<u32> {
        self.header(dead_letter::RECEIVE_COUNT).and_then(queue_header::count)
    }

    fn id(&self) -> &str {
        self.properties.message_id().as_ref().unwrap().as_str()
    }
}

/// Handlers that act by the event's type; `slow` takes four of the ten seconds, on the paused clock of every test. They
/// record their deliveries.
fn consumer(handled: &Arc<Mutex<Vec<Arc<crate::Delivery>>>>) -> Consumer {
    let handled = Arc::clone(handled);
    let builder = Consumer::builder().otherwise(move |delivery: Arc<crate::Delivery>| {
        handled.lock().unwrap().push(Arc::clone(&delivery));
        async move {
            match delivery.envelope().event_type() {
                "retry" => Outcome::Retry,
                "after" => Outcome::RetryAfter(Duration::from_millis(5_001)),
                "late" => Outcome::RetryAfter(Duration::MAX),
                "reject" => Outcome::reject("card_bad", "bad card"),
                "panic" => panic!("planned"),
                "hang" => std::future::pending().await,
                "slow" => {
                    tokio::time::sleep(Duration::from_secs(4)).await;
                    Outcome::Done
                }
                _ => Outcome::Done,
            }
        }
    });
    consumer_of(builder)
}

/// Builds the consumer, with delays of at most one second.
fn consumer_of(builder: crate::ConsumerBuilder) -> Consumer {
    let builder = builder.retry(crate::RetryPolicy {
        base: Duration::from_secs(1),
        cap: Duration::from_secs(1),
        ..Default::default()
    });
    #[cfg(feature = "sqs")]
    let aws = |name: &str| (!name.starts_with("AWS_ENDPOINT")).then(|| "x".to_owned());
    #[cfg(feature = "sqs")]
    let builder = builder.aws_environment(crate::AwsEnvironment::read(aws).unwrap());
    builder.build().unwrap()
}

fn source(fake: Fake) -> RabbitmqSource<Fake> {
    let ordered = OrderedQueues::new(vec!["ordered".to_owned()]);
    RabbitmqSource { broker: fake, vhost: None, retry_delays: RetryDelays::default(), receive_count_max: 3, ordered }
}

struct Ran {
    answer: Result<BatchResponse, Unsettled>,
    fake: Fake,
    handled: Vec<Arc<crate::Delivery>>,
    took: Duration,
}

impl Ran {
    /// The queues of the confirmed copies, in their order.
    fn queues(&self) -> Vec<String> {
        self.fake.confirmed.lock().unwrap().iter().map(|sent| sent.queue.clone()).collect()
    }
}

/// Handles an event with a new source.
async fn run(event: &Value, fates: &[(&str, &[Fate])]) -> Ran {
    let now = Instant::now();
    let fates = fates.iter().map(|(queue, fates)| ((*queue).to_owned(), fates.to_vec())).collect();
    let source = source(Fake { fates: Mutex::new(fates), ..Fake::default() });
    let handled = Arc::default();
    let answer = invoke(&source, &consumer(&handled), event).await;
    let handled = std::mem::take(&mut *handled.lock().unwrap());
    Ran { answer, fake: source.broker, handled, took: now.elapsed() }
}

/// Handles an event, with ten seconds for the handlers and one more to settle.
async fn invoke(source: &RabbitmqSource<Fake>, consumer: &Consumer, event: &Value) -> Result<BatchResponse, Unsettled> {
    settle(source, consumer, event, None).await.1
}

/// As [`invoke`], with the settlements, and with the statuses of messages noted.
async fn settle(
    source: &RabbitmqSource<Fake>,
    consumer: &Consumer,
    event: &Value,
    statuses: Option<&Statuses<'_>>,
) -> (Vec<Settlement>, Result<BatchResponse, Unsettled>) {
    let event = event.to_string();
    let received = received(&event, None).expect("an event of RabbitMQ").expect("messages that can be distinguished");
    let now = Instant::now();
    let after = |ms| now + Duration::from_millis(ms);
    let deadlines = Deadlines::at(after(10_000), after(10_700), after(11_000));
    let batch = source.batch(received, deadlines).expect("any virtual host");
    let run = BatchRun { statuses, ..consumer.batch_run(deadlines, REPORT) };
    let settlements = run.settle(&batch, &batch.messages()).await;
    let answer = batch.respond(&settlements);
    (settlements, answer)
}

/// A raw message `id` of this type.
fn message(event_type: &str, id: &str) -> Value {
    let properties = json!({ "type": event_type, "messageId": id });
    json!({ "basicProperties": properties, "redelivered": false, "data": STANDARD.encode(format!("body of {id}")) })
}

/// An event with these messages of the queue `q`.
fn batch(messages: &[Value]) -> Value {
    json!({ "eventSource": "aws:rmq", "rmqMessagesByQueue": { "q::/": messages } })
}
