//! One integration binary for the whole workspace.
//!
//! What needs a peer is marked ignored with its reason, so that plain `cargo test` says what it did not cover; `tests/run`
//! brings the peers and runs everything.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod cli_clients;
mod dlq;
mod docs;
mod doctor;
mod e2e;
mod edges;
mod ingress;
mod metrics;
mod proof;
mod rabbitmq;
mod sqs;
mod template;
mod tidy;
