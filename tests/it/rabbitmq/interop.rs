//! Interoperability with the tutorial programs of pika and amqplib (`tests/peers/rabbitmq`).

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use sluicegate_envelope::Envelope;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use super::fanout::Subscribers;
use crate::e2e::{deliver, github_payload, placed};
use crate::support::rabbitmq::PATIENCE;
use crate::support::root;

/// The variable with the folder of a Python that has pika.
const PYTHON_BIN: &str = "SLUICEGATE_PYTHON_BIN";
/// The variable with the folder of npm packages that has amqplib.
const NODE_MODULES: &str = "SLUICEGATE_NODE_MODULES";

/// The time within which a redelivery would arrive.
const QUIET_TIME: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ and pika, which ./tests/run brings"]
async fn a_plain_pika_consumer_reads_what_ingress_stored() {
    let all = Subscribers::start().await;
    let id = placed(&all.stack, "o-1", "c-1").await;
    let mut program = Program::start("receive.py", &[&all.vhost.url(), "archive", "1"]);
    let message = program.message().await;
    for (property, value) in [
        ("message_id", id.as_str()),
        ("type", "order.placed"),
        ("content_type", "application/cloudevents+json"),
        ("app_id", "sluicegate"),
        ("routing_key", "order.placed"),
    ] {
        assert_eq!(message[property], value, "{property} of {message}");
    }
    assert_eq!(message["delivery_mode"], 2, "the message is persistent");
    assert_eq!(message["headers"]["cloudEvents:id"], id.as_str(), "{message}");
    let envelope = Envelope::decode(message["body"].as_str().expect("text")).expect("a CloudEvent");
    assert_eq!((envelope.id(), envelope.subject()), (id.as_str(), Some("o-1")));
    let order: Value = serde_json::from_slice(&envelope.payload()).expect("the order as it was placed");
    assert_eq!(order["items"][0]["sku"], "tea");
    program.end().await;
    assert_eq!(all.vhost.ready("archive").await, 0, "the message was acknowledged");
    all.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ and pika, which ./tests/run brings"]
async fn a_consumer_handles_the_bytes_of_a_plain_pika_producer() {
    let all = Subscribers::start().await;
    Program::start("send.py", &[&all.vhost.url(), "stock-orders", "Order ID: 12345"]).end().await;
    let events = all
        .stack
        .until("the message is forwarded", PATIENCE, async || {
            Some(all.stock.received(|_| true)).filter(|events| !events.is_empty())
        })
        .await;
    let envelope = Envelope::decode(std::str::from_utf8(&events[0].body).expect("UTF-8")).expect("a CloudEvent");
    assert_eq!(&*envelope.payload(), b"Order ID: 12345");
    assert_eq!((envelope.event_type(), envelope.content_type()), ("rabbitmq.message", None));
    assert!(envelope.source().ends_with("/stock-orders"), "{}", envelope.source());

    // A message that the endpoint refuses is retried and becomes a dead letter.
    Program::start("send.py", &[&all.vhost.url(), "mail-orders", "poison"]).end().await;
    let dead = all.vhost.until_drained("mail-orders.dlq", 1).await;
    assert_eq!(dead[0].text(), "poison", "the bytes are unchanged");
    all.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ and amqplib, which ./tests/run brings"]
async fn a_plain_amqplib_subscriber_gets_what_a_route_publishes_to_a_fanout_exchange() {
    let all = Subscribers::start().await;
    let mut program = Program::start("receive_logs.js", &[&all.vhost.url(), "news"]);
    assert_eq!(program.line().await, " [*] Waiting for messages");
    let payload = github_payload("ping");
    let (status, body) = deliver(&all.stack, "ping", "d-1", &payload, &payload).await;
    assert_eq!(status, 202, "{body}\n{}", all.stack.printed());
    let id = body["id"].as_str().expect("an id");
    let message = program.message().await;
    assert_eq!((&message["messageId"], &message["type"]), (&body["id"], &Value::from("github.ping")), "{message}");
    let envelope = Envelope::decode(message["body"].as_str().expect("text")).expect("a CloudEvent");
    assert_eq!((envelope.id(), &*envelope.payload()), (id, &*payload), "byte for byte");
    // The other queues get the message as well.
    all.until_forwarded(&all.stock, id, 1).await;
    all.until_forwarded(&all.mail, id, 1).await;
    assert!(tokio::time::timeout(QUIET_TIME, program.line()).await.is_err(), "the message arrives once");
    all.stop().await;
}

/// A running program.
pub(super) struct Program {
    name: &'static str,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(super) fn start(name: &'static str, arguments: &[&str]) -> Self {
        let mut command = command(name, arguments);
        command.stdout(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Self { name, child, lines }
    }

    /// Returns the next line it prints.
    pub(super) async fn line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{} printed nothing within {PATIENCE:?}", self.name));
        line.expect("UTF-8").unwrap_or_else(|| panic!("{} ended; its errors are above", self.name))
    }

    /// Returns the next message it prints.
    pub(super) async fn message(&mut self) -> Value {
        let line = self.line().await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
    }

    /// Waits for the end of the program.
    pub(super) async fn end(mut self) {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{} does not end", self.name)).expect("it ran");
        assert!(status.success(), "{}: {status}; its errors are above", self.name);
    }
}

/// Returns the command of a program in `tests/peers/rabbitmq`.
pub(super) fn command(name: &str, arguments: &[&str]) -> Command {
    let mut command = match name.ends_with(".js") {
        true => Command::new("node"),
        false => Command::new(from_environment(PYTHON_BIN).join("python")),
    };
    if name.ends_with(".js") {
        command.env("NODE_PATH", from_environment(NODE_MODULES));
    }
    command.arg(root().join("tests/peers/rabbitmq").join(name)).args(arguments);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

fn from_environment(name: &str) -> PathBuf {
    let value = std::env::var(name).ok().filter(|value| !value.is_empty());
    value.unwrap_or_else(|| panic!("{name} is not set: ./tests/run makes it and sets it")).into()
}
