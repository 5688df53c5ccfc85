//! Tests of the checks. Each check has a template in `fixtures/` that it finds something in.

mod mutual_tls;
mod nested;
mod with_contract;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use sluicegate_contract::Contract;
use sluicegate_topology::Topology;

use crate::{Error, Inventory, Project, Report, Severity, checks, examine, overlay::Overlay};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn read(path: &Path) -> Option<String> {
    path.is_file().then(|| std::fs::read_to_string(path).expect("a readable file"))
}

/// Returns the report on a fixture, with the contract, the topology and the current values beside it.
fn examined(id: &str) -> Report {
    let beside = |end: &str| read(&folder().join(format!("{id}.{end}")));
    let template = folder().join(format!("{id}.yaml"));
    let mut inventory = Inventory::of_template(&template, &BTreeMap::new()).expect("a template");
    if let Some(text) = beside("overlay.json") {
        inventory.overlay(serde_json::from_str::<Overlay>(&text).expect("current values"));
    }
    let project = Project {
        contract: beside("openapi.yaml").map(|text| Contract::parse("openapi.yaml", &text).expect("a sound contract")),
        topology: beside("topology.yaml")
            .map(|text| Topology::parse("topology.yaml", &text).expect("a sound topology")),
    };
    examine(&inventory, &project)
}

fn inventory(template: &str) -> Result<Inventory, Error> {
    Inventory::of_text(Path::new("t.yaml"), template, &BTreeMap::new())
}

/// Returns the report on a template.
fn report(template: &str) -> Report {
    let inventory = inventory(template).unwrap_or_else(|error| panic!("{error}\n{template}"));
    examine(&inventory, &Project::default())
}

/// <https://github.com/seek-oss/skuba/issues/1408>
/// <https://github.com/aws/aws-cdk/issues/24180>
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
        assert!(check.why.ends_with('.') && check.fix.ends_with('.'), "{}", check.id);
    }
    assert!(ids.len() >= 25);
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
    let unknown = report(template);
    assert!(unknown.findings.is_empty(), "{unknown}");
    // With the values, there is a finding.
    let parameters = BTreeMap::from([("Seconds".to_owned(), "20".to_owned())]);
    let inventory = Inventory::of_text(Path::new("t.yaml"), template, &parameters).expect("a template");
    let report = examine(&inventory, &Project::default());
    assert_eq!(report.findings.len(), 1, "{report}");
}

