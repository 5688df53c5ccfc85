//! Serves Lambda: reads the environment, registers the handlers, works batches off.

use std::env;
use std::process::ExitCode;

use lambda_runtime::{Error, tracing};

/// Serves Lambda until the process ends. What keeps it from starting is logged.
///
/// The environment: `FORWARD_URL` (optional), the AWS variables of every function, and with the feature `rabbitmq`, `RABBITMQ_URL`
/// with what belongs to it. Without `RABBITMQ_URL` the function takes batches of SQS only.
pub async fn serve() -> ExitCode {
    tracing::init_default_subscriber();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the consumer cannot serve");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let forward_url = env::var("FORWARD_URL").unwrap_or_default();
    crate::consumer(forward_url.trim())?.build()?.run().await
}
