//! RabbitMQ in the local stack: a private node, its topology, and the tracing of messages.

mod broker;
mod counts;
mod node;
mod topology;
mod tracer;

pub use broker::{BrokerChoice, BrokerError};
pub(crate) use broker::{PlannedBroker, RunningBroker, declare};
pub(crate) use counts::QueueCounts;
pub use node::{NodeError, RabbitmqNode};
pub use topology::{TOPOLOGY_FILE, TopologyError, read_topology};
pub(crate) use tracer::{Published, Tracer, TracerError};
