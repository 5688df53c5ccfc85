//! A tracer of all messages published to a virtual host, based on RabbitMQ's firehose tracer.
//!
//! Consuming from a retry or dead-letter queue would change it, and no queue can be bound to the default exchange.
//! While tracing is on for the virtual host, the broker copies every publish to the exchange `amq.rabbitmq.trace`; an
//! exclusive queue of the tracer receives these copies. Tracing is switched on when the tracer starts, again after the
//! broker returns, and off when it stops, unless it was on before. Only publishes of clients are traced: messages that
//! the broker moves (expiry, its own dead-lettering) are missing, and a message returned as unroutable looks like a
//! stored one.
//! <https://www.rabbitmq.com/docs/firehose>

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::{BrokerEndpoint, ConnectError};
use sluicegate_queue::dead_letter::{CODE, REASON, RECEIVE_COUNT, REDRIVES};
use sluicegate_topology::{Management, ManagementError};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The exchange of the copies.
const EXCHANGE: &str = "amq.rabbitmq.trace";
/// The binding key of every publish, to any exchange.
const PUBLISHED: &str = "publish.#";

/// The pause before a reconnect.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// Limit for switching tracing off, so that a hung broker does not delay the end.
const OFF_TIME_MAX: Duration = Duration::from_secs(5);
/// Limit for declaring the queue of copies.
const FOLLOW_TIME_MAX: Duration = Duration::from_secs(5);
/// Limit for waiting for a mark; if it does not arrive, publishes may be recorded late.
const MARK_TIME_MAX: Duration = Duration::from_secs(1);

/// Why the publishes of a virtual host are not traced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TracerError {
    /// Tracing is switched on by the management API.
    #[error("the broker has no management API")]
    NoManagement,
    /// The management API cannot be reached or refuses.
    #[error(transparent)]
    Management(#[from] ManagementError),
    /// The broker cannot be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker does not declare the queue of copies.
    #[error("no answer within {} s", FOLLOW_TIME_MAX.as_secs())]
    NoAnswer,
    /// The broker refuses the queue of copies.
    #[error(transparent)]
    Amqp(#[from] lapin::Error),
}

/// A publish of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// The exchange; empty for the default one.
    pub exchange: String,
    /// The queues it was routed to; empty if it was returned or dropped.
    pub queues: Vec<String>,
    /// The property `message_id`; empty if not set.
    pub message_id: String,
    /// The body decoded from UTF-8.
    pub body: String,
    /// The header `sluicegate-reason`: the reason of its dead-lettering.
    pub reason: Option<String>,
    /// The header `sluicegate-code`: the code of its rejection.
    pub code: Option<String>,
    /// Whether a consumer republished it, as its header `sluicegate-receive-count` shows.
    pub is_copy: bool,
    /// Whether it was redriven, as its header `sluicegate-redrives` shows, and not republished since.
    pub is_redriven: bool,
}

/// Receives each publish. It must return quickly.
pub(crate) type PublishedObserver = Arc<dyn Fn(&Published) + Send + Sync>;

/// A running tracer. Dropping it stops it but leaves tracing on.
pub(crate) struct Tracer {
    shared: Arc<Shared>,
    was_on: bool,
    _task: JoinSet<()>,
}

struct Shared {
    endpoint: BrokerEndpoint,
    management: Management,
    observer: PublishedObserver,
    marks: Mutex<Marks>,
    /// The number of the last mark received.
    seen: watch::Sender<u64>,
}

#[derive(Default)]
struct Marks {
    /// The channel and the queue of marks, while connected.
    channel: Option<(Channel, ShortString)>,
    /// The number of marks so far.
    count: u64,
}

impl Tracer {
    /// Switches tracing on and receives the copies.
    ///
    /// # Errors
    /// The broker refuses or cannot be reached.
    pub(crate) async fn start(endpoint: BrokerEndpoint, observer: PublishedObserver) -> Result<Self, TracerError> {
        let management = endpoint.management().cloned().ok_or(TracerError::NoManagement)?;
        let shared =
            Arc::new(Shared { endpoint, management, observer, marks: Mutex::default(), seen: watch::Sender::new(0) });
        let was_on = shared.switch(true).await?;
        let session = shared.connect().await?;
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(&shared).run(session));
        Ok(Self { shared, was_on, _task: task })
    }

    /// Waits until every earlier publish has been observed, at most a second.
    pub(crate) async fn catch_up(&self) {
        let _ = timeout(MARK_TIME_MAX, self.shared.mark()).await;
    }

    /// Switches tracing off again.
    pub(crate) async fn stop(self) {
        if !self.was_on {
            let _ = timeout(OFF_TIME_MAX, self.shared.switch(false)).await;
        }
    }
}

