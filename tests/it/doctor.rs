//! The command `sluicegate doctor` as a process: output and exit code.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{command::BINARY, root};

/// Returns the built command.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(&*BINARY);
    command.arg("doctor").args(arguments).current_dir(root()).env_remove("AWS_ENDPOINT_URL");
    command
}

/// Returns the exit code, standard output and standard error.
fn doctor(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(arguments).output().expect("the command runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn fixture(name: &str) -> String {
    format!("crates/doctor/fixtures/{name}.yaml")
}

#[test]
fn errors_exit_with_1_and_warnings_only_if_requested() {
    for (arguments, code, says) in [
        (vec!["--template", &fixture("visibility-below-timeout")], 1, "error visibility-below-timeout\n"),
        (vec!["--template", &fixture("api-throttling")], 0, "warning api-throttling\n"),
        (vec!["--template", &fixture("api-throttling"), "--strict"], 1, "warning api-throttling\n"),
        (vec!["--template", &fixture("delay-on-queue"), "--strict"], 0, "info delay-on-queue\n"),
        (vec![], 0, "0 error(s)"),
        (vec!["--parameter", "Broker=rabbitmq"], 0, "0 error(s)"),
    ] {
        let (ended, out, err) = doctor(&arguments);
        assert_eq!(ended, Some(code), "{arguments:?}\n{out}\n{err}");
        assert!(out.contains(says) && err.is_empty(), "{arguments:?}\n{out}\n{err}");
    }
}

#[test]
fn an_unreadable_template_exits_with_2() {
    for (arguments, says) in [
        (vec!["--template", "no-such.yaml"], "cannot read no-such.yaml"),
        (vec!["--template", "Cargo.toml"], "Cargo.toml:"),
        (vec!["--contract", "no-such.yaml"], "cannot read no-such.yaml"),
        (vec!["--parameter", "NoSuch=1"], "template.yaml has no parameter NoSuch"),
        (vec!["--parameter", "nonsense"], "expected is KEY=VALUE"),
        (vec!["--stack", "a", "--template", "template.yaml"], "cannot be used with"),
    ] {
        let (ended, out, err) = doctor(&arguments);
        assert_eq!(ended, Some(2), "{arguments:?}\n{out}\n{err}");
        assert!(err.contains(says), "{arguments:?}\n{out}\n{err}");
    }
}

#[test]
fn json_has_every_field_of_the_text() {
    let (ended, out, _) = doctor(&["--json", "--template", &fixture("dead-letter-retention")]);
    assert_eq!(ended, Some(1));
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(
        (&report["errors"], &report["warnings"], &report["notes"]),
        (&1.into(), &0.into(), &Value::Array(vec![]))
    );
    let finding = &report["findings"][0];
    assert_eq!(finding["check"], "dead-letter-retention");
    assert_eq!(finding["severity"], "error");
    assert_eq!(finding["resource"], "Parked");
    assert_eq!(finding["file"], fixture("dead-letter-retention"));
    assert!(finding["line"].is_u64());
    for text in ["what", "why", "fix", "source"] {
        assert!(finding[text].as_str().is_some_and(|text| !text.is_empty()), "{finding}");
    }
}

#[test]
fn the_list_names_every_check() {
    let (ended, out, _) = doctor(&["--list", "--json"]);
    assert_eq!(ended, Some(0));
    let checks: Value = serde_json::from_str(&out).expect("JSON");
    let (_, text, _) = doctor(&["--list"]);
    let checks = checks.as_array().expect("a list");
    assert!(checks.len() >= 35, "{} checks", checks.len());
    for check in checks {
        assert!(text.contains(check["id"].as_str().expect("an id")), "{check}");
    }
}

#[test]
fn a_closed_stdout_pipe_is_not_an_error() {
    for arguments in [&["--list"][..], &["--list", "--json"], &[], &["--json"]] {
        let mut command = command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("the command ends");
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}
