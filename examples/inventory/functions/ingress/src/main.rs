//! The order service: puts the orders that `openapi.yaml` describes on the queue.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await
}
