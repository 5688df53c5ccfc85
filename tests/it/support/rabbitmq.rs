//! A separate virtual host for each test, on the RabbitMQ that `tests/run` started: declarations over the management
//! API, messages over AMQP.
//!
//! Waits end by a condition, never by time alone. The management API is at the AMQP port + 10000.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

use http::Method;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// The variable with the URL of the broker: AMQP, with credentials and without a virtual host.
pub(crate) const RABBITMQ_URL: &str = "SLUICEGATE_RABBITMQ_URL";

/// The time limit of a condition on the broker, whose statistics are up to 5 s old.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The interval at which a condition is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// The name of the test's connection, which distinguishes it from the product's connections.
const CONNECTION_NAME: &str = "tests";
/// The offset from the AMQP port to the port of the management API.
pub(crate) const MANAGEMENT_PORT_OFFSET: u16 = 10_000;

/// A virtual host with a random name. Dropping this value deletes it; [`Vhost::delete`] does so earlier.
pub(crate) struct Vhost {
    name: String,
    broker: Broker,
    http: Client,
    connection: Mutex<Option<Connection>>,
    deleted: bool,
}

/// The address of the broker.
#[derive(Clone)]
struct Broker {
    host: String,
    port: u16,
    user: String,
    password: String,
}

/// A message taken from a queue.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) redelivered: bool,
    pub(crate) message_id: Option<String>,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Vec<u8>,
}

impl Vhost {
    /// Creates a virtual host on the broker that `tests/run` started.
    pub(crate) async fn create() -> Self {
        let url = std::env::var(RABBITMQ_URL);
        let url = url.unwrap_or_else(|_| panic!("{RABBITMQ_URL} is not set: ./tests/run starts RabbitMQ and sets it"));
        Self::at(url).await
    }

    /// Creates a virtual host on the broker at this AMQP URL with credentials.
    pub(crate) async fn at(url: impl AsRef<str>) -> Self {
        let broker = Broker::parse(url.as_ref());
        let vhost = Self {
            name: format!("test-{:016x}", fastrand::u64(..)),
            broker,
            http: Client::new(),
            connection: Mutex::default(),
            deleted: false,
        };
        vhost.manage(Method::PUT, &format!("vhosts/{}", vhost.name), None).await;
        let permissions = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        let user = format!("permissions/{}/{}", vhost.name, vhost.broker.user);
        vhost.manage(Method::PUT, &user, Some(permissions)).await;
        vhost
    }

    /// Returns the name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns `amqp://USER:PASSWORD@HOST:PORT/NAME`.
    pub(crate) fn url(&self) -> String {
        self.url_at(self.broker.port)
    }

    /// Returns the URL with another port, where a proxy listens.
    pub(crate) fn url_at(&self, port: u16) -> String {
        let Broker { host, user, password, .. } = &self.broker;
        format!("amqp://{user}:{password}@{host}:{port}/{}", self.name)
    }

    /// Returns the AMQP port of the broker.
    pub(crate) fn port(&self) -> u16 {
        self.broker.port
    }

    /// Deletes the virtual host with its messages, and closes its connections.
    pub(crate) async fn delete(mut self) {
        self.manage(Method::DELETE, &format!("vhosts/{}", self.name), None).await;
        self.deleted = true;
    }

    // ---- declarations
    // --------------------------------------------------------------------------------------------------

    /// Declares a durable quorum queue.
    pub(crate) async fn declare_queue(&self, queue: &str) {
        self.declare_queue_with(queue, json!({})).await;
    }

    /// Declares a durable quorum queue with more arguments, such as `{"x-message-ttl": 1000}`.
    pub(crate) async fn declare_queue_with(&self, queue: &str, mut arguments: Value) {
        arguments["x-queue-type"] = json!("quorum");
        let declaration = json!({ "durable": true, "arguments": arguments });
        self.manage(Method::PUT, &self.path("queues", queue), Some(declaration)).await;
    }

    /// Declares a durable exchange; `kind` is `topic`, `fanout`, `direct` or `headers`.
    pub(crate) async fn declare_exchange(&self, exchange: &str, kind: &str) {
        let declaration = json!({ "durable": true, "type": kind });
        self.manage(Method::PUT, &self.path("exchanges", exchange), Some(declaration)).await;
    }

