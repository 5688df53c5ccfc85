//! Simulates the whole path under faults: clients, ingress, SQS or RabbitMQ, event source mapping, consumer and
//! handlers, in one process in turn and on virtual time. One seed decides everything.
//!
//! The ingress and consumer are the libraries that functions are made of, unmodified: requests are events of API
//! Gateway, both functions speak HTTP to SQS on streams in memory, and the mapping is the one of `cargo local`. To
//! RabbitMQ all three speak AMQP, on streams in memory. Only the network, the processes and the time are simulated.
//! docs/proof.md says what is checked.
//!
//! The simulation needs Linux, where it replaces the clocks of the process: `clock.rs`.

#![cfg(target_os = "linux")]
// A future of the ingress contains those of every broker.
#![recursion_limit = "256"]

mod answer;
mod api;
mod archiver;
mod aws_service;
mod client;
mod clock;
mod consumer;
mod credentials;
mod deploy;
mod dice;
mod dynamodb;
mod effect;
mod fault;
mod forgery;
mod function;
mod handlers;
mod http_server;
mod ingress;
mod issuer;
mod killable;
mod ledger;
mod log;
mod message;
mod metrics;
mod polled_sqs;
mod property;
mod rabbitmq;
mod redrive;
mod request;
mod s3;
mod scenario;
mod sdk;
mod sending;
mod shrink;
mod simulation;
mod trace;
mod world;

pub use shrink::{Shrunk, shrink};
pub use simulation::{Run, Settings, run};

/// An error of the simulation itself.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the properties that every simulation checks, by name and in words.
pub fn properties() -> impl Iterator<Item = (String, &'static str)> {
    property::Property::ALL.into_iter().map(|property| (property.to_string(), property.words()))
}
