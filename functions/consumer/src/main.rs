//! The consumer function: reads the environment, registers the handlers, works batches off.

use std::env;
use std::process::ExitCode;

use lambda_runtime::{Error, tracing};
use sluicegate_consumer::consumer;

// One thread: a batch waits for others far more than it computes, and a second worker costs start-up and hand-overs.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    tracing::init_default_subscriber();
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the consumer cannot serve");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Error> {
    let forward_url = env::var("FORWARD_URL").unwrap_or_default();
    consumer(forward_url.trim())?.build()?.run().await
}
