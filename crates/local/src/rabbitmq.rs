//! RabbitMQ in the local stack: a private node, the event source mapping for Amazon MQ, and how messages are followed.
//!
//! This folder is the only place here that speaks AMQP.

mod delivery;
mod endpoint;
mod event;
pub mod management;
mod mapping;
pub mod node;

pub use endpoint::Endpoint;
pub use mapping::{RabbitmqEvent, RabbitmqMapping, RabbitmqMappingSpec, RabbitmqObserver};
