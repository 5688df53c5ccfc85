//! Queues that are nested stacks: the shipped template has no findings, and each planted fault is found in its file.

use std::{collections::BTreeMap, path::Path};

use crate::{Inventory, Project, Report, Severity, examine};

/// Returns the report on a copy of tests/nested/ with these edits of its files.
fn report(edits: &[(&str, &str, &str)]) -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("infra")).expect("a folder");
    for file in ["template.yaml", "infra/queue.yaml", "infra/topic.yaml"] {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/nested").join(file);
        let mut text = std::fs::read_to_string(own).expect("the template");
        for (_, from, to) in edits.iter().filter(|(edited, ..)| *edited == file) {
            assert!(text.contains(from), "{from} is in {file}");
            text = text.replace(from, to);
        }
        std::fs::write(folder.path().join(file), text).expect("written");
    }
    let template = folder.path().join("template.yaml");
    let inventory = Inventory::of_template(&template, &BTreeMap::new()).expect("a template");
    let mut report = examine(&inventory, &Project::default());
    let folder = format!("{}/", folder.path().display());
    for file in report.findings.iter_mut().filter_map(|finding| finding.file.as_mut()) {
        *file = file.replace(&folder, "");
    }
    report
}

#[test]
fn nested_queues_have_no_findings() {
    let report = report(&[]);
    assert_eq!((report.errors, report.warnings, report.notes.len()), (0, 0, 0), "{report}");
}

#[test]
fn what_is_wrong_with_a_nested_queue_is_found_in_its_file() {
    let check = |from: &str, to: &str, expected: &[&str]| {
        let report = report(&[("infra/queue.yaml", from, to)]);
        let found = report.findings.iter().filter(|finding| finding.severity < Severity::Info);
        let of_orders = found.filter(|finding| !finding.resource.starts_with("WebhooksQueue"));
        let shown = of_orders.map(|finding| {
            let (file, line) = (finding.file.as_deref().unwrap_or_default(), finding.line.unwrap_or_default());
            format!("{} {file}:{line} {}", finding.check, finding.resource)
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{from} -> {to}\n{report}");
    };
    let redrive = "      RedrivePolicy:
        deadLetterTargetArn: !GetAtt DeadLetterQueue.Arn
        maxReceiveCount: 100
";
    check(redrive, "", &["no-redrive-policy infra/queue.yaml:17 OrdersQueue/Queue"]);
    let visible = |seconds: u8| format!("VisibilityTimeout: {seconds}");
    check(&visible(60), &visible(59), &["visibility-below-six-timeouts infra/queue.yaml:22 OrdersQueue/Queue"]);
    check(&visible(60), &visible(9), &["visibility-below-timeout infra/queue.yaml:22 OrdersQueue/Queue"]);
    let reports = "      FunctionResponseTypes: [ReportBatchItemFailures]\n";
    check(reports, "", &["no-partial-batch-response infra/queue.yaml:62 OrdersQueue/Mapping"]);
    let mapping = |check: &str| format!("{check} infra/queue.yaml:60 OrdersQueue/Mapping");
    let send = |queue: &str| format!("Action: sqs:SendMessage, Resource: !GetAtt {queue}.Arn");
    check(&send("DeadLetterQueue"), &send("Queue"), &[&mapping("reject-permission")]);
    check("sqs:ReceiveMessage, ", "", &[&mapping("consumer-permissions")]);
    check("sqs:ChangeMessageVisibility, ", "", &[&mapping("retry-permission")]);
    let all = ["consumer-permissions", "retry-permission", "reject-permission"].map(mapping);
    check("!Select [1, !Ref Roles]", "!Select [0, !Ref Roles]", &all.each_ref().map(String::as_str));
    // The nested stack gives the permission; the function that lacks it is in the parent.
    let ingress = [41, 42].map(|line| format!("send-permission template.yaml:{line} IngressFunction"));
    check(&send("Queue"), &send("DeadLetterQueue"), &ingress.each_ref().map(String::as_str));
    let silent = ["dead-letter-alarm-silent infra/queue.yaml:74 OrdersQueue/DeadLetterAlarm"];
    check("MetricName: ApproximateNumberOfMessagesVisible", "MetricName: NumberOfMessagesSent", &silent);
    let no_age = ["no-age-alarm infra/queue.yaml:15 OrdersQueue/Queue"];
    check("Value: !GetAtt Queue.QueueName", "Value: !GetAtt DeadLetterQueue.QueueName", &no_age);
    check("'[a-z]+'", "'[A-Z]+'", &["parameter-value infra/queue.yaml:5 OrdersQueue/Name"]);
}
