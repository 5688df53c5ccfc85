//! The ingress function.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_ingress::serve().await
}
