//! The clients people have at hand, the AWS CLI and boto3, work against the embedded engine for the life of a message.
//!
//! Both come from the Python environment that `tests/run` makes and names in `SLUICEGATE_PYTHON_BIN`.

use std::path::PathBuf;
use std::process::Stdio;

use crate::support::root;
use crate::support::service::embedded;

const PYTHON_BIN: &str = "SLUICEGATE_PYTHON_BIN";

#[test]
#[ignore = "needs boto3, which ./tests/run installs"]
fn boto3_works_through_the_life_of_a_message() {
    run(python_bin().join("python"), "tests/peers/boto3_life.py");
}

#[test]
#[ignore = "needs the AWS CLI, which ./tests/run installs"]
fn the_aws_cli_works_through_the_life_of_a_message() {
    run("bash".into(), "tests/peers/aws_cli_life.sh");
}

/// Runs a script with the URL of an embedded engine as its argument; its output is shown when it fails.
fn run(program: PathBuf, script: &str) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = embedded().await;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = tokio::process::Command::new(program);
        command.arg(root().join(script)).arg(url).env("PATH", format!("{}:{path}", python_bin().display()));
        // Nothing of this machine's own AWS set-up gets in.
        let home = tempfile::tempdir().expect("a folder");
        command
            .env("HOME", home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_DEFAULT_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
        let output = command.stdin(Stdio::null()).output().await.expect("the script runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}: {}\n{out}\n{err}", output.status);
    });
}

fn python_bin() -> PathBuf {
    let bin = std::env::var(PYTHON_BIN);
    bin.unwrap_or_else(|_| panic!("{PYTHON_BIN} is not set: ./tests/run makes it and sets it")).into()
}
