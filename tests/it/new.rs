//! `sluicegate new`: the project builds, and the commands that edit and check one work in it.

use std::process::Command;

use serde_json::Value;
use sluicegate_sam::{Settings, StackPlan};

use crate::support::{like_a_shell, project, project::Project, root};

/// Runs cargo in the project with the packages that this workspace has, and returns its output.
fn cargo(project: &Project, arguments: &str) -> String {
    let mut command = Command::new("cargo");
    command.args(arguments.split(' ')).current_dir(project.path().join("my-api"));
    like_a_shell(command.env("CARGO_TARGET_DIR", project::target()));
    let output = command.output().expect("cargo runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "cargo {arguments}: {printed}{errors}");
    assert!(!errors.contains("warning"), "cargo {arguments}: {errors}");
    printed
}

#[test]
fn a_new_project_takes_a_route_and_a_handler_and_passes_its_tests() {
    let project = Project::empty();
    let printed = project.succeed(&format!("cargo sluicegate new my-api --path '{}'", root().display()));
    assert!(printed.contains("cd my-api") && printed.contains("cargo local"), "{printed}");
    let (code, printed) = project.run(&format!("cargo sluicegate new my-api --path '{}'", root().display()));
    assert!(code == 1 && printed.contains("my-api is not empty"), "{printed}");

    for line in [
        "check",
        "sync --check",
        "add route 'POST /invoices' --type invoice.submitted --queue invoices",
        "add handler invoice.submitted",
        "check",
        "sync --check",
    ] {
        let printed = project.succeed(&format!("cd my-api && cargo sluicegate {line}"));
        assert!(!printed.contains("warning"), "{line}: {printed}");
    }
    let template = project.path().join("my-api/template.yaml").display().to_string();
    for broker in ["sqs", "rabbitmq"] {
        let parameters = [("Broker".to_owned(), broker.to_owned())].into();
        let settings = Settings { parameters, ..Settings::default() };
        let plan = StackPlan::read(&template, &project.text("my-api/template.yaml"), &settings).expect("a plan");
        assert!(plan.routes.iter().any(|route| route.key == "POST /invoices"), "{broker}");
        assert!(plan.functions.iter().any(|it| it.environment.contains_key("QUEUE_INVOICES")), "{broker}");
    }

    let metadata = cargo(&project, "metadata --offline --format-version 1");
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let members = metadata["workspace_members"].as_array().expect("members");
    let is_member = |package: &&Value| members.contains(&package["id"]);
    let packages = metadata["packages"].as_array().expect("packages").iter();
    let mut names: Vec<_> =
        packages.filter(is_member).map(|package| package["name"].as_str().expect("a name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["consumer", "ingress", "rabbitmq", "sluicegate"]);
    cargo(&project, "fmt --check");
    let tested = cargo(&project, "test --offline --quiet --package consumer --package ingress -- --format pretty");
    for test in ["handlers::invoice_submitted::tests::an_event_is_done", "a_captured_order_is_enqueued"] {
        assert!(tested.contains(&format!("{test} ... ok")), "{test}: {tested}");
    }
}
