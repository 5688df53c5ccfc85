//! Every check has a template in `fixtures/` that it finds something in, and no check finds what is not there.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use sluicegate_contract::Contract;
use sluicegate_topology::Topology;

use crate::{Inventory, Project, Report, Severity, checks, examine, live::Live};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn read(path: &Path) -> Option<String> {
    path.is_file().then(|| std::fs::read_to_string(path).expect("a readable file"))
}

/// The report on a fixture, with the contract, the topology and the live values beside it.
fn examined(id: &str) -> Report {
    let beside = |end: &str| read(&folder().join(format!("{id}.{end}")));
    let template = folder().join(format!("{id}.yaml"));
    let mut inventory = Inventory::of_template(&template, &BTreeMap::new()).expect("a template");
    if let Some(text) = beside("live.json") {
        inventory.lay_over(serde_json::from_str::<Live>(&text).expect("live values"));
    }
    let project = Project {
        contract: beside("openapi.yaml").map(|text| Contract::parse("openapi.yaml", &text).expect("a sound contract")),
        topology: beside("topology.yaml")
            .map(|text| Topology::parse("topology.yaml", &text).expect("a sound topology")),
    };
    examine(&inventory, &project)
}

#[test]
fn every_check_finds_what_its_fixture_has_and_nothing_else_there_is_as_bad() {
    let mut wrong = Vec::new();
    for check in checks() {
        let report = examined(check.id);
        let as_bad = report.findings.iter().filter(|finding| finding.severity <= check.severity);
        let as_bad: BTreeSet<&str> = as_bad.map(|finding| finding.check).collect();
        if as_bad != BTreeSet::from([check.id]) {
            wrong.push(format!("{}: {as_bad:?}\n{report}", check.id));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_fixture_is_of_a_check() {
    let known: BTreeSet<&str> = checks().map(|check| check.id).collect();
    for entry in std::fs::read_dir(folder()).expect("the folder") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(known.contains(name.split('.').next().unwrap_or_default()), "{name} is of no check");
    }
}

#[test]
fn checks_are_named_once_and_say_where_they_are_written() {
    let mut ids = BTreeSet::new();
    for check in checks() {
        assert!(ids.insert(check.id), "{} is there twice", check.id);
        assert!(check.id.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", check.id);
        assert!(check.source.starts_with("https://"), "{}", check.id);
        assert!(check.why.ends_with('.') && check.mend.ends_with('.'), "{}", check.id);
    }
    assert!(ids.len() >= 25);
}

/// The project's own template and all it needs.
fn project(broker: &str) -> Report {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = |path: &str| read(&root.join(path)).expect(path);
    let parameters = BTreeMap::from([("Broker".to_owned(), broker.to_owned())]);
    let inventory = Inventory::of_template(&root.join("template.yaml"), &parameters).expect("the template");
    let project = Project {
        contract: Some(Contract::parse("openapi.yaml", &text("functions/ingress/openapi.yaml")).expect("the contract")),
        topology: Some(Topology::parse("topology.yaml", &text("infra/topology.yaml")).expect("the topology")),
    };
    examine(&inventory, &project)
}

#[test]
fn the_project_s_own_template_has_nothing_to_mend_on_either_broker() {
    for broker in ["sqs", "rabbitmq"] {
        let report = project(broker);
        assert_eq!((report.errors, report.warnings), (0, 0), "{broker}\n{report}");
        assert!(report.notes.is_empty(), "{:?}", report.notes);
    }
}

#[test]
fn a_finding_names_file_and_line_and_the_report_puts_the_worst_first() {
    let report = examined("visibility-below-timeout");
    let [finding] = report.findings.as_slice() else { panic!("{report}") };
    assert_eq!((finding.resource.as_str(), finding.line, finding.severity), ("Orders", Some(7), Severity::Error));
    assert!(finding.file.as_ref().is_some_and(|file| file.ends_with("visibility-below-timeout.yaml")));
    let text = report.to_string();
    assert!(text.starts_with("error visibility-below-timeout\n  "), "{text}");
    assert!(text.ends_with("1 error(s), 0 warning(s), 0 worth knowing"), "{text}");
}

#[test]
fn what_cannot_be_known_is_not_found() {
    let template = "
Parameters: { Seconds: { Type: Number }, Queue: { Type: String } }
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: !Ref Seconds
      MessageRetentionPeriod: !ImportValue retention
      RedrivePolicy: { deadLetterTargetArn: !Ref Queue, maxReceiveCount: !Ref Seconds }
  Consumer:
    Type: AWS::Lambda::Function
    Properties: { Timeout: !Ref Seconds, Role: !Ref Queue, LoggingConfig: !ImportValue logging, Runtime: !Ref Queue }
  Mapping:
    Type: AWS::Lambda::EventSourceMapping
    Properties:
      EventSourceArn: !GetAtt Orders.Arn
      FunctionName: !Ref Consumer
      FunctionResponseTypes: !Ref Queue
      ScalingConfig: !ImportValue scaling
  Age:
    Type: AWS::CloudWatch::Alarm
    Properties: { Namespace: AWS/SQS, MetricName: ApproximateAgeOfOldestMessage, Dimensions: !Ref Queue, AlarmActions: !Ref Queue }
";
    let inventory = Inventory::of_text(Path::new("t.yaml"), template, &BTreeMap::new()).expect("a template");
    let report = examine(&inventory, &Project::default());
    assert!(report.findings.is_empty(), "{report}");
    // Given the values, it speaks.
    let parameters = BTreeMap::from([("Seconds".to_owned(), "20".to_owned())]);
    let inventory = Inventory::of_text(Path::new("t.yaml"), template, &parameters).expect("a template");
    let report = examine(&inventory, &Project::default());
    assert_eq!(report.findings.len(), 1, "{report}");
}

/// The errors and warnings about a template are these, but for those every bare template has.
fn check(template: &str, expected: &[&str]) {
    let inventory = Inventory::of_text(Path::new("t.yaml"), template, &BTreeMap::new())
        .unwrap_or_else(|error| panic!("{error}\n{template}"));
    let report = examine(&inventory, &Project::default());
    let usual = ["no-age-alarm", "log-retention", "log-format", "no-maximum-concurrency", "retry-permission"];
    let found: BTreeSet<String> = report
        .findings
        .iter()
        .filter(|finding| finding.severity < Severity::Info && !usual.contains(&finding.check))
        .map(|finding| format!("{} {}", finding.severity, finding.check))
        .collect();
    let expected: BTreeSet<String> = expected.iter().map(|text| (*text).to_owned()).collect();
    assert_eq!(found, expected, "{template}\n{report}");
}

/// A function fed by a queue with a dead-letter queue, and more.
fn fed(properties: &str, event: &str, more: &str) -> String {
    format!(
        "
Transform: AWS::Serverless-2016-10-31
Resources:
  Orders:
    Type: AWS::SQS::Queue
    Properties:
      VisibilityTimeout: 60
      RedrivePolicy: {{ deadLetterTargetArn: !GetAtt Parked.Arn, maxReceiveCount: 5 }}
  Parked: {{ Type: AWS::SQS::Queue, Properties: {{ MessageRetentionPeriod: 1209600 }} }}
  ParkedAlarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      Namespace: AWS/SQS
      MetricName: ApproximateNumberOfMessagesVisible
      Dimensions: [{{ Name: QueueName, Value: !GetAtt Parked.QueueName }}]
  Consumer:
    Type: AWS::Serverless::Function
    Properties:
      Policies:
        - SQSSendMessagePolicy: {{ QueueName: !GetAtt Parked.QueueName }}
      {properties}
      Events:
        Orders:
          Type: SQS
          Properties: {{ Queue: !GetAtt Orders.Arn{event} }}
{more}"
    )
}

const REPORTS: &str = ", FunctionResponseTypes: [ReportBatchItemFailures]";

#[test]
fn variables_of_others_are_not_bindings() {
    for (variable, value) in [
        ("QUEUE_URL", "!Ref Orders"),
        ("QUEUE_ARN", "!GetAtt Orders.Arn"),
        ("QUEUE_NAME", "!GetAtt Orders.QueueName"),
        ("QUEUE_DEPTH_MAX", "10"),
        ("QUEUE_ORDERS", "!Ref Orders"),
    ] {
        // A consumer binds nothing.
        let environment = format!("Environment: {{ Variables: {{ {variable}: {value} }} }}");
        check(&fed(&environment, REPORTS, ""), &[]);
        // A function of another make binds by other names.
        let sender = format!(
            "  Sender: {{ Type: AWS::Serverless::Function, Properties: {{ {environment}, Role: !GetAtt Role.Arn }} }}
  Role:
    Type: AWS::IAM::Role
    Properties: {{ Policies: [{{ PolicyDocument: {{ Statement: [{{ Effect: Allow, Action: 'logs:*', Resource: '*' }}] }} }}] }}"
        );
        let expected: &[&str] = if variable == "QUEUE_ORDERS" { &["error send-permission"] } else { &[] };
        if variable != "QUEUE_DEPTH_MAX" {
            check(&fed("", REPORTS, &sender), expected);
        }
    }
}

#[test]
fn a_batch_of_one_needs_no_partial_response_and_a_handler_may_raise() {
    check(&fed("", "", ""), &["warning no-partial-batch-response"]);
    check(&fed("", ", BatchSize: 10", ""), &["warning no-partial-batch-response"]);
    check(&fed("", ", BatchSize: 1", ""), &[]);
}

#[test]
fn what_cloudformation_reads_is_read() {
    let queue =
        |properties: &str| format!("Resources:\n  Orders:\n    Type: AWS::SQS::Queue\n    Properties: {properties}");
    for properties in [
        "{\n      DelaySeconds: 0\n    }",
        "{\n    DelaySeconds: 0,\n    VisibilityTimeout: 30\n    }",
        "{\n'DelaySeconds': 0,\n\"Tags\": [\n{ Key: a, Value: !Join ['',\n['x',\n!Ref AWS::Region\n]]\n}\n]\n}",
        "{\n  # a comment }\n  QueueName: 'a }b' }",
    ] {
        check(&queue(properties), &[]);
    }
    let long = format!("{{\n{}}}", "Tags: [\n],\n".repeat(30));
    check(&queue(&long), &["warning duplicate-key"]);
    check(&queue("\n      DelaySeconds: 0\n      DelaySeconds: 5"), &["warning duplicate-key"]);
    check(&format!("{}\n  Orders: {{ Type: AWS::SQS::Queue }}", queue("{}")), &["warning duplicate-key"]);
    // The last one counts, as it does for CloudFormation.
    check(
        &queue("\n      MessageRetentionPeriod: 60\n      MessageRetentionPeriod: 86400"),
        &["warning duplicate-key"],
    );
    let read = |text: &str| Inventory::of_text(Path::new("t.yaml"), text, &BTreeMap::new()).map(drop);
    let endless = queue(&format!("{{\n{}}}", "a: 1,\n".repeat(3_000)));
    let error = read(&endless).expect_err("too many lines").to_string();
    assert!(error.contains("indent the lines between its braces or brackets"), "{error}");
}

#[test]
fn mappings_of_other_sources_are_left_alone() {
    let template = "
Resources:
  Kafka:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { FunctionName: f, Topics: [t], StartingPosition: LATEST, SelfManagedEventSource: {} }
  Table:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { FunctionName: f, StartingPosition: LATEST, EventSourceArn: !ImportValue stream, MaximumRetryAttempts: 3 }
  Stream:
    Type: AWS::Lambda::EventSourceMapping
    Properties: { FunctionName: f, EventSourceArn: 'arn:aws:kinesis:us-east-1:1:stream/s', BisectBatchOnFunctionError: true }
";
    let inventory = Inventory::of_text(Path::new("t.yaml"), template, &BTreeMap::new()).expect("a template");
    let report = examine(&inventory, &Project::default());
    assert!(report.findings.is_empty(), "{report}");
}

#[test]
fn what_older_queues_have_by_default_was_not_changed_by_hand() {
    let template = "Resources: { Orders: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: 0 } } }";
    let mut inventory = Inventory::of_text(Path::new("t.yaml"), template, &BTreeMap::new()).expect("a template");
    let live = r#"{"queues": {"arn:aws:sqs:us-east-1:000000000000:sluicegate-Orders": {
        "DelaySeconds": "0", "MaximumMessageSize": "262144", "MessageRetentionPeriod": "345600",
        "SqsManagedSseEnabled": "false", "VisibilityTimeout": "30", "QueueArn": "arn"}}}"#;
    inventory.lay_over(serde_json::from_str(live).expect("live values"));
    let report = examine(&inventory, &Project::default());
    let found: Vec<_> = report.findings.iter().map(|finding| finding.check).collect();
    assert_eq!(found, ["encryption-off"], "{report}");
}