/// Expects these errors and warnings about a template, apart from those that any short template has.
fn check(template: &str, expected: &[&str]) {
    let report = report(template);
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

/// Returns a function fed by a queue with a dead-letter queue, and more.
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
        // Of a function without a contract, only a URL in QUEUE_<NAME> is a binding.
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
fn what_was_planted_is_found_and_its_neighbours_are_not() {
    // The batching window counts before the function's time does.
    let slow = |window_s: u32, timeout_s: u32| {
        fed(&format!("Timeout: {timeout_s}"), &format!(", MaximumBatchingWindowInSeconds: {window_s}{REPORTS}"), "")
    };
    check(&slow(0, 10), &[]);
    check(&slow(31, 30), &["error visibility-below-timeout"]);
    check(&slow(30, 30), &["warning visibility-below-six-timeouts"]);
    check(&slow(0, 61), &["error visibility-below-timeout"]);

    // Two mappings compete for one queue, unless one is disabled or has an undecided condition.
    let second = |more: &str, condition: &str| {
        format!(
            "  Other:
    Type: AWS::Serverless::Function
    Properties: {{ Policies: [SQSSendMessagePolicy: {{ QueueName: !GetAtt Parked.QueueName }}] }}
  Again:
    Type: AWS::Lambda::EventSourceMapping
    Properties: {{ EventSourceArn: !GetAtt Orders.Arn, FunctionName: !Ref Other{REPORTS}{more} }}{condition}"
        )
    };
    let two = |more: &str, condition: &str| fed("", REPORTS, &second(more, condition));
    let denied = "error consumer-permissions";
    check(&two("", ""), &["error mappings-compete", denied]);
    check(&two(", Enabled: false", ""), &["warning mapping-disabled", denied]);
    check(&two("", "\n    Condition: Unknown"), &[denied]);
    let broker =
        two("", "").replace("EventSourceArn: !GetAtt Orders.Arn", "EventSourceArn: 'arn:aws:mq:r:1:broker:b:b-1'");
    let errors =
        ["mq-login", "mq-one-queue", "mq-permissions", "settings-of-other-sources"].map(|id| format!("error {id}"));
    check(&broker, &errors.each_ref().map(String::as_str));
    let filter = ", FilterCriteria: { Filters: [{ Pattern: '{}' }] }";
    check(&fed("", &format!("{REPORTS}{filter}"), ""), &["warning filter-deletes"]);

    // Alarms that cannot fire, and some that can.
    let alarm = |settings: &str| {
        fed("", REPORTS, &format!("  Alarm: {{ Type: AWS::CloudWatch::Alarm, Properties: {{ {settings} }} }}"))
    };
    let on = |metric: &str, queue: &str, comparison: &str, threshold: &str| {
        alarm(&format!(
            "Namespace: AWS/SQS, MetricName: {metric}, Dimensions: [{{ Name: QueueName, Value: !GetAtt {queue}.QueueName }}], \
             ComparisonOperator: {comparison}, Threshold: {threshold}"
        ))
    };
    let (visible, age) = ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage");
    let (above, at_least) = ("GreaterThanThreshold", "GreaterThanOrEqualToThreshold");
    let (below, at_most) = ("LessThanThreshold", "LessThanOrEqualToThreshold");
    for (metric, queue, comparison, threshold, silent) in [
        (visible, "Parked", above, "0", false),
        (visible, "Parked", at_least, "1", false),
        (visible, "Parked", below, "1", true),
        (visible, "Parked", at_most, "0", true),
        (visible, "Orders", below, "0", true),
        (visible, "Orders", below, "'0'", true),
        (visible, "Orders", at_most, "0", false),
        (visible, "Orders", below, "10", false),
        (age, "Orders", above, "345600", true),
        (age, "Orders", at_least, "345600", false),
        (age, "Orders", above, "3600", false),
        (age, "Parked", above, "604800", false),
        (age, "Orders", above, "!ImportValue x", false),
    ] {
        check(&on(metric, queue, comparison, threshold), if silent { &["warning alarm-cannot-fire"] } else { &[] });
    }
    for metric in ["Errors", "Throttles"] {
        let errors =
            format!("Namespace: AWS/Lambda, MetricName: {metric}, ComparisonOperator: LessThanThreshold, Threshold: 1");
        check(&alarm(&errors), &["warning alarm-cannot-fire"]);
    }
    check(&alarm("MetricName: m, Namespace: Own, ComparisonOperator: LessThanThreshold, Threshold: 0"), &[]);
    check(&alarm("ActionsEnabled: 'false'"), &["warning alarm-actions-disabled"]);

    // Policies of queues.
    let policy = |statement: &str| {
        fed(
            "",
            REPORTS,
            &format!(
                "  Closed: {{ Type: AWS::SQS::QueuePolicy, Properties: {{ Queues: [!Ref Orders], PolicyDocument: {{ Statement: {{ {statement} }} }} }} }}"
            ),
        )
    };
    for (statement, denies) in [
        ("Effect: Deny, Principal: '*', Action: 'sqs:*'", true),
        ("Effect: Deny, Principal: { AWS: '*' }, Action: [sqs:SendMessage, 'SQS:ReceiveMessage']", true),
        ("Effect: Deny, Principal: { AWS: !Sub 'arn:aws:iam::${AWS::AccountId}:root' }, Action: 'sqs:Delete*'", true),
        ("Effect: Allow, Principal: '*', Action: 'sqs:*'", false),
        ("Effect: Deny, Principal: '*', Action: 'sqs:*', Condition: { Bool: { 'aws:SecureTransport': false } }", false),
        ("Effect: Deny, Principal: { AWS: 'arn:aws:iam::1:role/other' }, Action: 'sqs:*'", false),
        ("Effect: Deny, NotPrincipal: { AWS: 'arn:aws:iam::1:role/ours' }, Action: 'sqs:*'", false),
        ("Effect: Deny, Principal: '*', Action: sqs:PurgeQueue", false),
    ] {
        check(&policy(statement), if denies { &["error queue-policy-denies"] } else { &[] });
    }

    // A queue that is its own dead-letter queue.
    let own = fed("", REPORTS, "").replace("!GetAtt Parked.Arn", "!GetAtt Orders.Arn");
    let found = report(&own);
    let found: Vec<_> = found.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(matches!(found.as_slice(), [finding] if finding.check == "dead-letter-loop"), "{found:#?}");
}

#[test]
fn ways_out_of_a_private_network_are_followed() {
    let fixture = read(&folder().join("forward-without-nat.yaml")).expect("the fixture");
    let found = |edits: &[(&str, &str)]| {
        let text = edits.iter().fold(fixture.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let errors = report(&text).findings.into_iter().filter(|finding| finding.severity == Severity::Error);
        errors.map(|finding| finding.check).collect::<Vec<_>>()
    };
    let url = "https://example.com/orders";
    let nat = ("  Logs:\n", "  Nat: { Type: AWS::EC2::NatGateway }\n  Logs:\n");
    for inside in
        ["http://10.0.0.7:8080/", "https://orders.internal/", "https://abc.lambda-url.eu-west-1.amazonaws.com/", "''"]
    {
        assert!(found(&[(url, inside)]).is_empty(), "{inside}");
    }
    for outside in [url, "https://user@203.0.113.7:8443/x", "HTTP://EXAMPLE.COM?x"] {
        assert_eq!(found(&[(url, outside)]), ["forward-without-nat"], "{outside}");
        assert!(found(&[(url, outside), nat]).is_empty(), "{outside}");
    }
    let quiet = (url, "''");
    let lambda = ("${AWS::Region}.lambda", "${AWS::Region}.s3");
    assert_eq!(found(&[quiet, lambda]), ["mq-endpoints"]);
    assert!(found(&[quiet, lambda, nat]).is_empty());
    let egress = "      SecurityGroupEgress: [{ IpProtocol: tcp, FromPort: 443, ToPort: 5671, CidrIp: 10.0.0.0/16 }]\n";
    for (rule, expected) in [
        ("", vec![]),
        ("      SecurityGroupEgress: [{ IpProtocol: '-1', CidrIp: 0.0.0.0/0 }]\n", vec![]),
        ("      SecurityGroupEgress: !ImportValue rules\n", vec![]),
        ("      SecurityGroupEgress: [{ IpProtocol: tcp, FromPort: 5671, ToPort: 5671 }]\n", vec!["mq-security-group"]),
        (
            "      SecurityGroupEgress: [{ IpProtocol: icmp, FromPort: 252, ToPort: 86 }]\n",
            vec!["mq-security-group"; 2],
        ),
    ] {
        assert_eq!(found(&[quiet, (egress, rule)]), expected, "{rule}");
    }
    let ingress =
        "      SecurityGroupIngress: [{ IpProtocol: tcp, FromPort: 5671, ToPort: 5671, CidrIp: 10.0.0.0/16 }]\n";
    assert_eq!(found(&[quiet, (ingress, "")]), ["mq-security-group"]);
    assert!(found(&[quiet, ("PubliclyAccessible: false", "PubliclyAccessible: true"), lambda]).is_empty());
}

#[test]
fn parameters_are_compared_with_their_declaration() {
    let of = |declaration: &str, value: &str| {
        let text = format!("Parameters: {{ P: {{ {declaration} }} }}\nResources: {{}}");
        let parameters = BTreeMap::from([("P".to_owned(), value.to_owned())]);
        let inventory = Inventory::of_text(Path::new("t.yaml"), &text, &parameters).expect("a template");
        let report = examine(&inventory, &Project::default());
        report.findings.into_iter().map(|finding| format!("{} {}", finding.check, finding.what)).collect::<Vec<_>>()
    };
    for (declaration, value, expected) in [
        ("Type: String, AllowedValues: [a, b]", "a", None),
        ("Type: String, AllowedValues: [a, b]", "c", Some("is c, and AllowedValues are a, b")),
        ("Type: String, AllowedValues: [a], NoEcho: true", "c", Some("is a value, and AllowedValues are a")),
        ("Type: Number, AllowedValues: [10, 30]", "30", None),
        ("Type: Number, MinValue: 5, MaxValue: 28", "4", Some("has 4, and at least 5 are needed")),
        ("Type: Number, MinValue: 5, MaxValue: 28", "28.5", Some("has 28.5, and at most 28 are allowed")),
        ("Type: Number", "x", Some("is x, which is not a number")),
        ("Type: String, AllowedPattern: '[a-z]+|x1'", "x1", None),
        (
            "Type: String, AllowedPattern: '[a-z]+|x1'",
            "ax1",
            Some("is ax1, which does not match AllowedPattern [a-z]+|x1"),
        ),
        ("Type: String, AllowedPattern: '(?=a)b'", "c", None),
        ("Type: String, MaxLength: 2", "abc", Some("has 3 characters, and at most 2 characters are allowed")),
        ("Type: CommaDelimitedList, AllowedValues: [a, b]", "a, b", None),
        ("Type: CommaDelimitedList, AllowedValues: [a, b]", "a,c", Some("is c, and AllowedValues are a, b")),
    ] {
        let expected: Vec<String> = expected.into_iter().map(|what| format!("parameter-value {what}")).collect();
        assert_eq!(of(declaration, value), expected, "{declaration} {value}");
    }
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
    let endless = queue(&format!("{{\n{}}}", "a: 1,\n".repeat(3_000)));
    let error = inventory(&endless).expect_err("too many lines").to_string();
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
    let report = report(template);
    assert!(report.findings.is_empty(), "{report}");
}

#[test]
fn what_older_queues_have_by_default_was_not_changed_by_hand() {
    let template = "Resources: { Orders: { Type: AWS::SQS::Queue, Properties: { DelaySeconds: 0 } } }";
    let mut inventory = inventory(template).expect("a template");
    let overlay = r#"{"queues": {"arn:aws:sqs:us-east-1:000000000000:sluicegate-Orders": {
        "DelaySeconds": "0", "MaximumMessageSize": "262144", "MessageRetentionPeriod": "345600",
        "SqsManagedSseEnabled": "false", "VisibilityTimeout": "30", "QueueArn": "arn"}}}"#;
    inventory.overlay(serde_json::from_str(overlay).expect("current values"));
    let report = examine(&inventory, &Project::default());
    let found: Vec<_> = report.findings.iter().map(|finding| finding.check).collect();
    assert_eq!(found, ["encryption-off"], "{report}");
}

#[test]
fn text_that_is_not_a_template_is_an_error_with_its_line() {
    for (text, expected) in [
        ("", "t.yaml:1: #: the file is empty"),
        ("a: 1", "t.yaml:1: #: is not a template: it has no Resources"),
        ("Resources:\n  a: 1\n  b: *x", "t.yaml:3: #: not YAML: while parsing node, found unknown anchor"),
        ("Resources:\n  a: &x [*x]", "t.yaml:2: /Resources/a/0: this alias is inside its own anchor"),
    ] {
        assert_eq!(inventory(text).map(drop).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }
    let stray = BTreeMap::from([("Broker".to_owned(), "sqs".to_owned())]);
    let read = Inventory::of_text(Path::new("t.yaml"), "Resources: {}", &stray);
    assert_eq!(read.map(drop).map_err(|error| error.to_string()), Err("t.yaml has no parameter Broker".to_owned()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    /// A template with any lines removed or changed gives a report or an error.
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
        if let Ok(inventory) = inventory(&lines.join("\n")) {
            drop(examine(&inventory, &Project::default()).to_string());
        }
    }
}
