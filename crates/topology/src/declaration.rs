//! The exchanges, queues and bindings that a topology declares, with their arguments.
//!
//! The type of every queue is declared, because the default differs between brokers. Queues are durable quorum queues,
//! except those that the file describes as a program declares them: classic, and possibly not durable. Dead-lettering
//! is at least once, which RabbitMQ does only for quorum queues that refuse publishers when full
//! (<https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering>).
//!
//! Only arguments that RabbitMQ 3.10 supports and later versions still accept are used.

use std::collections::BTreeMap;

use serde_json::Value;
use sluicegate_queue::queue_names::{dead_letter_queue, delay_exchange, retry_queue};

use crate::topology::{Exchange, ExchangeType, Queue, QueueKind, Topology};

/// The delivery limit of queues without a consumer, which must not drop a message that was inspected often. RabbitMQ 4
/// defaults to 20. This large number is used instead of -1 (no limit), because 3.10 drops a message at its first return
/// if the limit is -1 (seen on 3.10.8).
const DELIVERY_LIMIT_NONE: u32 = 1_000_000_000;

/// The argument with the type of a queue.
pub(crate) const QUEUE_TYPE: &str = "x-queue-type";
/// The type of a classic queue.
pub(crate) const CLASSIC: &str = "classic";

/// An exchange to declare. It is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeDeclaration {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub exchange_type: ExchangeType,
    /// Its arguments.
    pub arguments: BTreeMap<String, Value>,
}

/// A queue to declare. Its type is among its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// Its name.
    pub name: String,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Its arguments.
    pub arguments: BTreeMap<String, Value>,
}

/// A binding of a queue to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BindingDeclaration {
    /// The exchange.
    pub exchange: String,
    /// The queue.
    pub queue: String,
    /// The routing key.
    pub routing_key: String,
    /// The arguments as JSON text, so that bindings can be ordered.
    arguments: String,
}

impl BindingDeclaration {
    pub(crate) fn new(exchange: &str, queue: &str, routing_key: &str, arguments: &BTreeMap<String, Value>) -> Self {
        let arguments =
            if arguments.is_empty() { String::new() } else { Value::from_iter(arguments.clone()).to_string() };
        Self { exchange: exchange.into(), queue: queue.into(), routing_key: routing_key.into(), arguments }
    }

    /// Returns the arguments; only those of headers exchanges have any.
    #[must_use]
    pub fn arguments(&self) -> BTreeMap<String, Value> {
        serde_json::from_str(&self.arguments).unwrap_or_default()
    }
}

impl std::fmt::Display for BindingDeclaration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { exchange, queue, routing_key, arguments } = self;
        write!(f, "{exchange} -> {queue}")?;
        match (routing_key.is_empty(), arguments.is_empty()) {
            (false, true) => write!(f, " ({routing_key})"),
            (true, false) => write!(f, " {arguments}"),
            (false, false) => write!(f, " ({routing_key}) {arguments}"),
            (true, true) => Ok(()),
        }
    }
}

impl Topology {
    /// Returns every exchange: those of the file, each followed by those of its delays.
    #[must_use]
    pub fn exchange_declarations(&self) -> Vec<ExchangeDeclaration> {
        self.exchanges.iter().flat_map(Exchange::declarations).collect()
    }

    /// Returns every queue: each of the file after its dead-letter queue and before its retry queues; then those that
    /// delay for an exchange.
    #[must_use]
    pub fn queue_declarations(&self) -> Vec<QueueDeclaration> {
        let delays = self.exchanges.iter().flat_map(Exchange::delay_queues);
        self.queues.iter().flat_map(Queue::declarations).chain(delays).collect()
    }

    /// Returns every binding.
    #[must_use]
    pub fn binding_declarations(&self) -> Vec<BindingDeclaration> {
        let of_queue = |queue: &Queue| {
            let bindings = queue.bindings.iter();
            let declare = |binding: &crate::topology::ExchangeBinding| {
                BindingDeclaration::new(&binding.exchange, &queue.name, &binding.routing_key, &binding.arguments)
            };
            bindings.map(declare).collect::<Vec<_>>()
        };
        let delays = self.exchanges.iter().flat_map(Exchange::delay_names);
        let of_delay = delays.map(|(_, name)| BindingDeclaration::new(&name, &name, "", &BTreeMap::new()));
        self.queues.iter().flat_map(of_queue).chain(of_delay).collect()
    }
}

