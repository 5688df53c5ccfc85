//! The consumer function with RabbitMQ built in.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_consumer::serve().await
}
