//! One integration binary for the whole workspace.
//!
//! What needs a peer is marked ignored with its reason, so that plain `cargo test` says what it did not cover; `tests/run`
//! brings the peers and runs everything.

mod support;

mod cli_clients;
mod e2e;
mod edges;
mod ingress;
mod sqs;