impl Exchange {
    fn declarations(&self) -> Vec<ExchangeDeclaration> {
        let alternate = self.alternate_exchange.as_ref();
        let arguments = alternate.map(|name| ("alternate-exchange".to_owned(), Value::from(name.as_str())));
        let own = ExchangeDeclaration {
            name: self.name.clone(),
            exchange_type: self.exchange_type,
            arguments: arguments.into_iter().collect(),
        };
        // Fanout: with any routing key the message waits in the one queue behind it.
        let delay =
            |(_, name)| ExchangeDeclaration { name, exchange_type: ExchangeType::Fanout, arguments: BTreeMap::new() };
        std::iter::once(own).chain(self.delay_names().into_iter().map(delay)).collect()
    }

    /// Returns the delay queues. Dead letters have no routing key set, so a message keeps its own.
    fn delay_queues(&self) -> Vec<QueueDeclaration> {
        let queue = |(step_s, name)| waiting(name, step_s, &self.name, None);
        self.delay_names().into_iter().map(queue).collect()
    }

    /// Returns each delay in seconds with the name of its exchange and queue.
    pub(crate) fn delay_names(&self) -> Vec<(u32, String)> {
        let steps = self.delays.iter().flat_map(|delays| delays.delays_s());
        steps.map(|step_s| (*step_s, delay_exchange(&self.name, *step_s))).collect()
    }
}

impl Queue {
    pub(crate) fn declarations(&self) -> Vec<QueueDeclaration> {
        let dead_letters = dead_letter_queue(&self.name);
        let (durable, arguments) = match self.kind {
            QueueKind::Quorum { delivery_limit, max_length, single_active_consumer } => {
                let mut arguments = quorum(delivery_limit);
                at_least_once(&mut arguments, "", Some(&dead_letters));
                arguments.extend(max_length.map(|max_length| ("x-max-length".into(), max_length.into())));
                if single_active_consumer {
                    arguments.insert("x-single-active-consumer".into(), true.into());
                }
                (true, arguments)
            }
            // Without any other argument, so that the program's own declaration is accepted.
            QueueKind::Classic { durable } => (durable, BTreeMap::from([(QUEUE_TYPE.into(), CLASSIC.into())])),
        };
        let own = QueueDeclaration { name: self.name.clone(), durable, arguments };
        let dead_letters =
            QueueDeclaration { name: dead_letters, durable: true, arguments: quorum(DELIVERY_LIMIT_NONE) };
        let steps = self.retry.delays_s().iter();
        let retry = steps.map(|step_s| waiting(retry_queue(&self.name, *step_s), *step_s, "", Some(&self.name)));
        [dead_letters, own].into_iter().chain(retry).collect()
    }
}

/// Returns a queue that holds each message for `step_s` seconds and then sends it on.
fn waiting(name: String, step_s: u32, exchange: &str, routing_key: Option<&str>) -> QueueDeclaration {
    let mut arguments = quorum(DELIVERY_LIMIT_NONE);
    arguments.insert("x-message-ttl".into(), (u64::from(step_s) * 1000).into());
    at_least_once(&mut arguments, exchange, routing_key);
    QueueDeclaration { name, durable: true, arguments }
}

fn quorum(delivery_limit: u32) -> BTreeMap<String, Value> {
    BTreeMap::from([
        (QUEUE_TYPE.into(), "quorum".into()),
        ("x-overflow".into(), "reject-publish".into()),
        ("x-delivery-limit".into(), delivery_limit.into()),
    ])
}

fn at_least_once(arguments: &mut BTreeMap<String, Value>, exchange: &str, routing_key: Option<&str>) {
    arguments.insert("x-dead-letter-exchange".into(), exchange.into());
    arguments.insert("x-dead-letter-strategy".into(), "at-least-once".into());
    if let Some(routing_key) = routing_key {
        arguments.insert("x-dead-letter-routing-key".into(), routing_key.into());
    }
}
