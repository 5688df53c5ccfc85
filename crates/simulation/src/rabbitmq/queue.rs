//! [`Queue`]: the rules of one quorum queue.
//!
//! Each rule names the page of RabbitMQ's documentation that it is from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sluicegate_topology::QueueDeclaration;

/// How often a quorum queue has delivered a message before, of what counts against its delivery limit.
/// <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>
const DELIVERY_COUNT: &str = "x-delivery-count";

/// How often a quorum queue has delivered a message before, since RabbitMQ 4.3.
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// A message on a queue.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) properties: BasicProperties,
    pub(super) body: Arc<[u8]>,
    /// How often it came back and counted.
    pub(super) delivery_count: u32,
    /// How often it came back, if the queue says so.
    acquired_count: Option<u32>,
    pub(super) is_redelivered: bool,
    /// When it expires.
    expires_at: Option<Duration>,
}

impl Message {
    pub(super) fn new(exchange: &str, routing_key: &str, properties: BasicProperties, body: Arc<[u8]>) -> Self {
        let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
        let (delivery_count, acquired_count, is_redelivered, expires_at) = Default::default();
        Self { exchange, routing_key, properties, body, delivery_count, acquired_count, is_redelivered, expires_at }
    }

    /// Returns the properties of a delivery.
    pub(super) fn delivered_properties(&self) -> BasicProperties {
        let delivered = Some(self.delivery_count).filter(|count| *count > 0);
        if delivered.or(self.acquired_count).is_none() {
            return self.properties.clone();
        }
        let mut headers = self.properties.headers().clone().unwrap_or_default();
        for (name, count) in [(DELIVERY_COUNT, delivered), (ACQUIRED_COUNT, self.acquired_count)] {
            if let Some(count) = count {
                headers.insert(name.into(), AMQPValue::LongLongInt(count.into()));
            }
        }
        self.properties.clone().with_headers(headers)
    }
}

/// How a delivery comes back to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// `basic.nack` with `requeue`.
    Nack,
    /// The channel or the connection has ended.
    Ended,
}

/// Why a queue gives a message up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    Expired,
    DeliveryLimit,
}

impl Death {
    /// Returns the `reason` in `x-death`. <https://www.rabbitmq.com/docs/dlx#effects>
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A consumer: its connection and channel, and its tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ConsumerId {
    pub(super) channel: (u64, u16),
    pub(super) tag: String,
}

/// A quorum queue.
pub(super) struct Queue {
    /// Messages that came back: they are delivered first, in the order of their last delivery (seen on RabbitMQ
    /// 3.10.8; the documentation says only that they keep their order).
    returned: VecDeque<Message>,
    ready: VecDeque<Message>,
    /// The number of deliveries that were not acknowledged yet.
    pub(super) unacknowledged: usize,
    /// Those that take messages in turn.
    consumers: VecDeque<ConsumerId>,
    delivery_limit: Option<u32>,
    message_ttl: Option<Duration>,
    max_length: Option<usize>,
    has_single_active_consumer: bool,
    /// Where dead letters go: the exchange and the routing key, or else that of the message.
    pub(super) dead_letters: Option<(String, Option<String>)>,
    /// Whether `basic.nack` counts as a delivery.
    nack_counts: bool,
}

impl Queue {
    /// Returns an empty queue with the arguments of a declaration. `nack_counts` as before RabbitMQ 4.3
    /// (<https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>).
    pub(super) fn new(declaration: &QueueDeclaration, nack_counts: bool) -> Self {
        let number = |name: &str| declaration.arguments.get(name).and_then(Value::as_u64);
        let text = |name: &str| declaration.arguments.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            returned: VecDeque::new(),
            ready: VecDeque::new(),
            unacknowledged: 0,
            consumers: VecDeque::new(),
            delivery_limit: number("x-delivery-limit").and_then(|limit| u32::try_from(limit).ok()),
            message_ttl: number("x-message-ttl").map(Duration::from_millis),
            max_length: number("x-max-length").and_then(|length| usize::try_from(length).ok()),
            has_single_active_consumer: declaration.arguments.contains_key("x-single-active-consumer"),
            dead_letters: text("x-dead-letter-exchange").map(|exchange| (exchange, text("x-dead-letter-routing-key"))),
            nack_counts,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.returned.len() + self.ready.len() + self.unacknowledged
    }

    pub(super) fn ready(&self) -> usize {
        self.returned.len() + self.ready.len()
    }

    /// Returns whether the queue refuses publishers (`reject-publish`): their messages are answered with `basic.nack`
    /// and not stored. <https://www.rabbitmq.com/docs/maxlength>
    pub(super) fn is_full(&self) -> bool {
        self.max_length.is_some_and(|max| self.len() >= max)
    }

    /// Stores a message at the end. The time to live of the queue starts now. The product sets none for a message.
    /// <https://www.rabbitmq.com/docs/ttl>
    pub(super) fn push(&mut self, now: Duration, mut message: Message) {
        message.expires_at = self.message_ttl.map(|ttl| now + ttl);
        (message.delivery_count, message.acquired_count, message.is_redelivered) = Default::default();
        self.ready.push_back(message);
    }

