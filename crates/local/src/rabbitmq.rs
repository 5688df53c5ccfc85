//! RabbitMQ in the local stack: a private node, and the event source mapping for Amazon MQ.
//!
//! This folder is the only place here that speaks AMQP.

pub mod management;
pub mod node;
