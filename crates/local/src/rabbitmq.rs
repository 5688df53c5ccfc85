//! RabbitMQ in the local stack: a private node, the event source mapping for Amazon MQ, and how messages are followed.
//!
//! This folder is the only place here that speaks AMQP.

mod broker;
mod counts;
mod delivery;
mod endpoint;
mod event;
mod mapping;
pub mod node;
mod timeline;
mod tracer;

pub use broker::{Broker, BrokerChoice, BrokerError, RunningBroker, declare, read_topology};
pub use counts::QueueCounts;
pub use endpoint::Endpoint;
pub use mapping::{RabbitmqEvent, RabbitmqMapping, RabbitmqMappingSpec, RabbitmqObserver};
pub use timeline::Timeline;
pub use tracer::{Published, PublishedObserver, Tracer};
