//! Checks `openapi.yaml` and embeds it, so that a bad contract is a build error.

fn main() -> std::process::ExitCode {
    sluicegate_contract::build("openapi.yaml")
}
