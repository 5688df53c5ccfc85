//! The integration tests of the workspace, in one binary.
//!
//! Tests that need a peer are ignored with the reason, so that `cargo test` reports them as not run. `tests/run` starts
//! the peers and runs every test.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod add;
mod advice;
mod archive;
mod cli_clients;
mod consumer;
mod dlq;
mod docs;
mod doctor;
mod e2e;
mod edges;
mod features;
mod idempotency;
mod ingress;
mod inventory;
mod kafka;
mod large_payloads;
mod metrics;
mod new;
mod proof;
mod rabbitmq;
mod runtime;
mod secrets;
mod sqs;
mod template;
mod terminal;
mod tidy;
mod token_peers;
mod traces;
mod webhook_peers;
