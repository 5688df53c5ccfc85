//! Proof by force: what was confirmed survives cut connections, a killed broker and killed functions, and a slow network costs
//! time but not throughput.
//!
//! Each proof has a count that fits a test run. `tests/prove-rabbitmq` sets the long counts by the variables named here; both
//! print their figures. Chance decides where a cut or kill hits, so that each run tries other places.

mod cuts;
mod freeze;
mod kills;
mod latency;
mod ledger;
mod path;
mod producers;

use std::time::Duration;

/// How many, by the variable that `tests/prove-rabbitmq` sets for a long run; `short` without it.
fn count(variable: &str, short: usize) -> usize {
    let Ok(text) = std::env::var(variable) else { return short };
    text.parse().unwrap_or_else(|_| panic!("{variable} is a count, not {text:?}"))
}

/// A pause of chance, so that what comes next hits anywhere.
async fn pause(time_max: Duration) {
    tokio::time::sleep(time_max.mul_f64(fastrand::f64())).await;
}

/// Prints a proof's figures so that they are found among the lines of a test run.
fn tell(proof: &str, figures: impl std::fmt::Display) {
    println!("proof: {proof}: {figures}");
}
