//! RabbitMQ in the local stack: a private node, its topology, and the tracing of messages.
//!
//! Without the feature `rabbitmq`, types without values take the places of the broker's.

#[cfg(not(feature = "rabbitmq"))]
mod absent;
#[cfg(feature = "rabbitmq")]
mod broker;
mod choice;
#[cfg(feature = "rabbitmq")]
mod counts;
#[cfg(feature = "rabbitmq")]
mod node;
#[cfg(feature = "rabbitmq")]
mod purge;
mod topology;
#[cfg(feature = "rabbitmq")]
mod tracer;

#[cfg(not(feature = "rabbitmq"))]
pub(crate) use absent::{PlannedBroker, QueueCounts, Running};
#[cfg(feature = "rabbitmq")]
pub(crate) use broker::{PlannedBroker, RunningBroker, declare};
pub use choice::{BrokerChoice, BrokerError};
#[cfg(feature = "rabbitmq")]
pub(crate) use counts::QueueCounts;
#[cfg(feature = "rabbitmq")]
pub use node::{NodeError, RabbitmqNode};
#[cfg(feature = "rabbitmq")]
pub(crate) use purge::purge;
pub use topology::{TOPOLOGY_FILE, TopologyError, read_topology};
#[cfg(feature = "rabbitmq")]
pub(crate) use tracer::{Published, Tracer, TracerError};
