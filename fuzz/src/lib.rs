//! The fuzz targets of sluicegate-webhook, with inputs from libFuzzer.

#![allow(dead_code, reason = "the loop of `cargo test` is in the same files")]

#[path = "../../crates/webhook/tests/fuzz.rs"]
mod fuzz;

use std::cell::OnceCell;

thread_local! {
    static TARGET: OnceCell<fuzz::Target> = const { OnceCell::new() };
}

/// Checks the property of a target for the input that bytes make. A process has one target.
///
/// # Panics
/// If the property does not hold, which libFuzzer reports.
pub fn check(name: &str, bytes: &[u8]) {
    let make = || fuzz::TARGETS.iter().find(|target| target.0 == name).expect("a target has this name").1();
    TARGET.with(|target| target.get_or_init(make).check(bytes));
}
