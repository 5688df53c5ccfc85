//! Fuzz targets: every parser of the crate with hostile input, and every scheme with altered requests.
//!
//! `cargo test` runs a few inputs of each target, always the same ones. For a long run of one target:
//!
//! ```text
//! FUZZ_SECONDS=600 cargo test -p sluicegate-webhook --test fuzz altered_requests -- --nocapture
//! ```
//!
//! A failure prints its seed, `FUZZ_SEED`, and the smallest input found. Add that input to a test as a case.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "fuzz/altered_requests.rs"]
mod altered_requests;
#[path = "fuzz/hostile_requests.rs"]
mod hostile_requests;
#[path = "fuzz/message_signatures.rs"]
mod message_signatures;
#[path = "fuzz/published_keys.rs"]
mod published_keys;
#[path = "fuzz/round_trips.rs"]
mod round_trips;
#[path = "fuzz/run.rs"]
mod run;
#[path = "fuzz/schemes.rs"]
mod schemes;
#[path = "fuzz/tokens.rs"]
mod tokens;
#[path = "fuzz/valid.rs"]
mod valid;
