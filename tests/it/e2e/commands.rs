//! What the `sluicegate` command says when something is wrong.

use std::process::Output;

use crate::support::{cargo, root};

fn sluicegate(arguments: &[&str]) -> (bool, String) {
    let mut command = cargo();
    command.args(["run", "--quiet", "--package", "sluicegate-cli", "--bin", "sluicegate", "--"]);
    let Output { status, stdout, stderr } = command.args(arguments).output().expect("cargo runs");
    (status.success(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

fn check(arguments: &[&str], succeeds: bool, says: &[&str]) {
    let (succeeded, printed) = sluicegate(arguments);
    assert_eq!(succeeded, succeeds, "{arguments:?} printed\n{printed}");
    for text in says {
        assert!(printed.contains(text), "{arguments:?} does not say {text:?} but\n{printed}");
    }
}

#[test]
fn check_tells_every_fault_of_a_contract_with_its_place() {
    check(&["check"], true, &["3"]);
    let yaml = std::fs::read_to_string(root().join("functions/ingress/openapi.yaml")).expect("the contract");
    let broken = yaml.replace("        queue: orders\n", "        quue: orders\n");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broken.yaml");
    std::fs::write(&path, broken).expect("written");
    let path = path.to_str().expect("UTF-8");
    check(
        &["check", path],
        false,
        &["/paths/~1orders/post/x-sluicegate/quue", "/paths/~1orders/post/x-sluicegate/queue"],
    );
}

#[test]
fn send_without_a_stack_and_local_on_a_taken_port_say_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    check(&["local", "--port", &port, "--admin-port", "0", "--aws-port", "0"], false, &[&port, "--port"]);
    drop(taken);
    let to = format!("http://127.0.0.1:{port}");
    let push = "tests/events/github/push.json";
    let github = ["send", push, "--route", "POST /webhooks/github", "--header", "x-github-event: push", "--to", &to];
    check(&github, false, &["cargo local"]);
    check(&["send", push, "--route", "POST /nowhere", "--to", &to], false, &["/nowhere"]);
}