    /// Binds a queue to an exchange.
    pub(crate) async fn bind(&self, exchange: &str, queue: &str, routing_key: &str) {
        let path = format!("bindings/{}/e/{}/q/{}", self.name, segment(exchange), segment(queue));
        self.manage(Method::POST, &path, Some(json!({ "routing_key": routing_key }))).await;
    }

    /// Sets a policy on the queues whose names match, such as `{"max-length": 1}`.
    pub(crate) async fn set_policy(&self, name: &str, pattern: &str, definition: Value) {
        let policy = json!({ "pattern": pattern, "definition": definition, "apply-to": "queues" });
        self.manage(Method::PUT, &self.path("policies", name), Some(policy)).await;
    }

    /// Deletes a queue with its messages.
    pub(crate) async fn delete_queue(&self, queue: &str) {
        self.manage(Method::DELETE, &self.path("queues", queue), None).await;
    }

    // ---- queries
    // -------------------------------------------------------------------------------------------------------

    /// Returns every queue with its number of messages, unacknowledged ones included. Up to 5 s old.
    pub(crate) async fn counts(&self) -> BTreeMap<String, u64> {
        let path = format!("queues/{}?disable_stats=true&enable_queue_totals=true", self.name);
        let queues = self.manage(Method::GET, &path, None).await;
        let queues = queues.as_array().expect("a list of queues");
        let count = |queue: &Value| queue["messages"].as_u64().unwrap_or(0);
        queues.iter().map(|queue| (queue["name"].as_str().expect("a name").to_owned(), count(queue))).collect()
    }

    /// Returns the number of ready messages of a queue.
    pub(crate) async fn ready(&self, queue: &str) -> u32 {
        let channel = self.channel().await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let answer = channel.queue_declare(queue.into(), passive, FieldTable::default()).await;
        let count = answer.unwrap_or_else(|error| panic!("{queue}: {error}")).message_count();
        close(&channel).await;
        count
    }

    /// Waits until a queue has `count` ready messages.
    pub(crate) async fn until_ready(&self, queue: &str, count: u32) {
        until(format!("{queue} has {count} messages"), PATIENCE, async || {
            (self.ready(queue).await == count).then_some(())
        })
        .await;
    }

    /// Takes every ready message of a queue, in order.
    pub(crate) async fn drain(&self, queue: &str) -> Vec<Message> {
        let channel = self.channel().await;
        let mut messages = Vec::new();
        loop {
            let got = channel.basic_get(queue.into(), BasicGetOptions::default()).await;
            let Some(got) = got.unwrap_or_else(|error| panic!("{queue}: {error}")) else { break };
            got.ack(BasicAckOptions::default()).await.expect("the channel is open");
            messages.push(Message::of(got.delivery));
        }
        // The broker answers this after it has processed the acknowledgements.
        close(&channel).await;
        messages
    }

    /// Takes `count` messages from a queue, waiting for them. Returns them in order.
    pub(crate) async fn until_drained(&self, queue: &str, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        until(format!("{count} messages came from {queue}"), PATIENCE, async || {
            messages.extend(self.drain(queue).await);
            (messages.len() >= count).then_some(())
        })
        .await;
        messages
    }

    // ---- actions
    // -------------------------------------------------------------------------------------------------------

    /// Publishes one message and waits for the confirm; a message that reaches no queue fails the test.
    pub(crate) async fn publish(&self, exchange: &str, routing_key: &str, properties: BasicProperties, body: &[u8]) {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let confirm = channel.basic_publish(exchange.into(), routing_key.into(), mandatory, body, properties).await;
        let confirm = confirm.expect("the channel is open").await.expect("a confirm");
        assert!(matches!(confirm, Confirmation::Ack(None)), "{exchange:?} {routing_key:?}: {confirm:?}");
        close(&channel).await;
    }

    /// Returns the names, on the broker, of the connections to this virtual host whose client name contains `text`,
    /// without the test's own.
    pub(crate) async fn connections(&self, client: &str) -> Vec<String> {
        let connections = self.manage(Method::GET, &format!("vhosts/{}/connections", self.name), None).await;
        let connections = connections.as_array().expect("a list of connections");
        let name =
            |connection: &Value| connection["client_properties"]["connection_name"].as_str().unwrap_or("").to_owned();
        let wanted = connections.iter().filter(|each| name(each) != CONNECTION_NAME && name(each).contains(client));
        wanted.filter_map(|each| Some(each["name"].as_str()?.to_owned())).collect()
    }

