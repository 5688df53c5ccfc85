//! The consumer function.

use std::process::ExitCode;

// One thread: a batch waits for others far more than it computes, and a second worker costs start-up and hand-overs.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_consumer::serve().await
}
