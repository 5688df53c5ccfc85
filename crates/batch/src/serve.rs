//! [`serve`]: the `main` of a consumer function.

use std::fmt::Display;
use std::process::ExitCode;

use lambda_runtime::Error;
use sluicegate_telemetry::log;

use crate::ConsumerBuilder;

/// Serves Lambda with these handlers until the process ends. If the function cannot start, or `consumer` is an error,
/// logs the error and returns a failure.
///
/// Reads the AWS variables of every function and, with the feature `rabbitmq`, `RABBITMQ_URL` and its related
/// variables, and with `kafka`, `KAFKA_BOOTSTRAP_SERVERS` and its related variables. Without `RABBITMQ_URL` the
/// function refuses batches of RabbitMQ, and without `KAFKA_BOOTSTRAP_SERVERS` those of Kafka.
pub async fn serve<E: Display>(consumer: Result<ConsumerBuilder, E>) -> ExitCode {
    log::init(env!("CARGO_CRATE_NAME"));
    // Boxed, because the nested futures of a batch exceed the layout depth of the compiler.
    match Box::pin(run(consumer)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the consumer cannot start");
            ExitCode::FAILURE
        }
    }
}

async fn run<E: Display>(consumer: Result<ConsumerBuilder, E>) -> Result<(), Error> {
    consumer.map_err(|error| error.to_string())?.build()?.run().await
}