    /// Makes the broker close every connection except the test's. Returns their number.
    pub(crate) async fn close_connections(&self) -> usize {
        let names = self.connections("").await;
        for name in &names {
            self.ask(Method::DELETE, &format!("connections/{}", segment(name)), None).await;
        }
        names.len()
    }

    /// Calls the management API; `path` starts after `/api/`. Fails the test unless the answer is a success.
    pub(crate) async fn manage(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method.clone(), path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let Broker { user, password, .. } = &self.broker;
        let mut request =
            self.http.request(method.clone(), self.broker.management(path)).basic_auth(user, Some(password));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null))
    }

    /// Returns `KIND/VHOST/NAME`, percent-encoded.
    fn path(&self, kind: &str, name: &str) -> String {
        format!("{kind}/{}/{}", self.name, segment(name))
    }

    /// Opens a new channel, because an error closes a channel.
    pub(crate) async fn channel(&self) -> Channel {
        let mut connection = self.connection.lock().await;
        if connection.as_ref().is_none_or(|connection| !connection.status().connected()) {
            let properties = ConnectionProperties::default().with_connection_name(CONNECTION_NAME.into());
            *connection = Some(Connection::connect(&self.url(), properties).await.expect("the broker is reached"));
        }
        connection.as_ref().expect("just made").create_channel().await.expect("a channel")
    }
}

impl Drop for Vhost {
    /// Deletes the virtual host even if the test fails. On an error it stays until `tests/run` stops the broker.
    fn drop(&mut self) {
        if self.deleted {
            return;
        }
        let (url, broker) = (self.broker.management(&format!("vhosts/{}", self.name)), self.broker.clone());
        // The runtime of the test may be shutting down.
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let request = Client::new().delete(url).basic_auth(broker.user, Some(broker.password)).timeout(PATIENCE);
            // Created within the runtime, which the client needs.
            let _ = runtime.block_on(async { request.send().await });
        });
        let _ = deleting.join();
    }
}

impl Message {
    fn of(delivery: lapin::message::Delivery) -> Self {
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            redelivered: delivery.redelivered,
            message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
            properties: delivery.properties,
            body: delivery.data,
        }
    }

    /// Returns the body, which must be UTF-8.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// Returns a header.
    pub(crate) fn header(&self, name: &str) -> Option<&AMQPValue> {
        self.properties.headers().as_ref()?.inner().get(name)
    }

    /// Returns a text header.
    pub(crate) fn header_text(&self, name: &str) -> Option<&str> {
        match self.header(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Returns an integer header.
    pub(crate) fn header_number(&self, name: &str) -> Option<i64> {
        match *self.header(name)? {
            AMQPValue::ShortShortInt(number) => Some(number.into()),
            AMQPValue::ShortShortUInt(number) => Some(number.into()),
            AMQPValue::ShortInt(number) => Some(number.into()),
            AMQPValue::ShortUInt(number) => Some(number.into()),
            AMQPValue::LongInt(number) => Some(number.into()),
            AMQPValue::LongUInt(number) => Some(number.into()),
            AMQPValue::LongLongInt(number) => Some(number),
            _ => None,
        }
    }
}

impl Broker {
    /// Parses `amqp://USER:PASSWORD@HOST:PORT`, with or without a path.
    fn parse(url: &str) -> Self {
        let url = reqwest::Url::parse(url).unwrap_or_else(|error| panic!("{url} is not an AMQP URL: {error}"));
        Self {
            host: url.host_str().expect("a host").to_owned(),
            port: url.port().expect("a port"),
            user: url.username().to_owned(),
            password: url.password().expect("a password").to_owned(),
        }
    }

    fn management(&self, path: &str) -> String {
        format!("http://{}:{}/api/{path}", self.host, self.port + MANAGEMENT_PORT_OFFSET)
    }
}

/// Waits for a condition.
pub(crate) async fn until<T>(fact: impl Display, time_max: Duration, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < time_max, "not within {time_max:?}: {fact}");
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

async fn close(channel: &Channel) {
    let _ = channel.close(200, "done".into()).await;
}

/// Returns a name encoded as one path segment.
fn segment(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}
