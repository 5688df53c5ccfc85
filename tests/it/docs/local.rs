//! The tables of docs/local.md, compared with the behaviour of the local stack.

use std::collections::BTreeSet;
use std::process::Command;

use reqwest::Client;
use serde_json::Value;
use sluicegate_lambda_emulator::INIT_TIMEOUT;
use sluicegate_local::{
    CONCURRENCY_MAX, CONCURRENCY_MIN, EVENTS, HEAD_BYTES_MAX, INVOKE_BYTES_MAX, PAYLOAD_BYTES_MAX, Patience,
};
use sluicegate_sam::{Notice, Settings, StackPlan};

use super::page::Page;
use crate::support::{command::BINARY, root, service};

const PAGE: &str = "docs/local.md";

/// Returns the rows of the table with this heading: the code spans of the first cell, and the second cell.
fn table(heading: &str) -> Vec<(Vec<String>, String)> {
    let text = Page::read(PAGE).text;
    let rows = text.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |"))).skip(2);
    let rows = rows.map_while(|line| {
        let (names, here) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((names.split('`').skip(1).step_by(2).map(str::to_owned).collect(), here.to_owned()))
    });
    let rows: Vec<_> = rows.collect();
    assert!(!rows.is_empty(), "{PAGE} has no table {heading:?}");
    rows
}

/// Returns the table of actions below this heading.
fn actions(service: &str) -> Vec<(String, String)> {
    let text = Page::read(PAGE).text;
    let (_, section) = text.split_once(&format!("\n## {service}\n")).expect("a section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.flat_map(|row| {
        let (names, here) = row.split_once(" | ").expect("two cells");
        names.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), here.to_owned())).collect::<Vec<_>>()
    });
    rows.collect()
}

#[test]
fn every_event_of_the_json_output_is_on_the_page() {
    let names: Vec<_> = events().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, EVENTS);
}

/// Returns the table of events: the name and the fields of each.
pub(crate) fn events() -> Vec<(String, BTreeSet<String>)> {
    let rows = table("event of `--json`").into_iter();
    rows.map(|(mut name, fields)| (name.remove(0), fields.split('`').skip(1).step_by(2).map(str::to_owned).collect()))
        .collect()
}

fn plan(resource: &str) -> StackPlan {
    let text = format!(
        "Parameters: {{ Arn: {{ Type: String, Default: 'arn:aws:mq:a' }} }}
Resources:
  Q: {{ Type: AWS::SQS::Queue }}
  {resource}"
    );
    let file = root().join("t.yaml").display().to_string();
    StackPlan::read(&file, &text, &Settings::default()).unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

#[test]
fn resources_are_run_as_documented() {
    let nested = |location: &str| {
        let given = "Name: a, Stack: s, Roles: 'a,b', Consumer: c";
        format!(", Properties: {{ {location}: tests/nested/infra/queue.yaml, Parameters: {{ {given} }} }}")
    };
    for (kinds, here) in table("resource") {
        for kind in kinds.iter().filter(|kind| kind.starts_with("AWS::")) {
            let more = match kind.as_str() {
                "AWS::Serverless::Function" => {
                    ", Metadata: { BuildMethod: rust-cargolambda }, Properties: { Runtime: provided.al2023 }".to_owned()
                }
                "AWS::Lambda::EventSourceMapping" => {
                    ", Properties: { FunctionName: f, EventSourceArn: !GetAtt Q.Arn }".to_owned()
                }
                "AWS::CloudFormation::Stack" => nested("TemplateURL"),
                "AWS::Serverless::Application" => nested("Location"),
                _ => String::new(),
            };
            let plan = plan(&format!("X: {{ Type: {kind}{more} }}"));
            let not_run = plan
                .notices
                .iter()
                .any(|notice| matches!(notice, Notice::NotRun { logical_id, .. } if logical_id == "X"));
            assert_eq!(here == "not run", not_run, "{kind}: {here}");
        }
    }
}

#[test]
fn events_are_run_as_documented() {
    for (kinds, here) in table("event of a function") {
        for kind in kinds.iter().filter(|kind| !kind.starts_with("--")) {
            let properties = match kind.as_str() {
                "SQS" => "{ Queue: !GetAtt Q.Arn }",
                "MQ" => "{ Broker: !Ref Arn, Queues: [q], SourceAccessConfigurations: [{ Type: BASIC_AUTH, URI: s }] }",
                "MSK" | "SelfManagedKafka" => "{ Topics: [t], StartingPosition: LATEST }",
                _ => "{}",
            };
            let plan = plan(&format!(
                "X: {{ Type: AWS::Serverless::Function, Metadata: {{ BuildMethod: rust-cargolambda }},
        Properties: {{ Runtime: provided.al2023, Events: {{ E: {{ Type: {kind}, Properties: {properties} }} }} }} }}"
            ));
            let run = plan.routes.len() + plan.mappings.len() + plan.mq_mappings.len() + plan.kafka_mappings.len();
            assert_eq!(usize::from(here.starts_with("yes")), run, "{kind}: {here}");
        }
    }
}