    /// Takes a message back, or returns it if its delivery limit is exceeded.
    ///
    /// A delivery counts when its channel or connection ends, and before RabbitMQ 4.3 when it was answered with
    /// `basic.nack`. <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>
    pub(super) fn take_back(&mut self, mut message: Message, how: Return) -> Option<Message> {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        message.is_redelivered = true;
        message.delivery_count += u32::from(how == Return::Ended || self.nack_counts);
        // RabbitMQ 4.3 has both counts.
        if !self.nack_counts {
            message.acquired_count = Some(message.acquired_count.unwrap_or_default() + 1);
        }
        if self.delivery_limit.is_some_and(|limit| message.delivery_count > limit) {
            return Some(message);
        }
        self.returned.push_back(message);
        None
    }

    /// Takes the messages that have expired out of the queue. They expire at its head only.
    /// <https://www.rabbitmq.com/docs/ttl#message-ttl-caveats>
    pub(super) fn expire(&mut self, now: Duration) -> Vec<Message> {
        let is_expired = |message: &Message| message.expires_at.is_some_and(|at| at <= now);
        let mut expired = Vec::new();
        while let Some(message) = self.ready.pop_front_if(|message| is_expired(message)) {
            expired.push(message);
        }
        expired
    }

    /// Returns when the head expires.
    pub(super) fn expires_next(&self) -> Option<Duration> {
        self.ready.front()?.expires_at
    }

    pub(super) fn take(&mut self) -> Option<Message> {
        self.returned.pop_front().or_else(|| self.ready.pop_front())
    }

    pub(super) fn consume(&mut self, consumer: ConsumerId) {
        self.consumers.push_back(consumer);
    }

    pub(super) fn cancel(&mut self, is_gone: impl Fn(&ConsumerId) -> bool) {
        self.consumers.retain(|consumer| !is_gone(consumer));
    }

    /// Returns the next message with its consumer: consumers take turns as long as their prefetch allows; of a queue
    /// with a single active consumer, the first one that has subscribed gets all.
    /// <https://www.rabbitmq.com/docs/consumers#single-active-consumer>,
    /// <https://www.rabbitmq.com/docs/confirms#channel-qos-prefetch>
    pub(super) fn deliver(&mut self, has_room: impl Fn(&ConsumerId) -> bool) -> Option<(ConsumerId, Message)> {
        let candidates = if self.has_single_active_consumer { 1 } else { self.consumers.len() };
        let index = self.consumers.iter().take(candidates).position(has_room)?;
        let message = self.take()?;
        self.unacknowledged += 1;
        let consumer = self.consumers.get(index).cloned()?;
        if !self.has_single_active_consumer {
            self.consumers.rotate_left(index + 1);
        }
        Some((consumer, message))
    }
}

/// Describes a death in `x-death`, as the first one, or counts it again if the queue has given the message up for the
/// same reason before. <https://www.rabbitmq.com/docs/dlx#effects>
pub(super) fn with_death(message: &Message, queue: &str, death: Death) -> BasicProperties {
    let mut headers = message.properties.headers().clone().unwrap_or_default();
    let mut deaths = deaths(&headers);
    let is_same =
        |table: &FieldTable| text(table, "queue") == Some(queue) && text(table, "reason") == Some(death.reason());
    let before = deaths.iter().position(is_same).map(|index| deaths.remove(index));
    let count = before.as_ref().and_then(|table| table.inner().get("count")?.as_long_long_int()).unwrap_or(0);
    let text = |text: &str| AMQPValue::LongString(text.into());
    let entry = BTreeMap::from([
        ("count".into(), AMQPValue::LongLongInt(count + 1)),
        ("exchange".into(), text(&message.exchange)),
        ("queue".into(), text(queue)),
        ("reason".into(), text(death.reason())),
        ("routing-keys".into(), AMQPValue::FieldArray(vec![text(&message.routing_key)].into())),
    ]);
    deaths.insert(0, entry.into());
    let deaths: Vec<AMQPValue> = deaths.into_iter().map(AMQPValue::FieldTable).collect();
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
    message.properties.clone().with_headers(headers)
}

/// Returns whether the message was given up by `queue` before, and never for a rejection: RabbitMQ sees a cycle and
/// drops it. <https://www.rabbitmq.com/docs/dlx#automatic-dead-letter-cycles>
pub(super) fn is_cycle(message: &Message, queue: &str) -> bool {
    let headers = message.properties.headers().clone().unwrap_or_default();
    deaths(&headers).iter().any(|table| text(table, "queue") == Some(queue))
        && !deaths(&headers).iter().any(|table| text(table, "reason") == Some("rejected"))
}

fn deaths(headers: &FieldTable) -> Vec<FieldTable> {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return Vec::new() };
    let table = |death: &AMQPValue| match death {
        AMQPValue::FieldTable(table) => Some(table.clone()),
        _ => None,
    };
    deaths.as_slice().iter().filter_map(table).collect()
}

fn text<'t>(table: &'t FieldTable, name: &str) -> Option<&'t str> {
    match table.inner().get(name)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
