//! RabbitMQ as the broker: producer, consumer, mapping, topology, foreign clients, and tests of the test support.

mod child;
pub(crate) mod consumer;
mod fanout;
mod interop;
mod mapping;
mod ordered;
mod producer;
mod proxy;
mod support;
mod tls;
mod topology;
mod tutorial;
