//! RabbitMQ: a model of its documented rules, which speaks AMQP 0-9-1 with the product's client on streams in memory.
//!
//! `queue` has the rules of one queue, `broker` those of a broker, `connection` speaks AMQP for it. The client, lapin,
//! has a thread for each connection; `link` runs these threads in turn with the simulation, so that a seed still gives
//! one schedule.

mod broker;
mod connection;
mod frames;
mod link;
mod queue;
mod record;
mod runtime;
mod service;

pub(crate) use link::Links;
pub(crate) use record::Record;
pub(crate) use service::{DEAD_LETTERS, Process, QUEUE, Rabbitmq, URL, User, mapping_spec};
