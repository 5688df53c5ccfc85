//! The desired objects of a virtual host: those of a topology file, and the queues of a template.

use std::collections::BTreeMap;

use serde_json::Value;
use sluicegate_queue::queue_names::RetryDelays;

/// How often a message of a quorum queue may be delivered before RabbitMQ itself dead-letters it, unless the file says
/// otherwise. The default of RabbitMQ 4.0 and later
/// (<https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>).
pub(crate) const DELIVERY_LIMIT_DEFAULT: u32 = 20;

/// The same for a queue with a single active consumer. There a batch that is returned to keep its order counts as a
/// delivery of each of its messages, at most the default batch of 100 messages times the default of 5 receives
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-mq-params.html>). This is twice as many.
pub(crate) const DELIVERY_LIMIT_ORDERED: u32 = 1_000;

/// The desired objects of one virtual host. Each list is in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    pub(crate) exchanges: Vec<Exchange>,
    pub(crate) queues: Vec<Queue>,
    pub(crate) policies: Vec<Policy>,
}

impl Topology {
    /// Adds the queues that the topology does not have yet, each with a topic exchange of the same name, bound for
    /// every routing key, and the default delays and retry delays.
    #[must_use]
    pub fn with_queues<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        for name in names {
            if self.queues.iter().any(|queue| queue.name == name) {
                continue;
            }
            if !self.exchanges.iter().any(|exchange| exchange.name == name) {
                self.exchanges.push(Exchange {
                    name: name.to_owned(),
                    exchange_type: ExchangeType::Topic,
                    alternate_exchange: None,
                    delays: Some(RetryDelays::default()),
                });
            }
            let routing_key = "#".to_owned();
            self.queues.push(Queue {
                name: name.to_owned(),
                bindings: vec![ExchangeBinding { exchange: name.to_owned(), routing_key, arguments: BTreeMap::new() }],
                kind: QueueKind::Quorum {
                    delivery_limit: DELIVERY_LIMIT_DEFAULT,
                    max_length: None,
                    single_active_consumer: false,
                },
                retry: RetryDelays::default(),
            });
        }
        self
    }

    /// Returns the exchanges the file names; those of their delays are not among them.
    #[must_use]
    pub fn exchanges(&self) -> &[Exchange] {
        &self.exchanges
    }

    /// Returns the queues the file names; their dead-letter and retry queues are not among them.
    #[must_use]
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Returns the policies the file names.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }
}

/// One durable exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub exchange_type: ExchangeType,
    /// The exchange for messages that this one cannot route.
    pub alternate_exchange: Option<String>,
    /// The delays that have a queue, if there are any.
    pub delays: Option<RetryDelays>,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeType {
    /// By the words of the routing key; `*` stands for one, `#` for any number.
    Topic,
    /// To every queue bound to it.
    Fanout,
    /// To the queues bound with exactly the routing key.
    Direct,
    /// By the message's headers.
    Headers,
}

impl ExchangeType {
    pub(crate) const ALL: [Self; 4] = [Self::Topic, Self::Fanout, Self::Direct, Self::Headers];

    /// Returns RabbitMQ's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Fanout => "fanout",
            Self::Direct => "direct",
            Self::Headers => "headers",
        }
    }
}

/// One queue. It always has a dead-letter queue and retry queues, which are quorum queues.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// What it gets its messages from, besides the default exchange.
    pub bindings: Vec<ExchangeBinding>,
    /// How it is declared.
    pub kind: QueueKind,
    /// The delays its messages can be retried after.
    pub retry: RetryDelays,
}

/// How a queue is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueKind {
    /// A durable, replicated queue that dead-letters at least once.
    Quorum {
        /// How often a message may be delivered again before RabbitMQ dead-letters it.
        delivery_limit: u32,
        /// How many messages it holds; beyond that, publishers are refused.
        max_length: Option<u64>,
        /// Whether only one of its consumers gets messages at a time.
        single_active_consumer: bool,
    },
    /// A queue as a program declares it without arguments. RabbitMQ dead-letters none of its messages.
    Classic {
        /// Whether it survives a restart of the broker.
        durable: bool,
    },
}

impl Queue {
    /// Returns how often a message may be delivered again before RabbitMQ dead-letters it; `None` if it never does.
    #[must_use]
    pub fn delivery_limit(&self) -> Option<u32> {
        match self.kind {
            QueueKind::Quorum { delivery_limit, .. } => Some(delivery_limit),
            QueueKind::Classic { .. } => None,
        }
    }

    /// Returns whether only one of its consumers gets messages at a time.
    #[must_use]
    pub fn has_single_active_consumer(&self) -> bool {
        matches!(self.kind, QueueKind::Quorum { single_active_consumer: true, .. })
    }
}

/// A binding of a queue to an exchange: the messages that the queue gets from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangeBinding {
    /// The exchange.
    pub exchange: String,
    /// The routing key of the messages.
    pub routing_key: String,
    /// The headers of the messages, for a headers exchange. Texts, whole numbers, true and false.
    pub arguments: BTreeMap<String, Value>,
}

/// A policy: arguments that the broker applies to exchanges and queues with matching names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// A regular expression that names are matched against.
    pub pattern: String,
    /// The kind of objects it applies to.
    pub apply_to: PolicyTarget,
    /// If several policies match a name, only the one with the highest priority applies.
    pub priority: u32,
    /// The arguments it sets. Texts and whole numbers.
    pub definition: BTreeMap<String, Value>,
}

/// The objects that a policy can apply to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyTarget {
    /// Exchanges and queues.
    All,
    /// Queues of every type.
    Queues,
    /// Exchanges.
    Exchanges,
}

impl PolicyTarget {
    pub(crate) const ALL: [Self; 3] = [Self::All, Self::Queues, Self::Exchanges];

    /// Returns RabbitMQ's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::Exchanges => "exchanges",
        }
    }
}
