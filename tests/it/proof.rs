//! Fault injection under load: confirmed messages survive cut connections, killed brokers and killed functions, and a
//! slow network increases latency but does not reduce throughput.
//!
//! Each proof has a count for a test run. `tests/prove-rabbitmq` sets larger counts by the variables named here. Both
//! print their figures. Cuts and kills occur at random moments, so that each run tests different ones.

mod cuts;
mod freeze;
mod kills;
mod latency;
mod ledger;
mod path;
mod producers;

use std::time::Duration;

/// Returns the count in the variable that `tests/prove-rabbitmq` sets for a long run, or `short` without it.
fn count(variable: &str, short: usize) -> usize {
    let Ok(text) = std::env::var(variable) else { return short };
    text.parse().unwrap_or_else(|_| panic!("{variable} is a count, not {text:?}"))
}

/// Waits for a random time of at most `time_max`.
async fn pause(time_max: Duration) {
    tokio::time::sleep(time_max.mul_f64(fastrand::f64())).await;
}

/// Prints the figures of a proof with a prefix that is easy to find in the output of a test run.
fn report(proof: &str, figures: impl std::fmt::Display) {
    println!("proof: {proof}: {figures}");
}
