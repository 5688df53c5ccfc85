//! Common SQS clients against sqs-emulator, from sending a message to deleting it: the AWS CLI, boto3, the AWS
//! SDK for JavaScript and Celery, over AWS JSON and AWS Query.
//!
//! The clients are in the Python environments and the folder of npm packages that `tests/run` creates.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::support::root;
use crate::support::service::emulator;

/// The folder of programs with the newest clients.
const PYTHON_BIN: &str = "SLUICEGATE_PYTHON_BIN";
/// The folder of programs with the last clients that use AWS Query. `SLUICEGATE_QUERY_NODE_MODULES` has their npm
/// packages.
const QUERY_BIN: &str = "SLUICEGATE_QUERY_BIN";

#[test]
#[ignore = "needs boto3, which ./tests/run installs"]
fn boto3_sends_receives_and_deletes_a_message() {
    let python = from_run(PYTHON_BIN).join("python");
    run(&python, &["tests/peers/boto3_life.py"], "speaks json");
}

#[test]
#[ignore = "needs boto3, which ./tests/run installs"]
fn boto3_finds_dynamodb_as_the_suite_says() {
    let python = from_run(PYTHON_BIN).join("python");
    run(&python, &["tests/peers/dynamodb.py"], " steps, 0 faults");
}

#[test]
#[ignore = "needs boto3 and ministack, which ./tests/run installs and starts"]
fn boto3_finds_ministack_as_the_suite_says() {
    let url = std::env::var("SLUICEGATE_MINISTACK_URL").expect("the URL of ministack");
    let mut suite = std::process::Command::new(from_run(PYTHON_BIN).join("python"));
    let suite = suite.current_dir(root()).args(["tests/peers/dynamodb.py", &url, "ministack"]);
    let output = suite.output().expect("the script runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains(" steps, 0 faults"), "{out}\n{err}");
}

#[test]
#[ignore = "needs boto3 1.26, which ./tests/run installs"]
fn boto3_1_26_works_over_the_query_protocol() {
    let python = from_run(QUERY_BIN).join("python");
    run(&python, &["tests/peers/boto3_life.py"], "boto3 1.26.165 speaks query");
}

#[test]
#[ignore = "needs Celery, which ./tests/run installs"]
fn celery_works_over_the_query_protocol() {
    let python = from_run(QUERY_BIN).join("python");
    run(&python, &["tests/peers/query/celery_life.py"], "speaks query");
}

#[test]
#[ignore = "needs the AWS CLI, which ./tests/run installs"]
fn the_aws_cli_sends_receives_and_deletes_a_message() {
    run(Path::new("bash"), &["tests/peers/aws_cli_life.sh"], " works");
}

#[test]
#[ignore = "needs two versions of aws-sdk, which ./tests/run installs"]
fn the_aws_sdk_for_javascript_works_before_and_after_aws_json() {
    for (package, says) in
        [("aws-sdk-query", "aws-sdk 2.1400.0 speaks query"), ("aws-sdk", "aws-sdk 2.1693.0 speaks json")]
    {
        run(Path::new("node"), &["tests/peers/query/aws_sdk_life.js", package], says);
    }
}

/// Runs a script with the URL of an emulator as its last argument. Fails with its output if it exits with an
/// error or does not print `says`.
fn run(program: &Path, script: &[&str], says: &str) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let url = emulator().await;
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = std::env::var(PYTHON_BIN).unwrap_or_default();
        let mut command = tokio::process::Command::new(program);
        command.current_dir(root()).args(script).arg(url).env("PATH", format!("{bin}:{path}"));
        // Without the AWS settings of this machine.
        let home = tempfile::tempdir().expect("a folder");
        command
            .env("HOME", home.path())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_DEFAULT_REGION", "us-east-1");
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test").env_remove("AWS_PROFILE");
        let output = command.stdin(Stdio::null()).output().await.expect("the script runs");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains(says), "{script:?}: {}\n{out}\n{err}", output.status);
    });
}

fn from_run(variable: &str) -> PathBuf {
    let folder = std::env::var(variable);
    folder.unwrap_or_else(|_| panic!("{variable} is not set: ./tests/run makes it and sets it")).into()
}
