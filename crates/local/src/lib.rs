//! The local stack: the unmodified template and the unmodified function binaries on one laptop.
//!
//! The crate `sam` reads the SAM template, `workspace` builds the functions, `stack` wires everything: the `gateway` turns
//! HTTP into API Gateway events, `pool` runs the functions behind a Lambda Runtime API, `mapping` feeds them from queues, and
//! the crate `sqs-emulator` holds those queues. Every server binds the loopback address only.

pub mod admin;
pub mod aws;
pub mod gateway;
pub mod journal;
pub mod metrics;
pub mod rabbitmq;
pub mod secrets;
pub mod stack;
pub mod terminal;
pub mod workspace;
