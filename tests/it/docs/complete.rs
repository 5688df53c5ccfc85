//! Completeness of the pages: every parameter, alarm, code, outcome, metric and command is on its page.

use std::fs;
use std::process::Command;

use super::page::Page;
use crate::support::{command::BINARY, root};

fn check(page: &str, what: &str, names: impl IntoIterator<Item = String>) {
    let text = Page::read(page).text;
    let names: Vec<_> = names.into_iter().collect();
    assert!(names.len() > 1, "no {what} was found: fix how the test reads them");
    let missing: Vec<_> = names.iter().filter(|name| !text.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{page} lacks the {what} {missing:?}");
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Returns the names defined in a section of a template.
fn section(file: &str, section: &str) -> Vec<String> {
    let text = read(file);
    let (_, rest) = text.split_once(&format!("\n{section}:\n")).unwrap_or_else(|| panic!("{file} has no {section}"));
    let lines = rest.lines().take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    let name = |line: &str| Some(line.strip_prefix("  ")?.strip_suffix(':')?.to_owned());
    lines.filter_map(name).filter(|name| name.starts_with(char::is_alphabetic)).collect()
}

#[test]
fn every_parameter_of_the_template_is_explained() {
    check("docs/deploy.md", "parameter", section("template.yaml", "Parameters"));
}

#[test]
fn every_alarm_has_instructions() {
    let files = ["template.yaml", "infra/queue.yaml", "infra/monitoring.yaml", "infra/broker.yaml"];
    let resources = files.iter().flat_map(|file| section(file, "Resources"));
    check("docs/operate.md", "alarm", resources.filter(|name| name.ends_with("Alarm")));
}

#[test]
fn every_code_of_a_refusal_is_explained() {
    let rejections = read("crates/ingress/src/rejection.rs");
    let codes = rejections.split("(S::").skip(1).filter_map(|rest| Some(rest.split('"').nth(1)?.to_owned()));
    check("docs/operate.md", "code", codes);
}

#[test]
fn every_outcome_of_a_delivery_is_explained() {
    let report = read("crates/batch/src/settlement.rs");
    let outcomes = report.split("=> \"").skip(1).filter_map(|rest| Some(rest.split_once('"')?.0.to_owned()));
    check("docs/operate.md", "outcome", outcomes);
}

/// The table has the codes of the runtime and no other.
#[test]
fn every_code_of_the_consumer_is_explained() {
    let source = read("crates/batch/src/rejection/codes.rs");
    let mut codes: Vec<_> = source.split("&str = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let page = Page::read("docs/operate.md").text;
    let (_, table) = page.split_once("| code | the message | you |\n|---|---|---|\n").expect("the table of codes");
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let mut explained: Vec<_> =
        rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').skip(1).step_by(2)).collect();
    codes.sort_unstable();
    explained.sort_unstable();
    assert_eq!(explained, codes);
}

#[test]
fn every_metric_is_explained() {
    let table = read("crates/telemetry/src/lib.rs");
    let metrics = table.lines().filter_map(|line| Some(line.strip_prefix("//! | `")?.split_once('`')?.0.to_owned()));
    check("docs/operate.md", "metric", metrics);
}

#[test]
fn every_command_is_shown() {
    let help = Command::new(&*BINARY).arg("help").output().expect("the command runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let (_, commands) = help.split_once("Commands:\n").expect("commands");
    let names = commands.lines().map_while(|line| line.strip_prefix("  ")?.split(' ').next());
    let all: String = Page::all().into_iter().map(|page| page.text).collect();
    for name in names.filter(|name| !["help", ""].contains(name)) {
        let shown = ["sluicegate", "cargo"].iter().any(|program| all.contains(&format!("{program} {name}")));
        assert!(shown, "no page shows sluicegate {name}");
    }
}

#[test]
fn the_topologies_on_the_page_are_sound() {
    let blocks = Page::read("docs/rabbitmq.md").blocks();
    let files: Vec<_> = blocks.iter().filter(|block| block.info == "yaml").collect();
    assert!(!files.is_empty(), "the page has an example");
    for file in files {
        if let Err(faults) = sluicegate_topology::Topology::parse("docs/rabbitmq.md", &file.text) {
            panic!("{faults}\n{}", file.text);
        }
    }
}

#[test]
fn the_budgets_of_the_builds_are_those_that_are_checked() {
    let script = read("tests/artifacts");
    let budgets = script.split_once("BUDGETS = {").and_then(|(_, rest)| rest.split_once('}')).expect("budgets").0;
    let page = Page::read("CONTRIBUTING.md").text;
    for budget in budgets.split(", ") {
        let (name, megabytes) = budget.split_once(": ").expect("a name and a number");
        let row = format!("| `{}` | {megabytes} MB |", name.trim_matches('"'));
        assert!(page.contains(&row), "CONTRIBUTING.md has no row {row}");
    }
}

/// SAM names the folder of a binary after its function. The budgets have no entry with that name, so the error lists
/// the accepted names.
#[test]
fn artifacts_names_the_binaries_it_accepts() {
    let artifacts = |argument: &str| {
        let output = Command::new(root().join("tests/artifacts")).args(["x86_64", argument]).output().expect("python3");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = artifacts(".aws-sam/build/IngressFunction/bootstrap");
    assert!(
        error.contains("write NAME=.aws-sam/build/IngressFunction/bootstrap, with one of ingress, consumer"),
        "{error}"
    );
    let error = artifacts("ingress=no-such-folder/IngressFunction/bootstrap");
    assert_eq!(error.trim(), "no-such-folder/IngressFunction/bootstrap was not built");
}

/// A tag can be moved to another commit; a commit id cannot.
#[test]
fn every_action_is_pinned_to_a_commit() {
    let mut pinned = 0;
    for file in [".github/workflows/ci.yml", ".github/workflows/release.yml"] {
        for line in read(file).lines().filter_map(|line| line.split_once("uses: ")) {
            let (action, version) = line.1.split_once(" # ").unwrap_or((line.1, ""));
            let Some((_, commit)) = action.split_once('@') else {
                assert!(action.starts_with("./"), "{file}: {action}");
                continue;
            };
            let is_commit = commit.len() == 40 && commit.chars().all(|c| c.is_ascii_hexdigit());
            assert!(is_commit && version.starts_with('v'), "{file}: {}", line.1);
            pinned += 1;
        }
    }
    assert!(pinned > 0, "no action was found: fix how the test reads them");
}

/// Deleting a stack must not delete messages and secrets.
#[test]
fn queues_and_secrets_are_retained() {
    for (file, kinds) in [("template.yaml", 1), ("infra/queue.yaml", 2), ("infra/broker.yaml", 1)] {
        let text = read(file);
        let blocks: Vec<&str> = text.split("\n\n").collect();
        let kept = ["Type: AWS::SQS::Queue", "Type: AWS::SecretsManager::Secret"];
        let own = blocks.iter().filter(|block| kept.iter().any(|kind| block.contains(kind)));
        let policies = "    DeletionPolicy: RetainExceptOnCreate\n    UpdateReplacePolicy: Retain\n";
        let without: Vec<_> = own.clone().filter(|block| !block.contains(policies)).collect();
        assert!(without.is_empty() && own.count() == kinds, "{file}: {without:#?}");
    }
}
