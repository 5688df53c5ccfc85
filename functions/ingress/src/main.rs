//! The ingress function: admits the requests that `openapi.yaml` describes.

use std::process::ExitCode;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    sluicegate_ingress::serve(sluicegate_ingress::embedded_contract!()).await
}
