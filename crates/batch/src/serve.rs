//! [`serve`]: the `main` of a consumer function.

use std::fmt::Display;
use std::process::ExitCode;

use lambda_runtime::{Error, tracing};

use crate::ConsumerBuilder;

/// Serves Lambda with these handlers until the process ends. Logs what keeps the function from starting, an error of
/// the caller's included, and then ends with a failure.
///
/// Reads the AWS variables of every function and, with the feature `rabbitmq`, `RABBITMQ_URL` with what belongs to it.
/// Without `RABBITMQ_URL` the function takes batches of SQS only.
pub async fn serve<E: Display>(consumer: Result<ConsumerBuilder, E>) -> ExitCode {
    tracing::init_default_subscriber();
    // Boxed, because the futures of a batch nest deeper than the compiler lays out in one piece.
    match Box::pin(run(consumer)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the consumer cannot serve");
            ExitCode::FAILURE
        }
    }
}

async fn run<E: Display>(consumer: Result<ConsumerBuilder, E>) -> Result<(), Error> {
    consumer.map_err(|error| error.to_string())?.build()?.run().await
}
