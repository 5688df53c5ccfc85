//! RabbitMQ in the local stack: a private node, its topology, and the tracing of messages.

mod broker;
mod counts;
pub mod node;
mod timeline;
mod tracer;

pub use broker::{Broker, BrokerChoice, BrokerError, RunningBroker, declare, read_topology};
pub use counts::QueueCounts;
pub use timeline::Timeline;
pub use tracer::{Published, PublishedObserver, Tracer};
