//! Checks the contract of the ingress function and embeds it.

fn main() -> std::process::ExitCode {
    sluicegate_contract::build("../ingress/openapi.yaml")
}
