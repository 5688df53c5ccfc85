//! Sees every message that is published to a virtual host, without touching a queue: the broker's own tracing, the firehose.
//!
//! Reading a retry or dead-letter queue would disturb it, and publishes to the default exchange cannot be bound to. The broker
//! copies what clients publish to the exchange `amq.rabbitmq.trace` while tracing is on for the virtual host; a queue of our
//! own, which ends with our connection, gets these copies. Tracing is switched on when the tracer starts, again after the
//! broker came back, and off when it stops, unless it was on before. Seen is what clients publish; what the broker itself moves
//! (expired messages, its own dead-lettering) is not, and what it returns as unroutable looks as if it had arrived.
//! <https://www.rabbitmq.com/docs/firehose>

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, Consumer};
use serde_json::{Value, json};
use sluicegate_lambda_emulator::Endpoint;
use sluicegate_topology::{Management, ManagementError};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Where the broker puts the copies.
const EXCHANGE: &str = "amq.rabbitmq.trace";
/// What is published, to whatever exchange.
const PUBLISHED: &str = "publish.#";

/// The pause before a lost connection is made again.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);
/// How long the broker may take to switch tracing off: a broker that hangs does not hold up the end.
const OFF_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the broker may take to make the queue of copies.
const FOLLOW_TIME_MAX: Duration = Duration::from_secs(5);
/// How long to wait for a mark; without it, what was published may be told late.
const MARK_TIME_MAX: Duration = Duration::from_secs(1);

/// A message that a client published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Published {
    /// To which exchange; empty is the default one.
    pub exchange: String,
    /// Into which queues; none if it was returned or dropped.
    pub queues: Vec<String>,
    /// The property, empty if it is not set.
    pub message_id: String,
    /// As text, if it is any.
    pub body: String,
    /// Our header `sluicegate-reason`: why it was given up on.
    pub reason: Option<String>,
    /// It has our header that counts receives, so a consumer published it again.
    pub is_copy: bool,
}

/// Is told each of them. It must be quick.
pub(crate) type PublishedObserver = Arc<dyn Fn(&Published) + Send + Sync>;

/// A running tracer. Dropping it ends it, but leaves tracing switched on.
pub(crate) struct Tracer {
    shared: Arc<Shared>,
    was_on: bool,
    _task: JoinSet<()>,
}

struct Shared {
    endpoint: Endpoint,
    management: Management,
    observer: PublishedObserver,
    marks: Mutex<Marks>,
    /// The last mark that came back.
    seen: watch::Sender<u64>,
}

#[derive(Default)]
struct Marks {
    /// Where they are published, while there is a connection, and to which queue.
    channel: Option<(Channel, ShortString)>,
    /// How many there were.
    count: u64,
}

impl Tracer {
    /// Switches tracing on and follows.
    ///
    /// # Errors
    /// The broker does not allow it or cannot be asked; why.
    pub(crate) async fn start(endpoint: Endpoint, observer: PublishedObserver) -> Result<Self, String> {
        let management = endpoint.management().cloned().ok_or("it has no management API")?;
        let shared =
            Arc::new(Shared { endpoint, management, observer, marks: Mutex::default(), seen: watch::Sender::new(0) });
        let was_on = shared.switch(true).await.map_err(|error| error.to_string())?;
        let session = shared.connect().await?;
        let mut task = JoinSet::new();
        task.spawn(Arc::clone(&shared).run(session));
        Ok(Self { shared, was_on, _task: task })
    }

    /// Waits until everything that was published before has been told; gives up after a second.
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
    /// Switches tracing on or off and says what it was. Everything else of the virtual host stays as it is.
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
                // A broker that was restarted has forgotten it.
                if self.switch(true).await.is_ok()
                    && let Ok(session) = self.connect().await
                {
                    break session;
                }
                sleep(RECONNECT_PAUSE).await;
            };
        }
    }

    async fn connect(&self) -> Result<(Connection, Consumer), String> {
        let connection = self.endpoint.connect("message timelines").await?;
        let following = timeout(FOLLOW_TIME_MAX, self.follow(&connection)).await;
        let following = following.map_err(|_| format!("no answer within {} s", FOLLOW_TIME_MAX.as_secs()))?;
        let (channel, consumer) = following.map_err(|error| error.to_string())?;
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

    /// Publishes a mark behind what is in the queue, and waits until it comes out.
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

    /// A mark comes by the default exchange; its own copy is one of a message without an id, which nobody follows.
    fn receive(&self, delivery: &Delivery) {
        if delivery.exchange.as_str() == EXCHANGE {
            (self.observer)(&published(delivery));
        } else if let Some(number) = std::str::from_utf8(&delivery.data).ok().and_then(|text| text.parse().ok()) {
            self.seen.send_replace(number);
        }
    }
}

/// Reads a copy: the original's properties are in a header, its body is the body.
fn published(delivery: &Delivery) -> Published {
    let nothing = FieldTable::default();
    let headers = delivery.properties.headers().as_ref().unwrap_or(&nothing);
    let properties = table(headers, "properties").unwrap_or(&nothing);
    let original = table(properties, "headers").unwrap_or(&nothing);
    let queues = match headers.inner().get("routed_queues") {
        Some(AMQPValue::FieldArray(queues)) => queues.as_slice().iter().filter_map(text).collect(),
        _ => Vec::new(),
    };
    Published {
        exchange: headers.inner().get("exchange_name").and_then(text).unwrap_or_default(),
        queues,
        message_id: properties.inner().get("message_id").and_then(text).unwrap_or_default(),
        body: String::from_utf8_lossy(&delivery.data).into_owned(),
        reason: original.inner().get("sluicegate-reason").and_then(text),
        is_copy: original.inner().contains_key("sluicegate-receive-count"),
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
