//! RabbitMQ as the broker: producer, consumer, mapping, topology, foreign clients, and tests of the test support.

pub(crate) mod child;
pub(crate) mod consumer;
mod fanout;
mod interop;
mod mapping;
mod ordered;
mod producer;
mod proxy;
mod support;
pub(crate) mod tls;
mod topology;
mod tutorial;