#[test]
fn what_is_no_template_is_an_error_with_its_line() {
    let read = |text: &str| Inventory::of_text(Path::new("t.yaml"), text, &BTreeMap::new()).map(drop);
    for (text, expected) in [
        ("", "t.yaml:1: the file is empty"),
        ("a: 1", "t.yaml:1: is no template: it has no Resources"),
        ("Resources:\n  a: &x 1\n  b: *x", "t.yaml:3: CloudFormation does not support YAML aliases"),
    ] {
        assert_eq!(read(text).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }
    let stray = BTreeMap::from([("Broker".to_owned(), "sqs".to_owned())]);
    let read = Inventory::of_text(Path::new("t.yaml"), "Resources: {}", &stray);
    assert_eq!(read.map(drop).map_err(|error| error.to_string()), Err("t.yaml has no parameter Broker".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// Whatever becomes of the lines of a template, there is a report or an error.
    #[test]
    fn no_template_makes_it_panic(
        fixture in prop::sample::select(checks().map(|check| check.id).collect::<Vec<_>>()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<prop::sample::Index>()), 1..6),
        odd in prop::sample::select(vec![
            "!Ref Orders", "!GetAtt Orders", "!Sub '${'", "[]", "{}", "null", "-1", "1e400", "'*'", "!If [a, b, c]", "true",
            "!Select [9, []]", "!FindInMap [a]", "{ Fn::If: 1 }", "99999999999999999999", "\"\"", "- a", "!Join 1",
        ]),
    ) {
        let text = read(&folder().join(format!("{fixture}.yaml"))).expect("a fixture");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for (at, edit, other) in edits {
            if lines.is_empty() {
                break;
            }
            let (at, other) = (at.index(lines.len()), other.index(lines.len()));
            match edit {
                0 => drop(lines.remove(at)),
                1 => lines.swap(at, other),
                2 => lines[at] = lines[at].split(':').next().unwrap_or_default().to_owned() + ": " + odd,
                _ => lines[at].insert(0, ' '),
            }
        }
        if let Ok(inventory) = Inventory::of_text(Path::new("t.yaml"), &lines.join("\n"), &BTreeMap::new()) {
            drop(examine(&inventory, &Project::default()).to_string());
        }
    }
}
