//! The `sluicegate` command of this project.

fn main() -> std::process::ExitCode {
    sluicegate_cli::run()
}
