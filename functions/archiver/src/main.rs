//! The archiver function: writes every message of the queue `archive` to S3.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_archive::serve().await
}