impl Shared {
    /// Switches tracing on or off; returns the previous state. The other settings of the virtual host stay.
    async fn switch(&self, on: bool) -> Result<bool, ManagementError> {
        let path = ["vhosts", self.endpoint.vhost()];
        let before: Value = self.management.get(&path, "").await?;
        let was_on = before["tracing"] == true;
        if was_on != on {
            let mut body = json!({ "tracing": on });
            for name in ["description", "tags", "default_queue_type"] {
                let value = &before[name];
                if name == "tags" && value.is_array() {
                    let tags = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                    body[name] = tags.collect::<Vec<_>>().join(",").into();
                } else if value.as_str().is_some_and(|text| text != "undefined") {
                    body[name] = value.clone();
                }
            }
            self.management.put(&path, &body).await?;
        }
        Ok(was_on)
    }

    async fn run(self: Arc<Self>, mut session: (Connection, Consumer)) {
        loop {
            while let Some(Ok(delivery)) = session.1.next().await {
                self.receive(&delivery);
            }
            self.marks.lock().await.channel = None;
            session = loop {
                // A restarted broker has tracing off.
                if self.switch(true).await.is_ok()
                    && let Ok(session) = self.connect().await
                {
                    break session;
                }
                sleep(RECONNECT_PAUSE).await;
            };
        }
    }

    async fn connect(&self) -> Result<(Connection, Consumer), TracerError> {
        let connection = self.endpoint.connect("message timelines").await?;
        let following = timeout(FOLLOW_TIME_MAX, self.follow(&connection)).await;
        let (channel, consumer) = following.map_err(|_| TracerError::NoAnswer)??;
        self.marks.lock().await.channel = Some((channel, consumer.queue()));
        Ok((connection, consumer))
    }

    async fn follow(&self, connection: &Connection) -> lapin::Result<(Channel, Consumer)> {
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        let queue = channel.queue_declare("".into(), options, arguments).await?.name().clone();
        let (key, options) = (PUBLISHED.into(), QueueBindOptions::default());
        channel.queue_bind(queue.clone(), EXCHANGE.into(), key, options, FieldTable::default()).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;
        Ok((channel, consumer))
    }

    /// Publishes a mark behind the copies in the queue, and waits until it is received.
    async fn mark(&self) {
        let mut seen = self.seen.subscribe();
        let number = {
            let mut marks = self.marks.lock().await;
            marks.count += 1;
            let Some((channel, queue)) = marks.channel.clone() else { return };
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            let body = marks.count.to_string();
            if channel.basic_publish("".into(), queue, options, body.as_bytes(), properties).await.is_err() {
                return;
            }
            marks.count
        };
        let _ = seen.wait_for(|seen| *seen >= number).await;
    }

    /// Handles a copy or a mark. Marks come from the default exchange; the copy of a mark has no message id and is
    /// ignored.
    fn receive(&self, delivery: &Delivery) {
        if delivery.exchange.as_str() == EXCHANGE {
            (self.observer)(&published(delivery));
        } else if let Some(number) = std::str::from_utf8(&delivery.data).ok().and_then(|text| text.parse().ok()) {
            self.seen.send_replace(number);
        }
    }
}

/// Reads a copy: the original's properties are in a header, and its body is the copy's body.
fn published(delivery: &Delivery) -> Published {
    let nothing = FieldTable::default();
    let headers = delivery.properties.headers().as_ref().unwrap_or(&nothing);
    let properties = table(headers, "properties").unwrap_or(&nothing);
    let original = table(properties, "headers").unwrap_or(&nothing);
    let queues = match headers.inner().get("routed_queues") {
        Some(AMQPValue::FieldArray(queues)) => queues.as_slice().iter().filter_map(text).collect(),
        _ => Vec::new(),
    };
    let is_copy = original.inner().contains_key(RECEIVE_COUNT);
    Published {
        exchange: headers.inner().get("exchange_name").and_then(text).unwrap_or_default(),
        queues,
        message_id: properties.inner().get("message_id").and_then(text).unwrap_or_default(),
        body: String::from_utf8_lossy(&delivery.data).into_owned(),
        reason: original.inner().get(REASON).and_then(text),
        code: original.inner().get(CODE).and_then(text),
        is_copy,
        is_redriven: !is_copy && original.inner().contains_key(REDRIVES),
    }
}

fn table<'a>(headers: &'a FieldTable, name: &str) -> Option<&'a FieldTable> {
    match headers.inner().get(name) {
        Some(AMQPValue::FieldTable(table)) => Some(table),
        _ => None,
    }
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
