//! The consumer that tests/bench/run measures: each message is handled once.

use std::convert::Infallible;
use std::process::ExitCode;

use sluicegate_batch::{Consumer, IdempotencyRule};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let once = Consumer::builder().idempotency_for("order.placed", IdempotencyRule::default());
    let consumer = once.on("order.placed", async |_| ());
    sluicegate_batch::serve(Ok::<_, Infallible>(consumer)).await
}
