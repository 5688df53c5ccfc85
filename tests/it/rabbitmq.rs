//! RabbitMQ as the broker: what others read and write, one exchange for many, and what the support of these tests promises.

mod child;
pub(crate) mod consumer;
mod fanout;
mod interop;
mod mapping;
mod producer;
mod proxy;
mod support;
mod tls;
mod topology;