#[tokio::test]
async fn actions_are_answered_as_documented() {
    let endpoint = service::emulator().await;
    for (service, target) in [("SQS", "AmazonSQS"), ("Secrets Manager", "secretsmanager")] {
        let actions = actions(service);
        assert!(actions.len() > 1, "{service}");
        for (action, here) in actions {
            let request = Client::new().post(&endpoint).header("x-amz-target", format!("{target}.{action}"));
            let request = request.header("content-type", "application/x-amz-json-1.0").body("{}");
            let answer: Value = request.send().await.expect("answered").json().await.expect("JSON");
            let error = answer["__type"].as_str().unwrap_or_default().rsplit(['#', '.']).next().unwrap_or_default();
            let refused = ["UnknownOperationException", "UnsupportedOperation"].contains(&error);
            match here.starts_with("yes") {
                true => assert!(!refused, "{service} {action}: {answer}"),
                false => assert!(here.starts_with(&format!("`{error}`")), "{service} {action}: {here}: {answer}"),
            }
        }
    }
}

#[test]
fn every_action_of_the_sqs_emulator_is_on_the_page() {
    let code = std::fs::read_to_string(root().join("crates/sqs-emulator/src/actions.rs")).expect("the actions");
    let (_, run) = code.split_once("fn run(").expect("the table of actions");
    let run = run.split_once("\n}").map_or(run, |(run, _)| run);
    let patterns = run.lines().filter_map(|line| line.trim().split_once(" => ").map(|(pattern, _)| pattern));
    let mut expected: BTreeSet<_> = patterns.flat_map(|pattern| pattern.split('"').skip(1).step_by(2)).collect();
    expected.insert("ReceiveMessage");
    let page = actions("SQS");
    let listed: BTreeSet<_> = page.iter().map(|(action, _)| action.as_str()).collect();
    assert_eq!(listed, expected);
}

#[test]
fn limits_and_options_are_those_of_the_code() {
    let text = Page::read(PAGE).text;
    let with_commas = |number: usize| {
        let digits: Vec<_> = number.to_string().into_bytes();
        let groups: Vec<_> = digits.rchunks(3).rev().map(|group| String::from_utf8_lossy(group).into_owned()).collect();
        groups.join(",")
    };
    let patience = Patience::default();
    for said in [
        format!("request line and headers of more than {} bytes", with_commas(HEAD_BYTES_MAX)),
        format!("a body of more than {} bytes", with_commas(PAYLOAD_BYTES_MAX)),
        format!("an event of more than {} bytes", with_commas(INVOKE_BYTES_MAX)),
        format!("init of at most {} s", INIT_TIMEOUT.as_secs()),
        format!("headers that take more than {} s", patience.head.as_secs()),
        format!("a body that takes more than {} s", patience.body.as_secs()),
        format!("from {CONCURRENCY_MIN} to {}", with_commas(CONCURRENCY_MAX)),
    ] {
        assert!(text.contains(&said), "{PAGE} lacks: {said}");
    }
    let help = Command::new(&*BINARY).args(["local", "--help"]).output().expect("it runs");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let options: BTreeSet<_> = text.split('`').filter(|span| span.starts_with("--")).collect();
    assert!(options.len() > 3, "{options:?}");
    for option in options {
        let option = option.split_whitespace().next().unwrap_or_default();
        assert!(help.contains(option), "cargo local has no {option}");
    }
}
