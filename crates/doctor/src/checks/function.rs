//! Checks of functions: runtime, logs, versions, and settings without effect on queues.

use super::{Check, Findings, Model, Severity};

/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html>
const OLD_RUNTIMES: [&str; 3] = ["provided", "provided.al2", "go1.x"];

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "failure-destination-unused",
        severity: Severity::Warning,
        title: "a function that consumes a queue has a dead-letter queue or a failure destination",
        why: "Both are for asynchronous invocations. Lambda invokes a queue's consumer synchronously, so neither receives a message.",
        fix: "Remove it, and give the queue a RedrivePolicy.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html",
        find: failure_destination_unused,
    },
    Check {
        id: "runtime-deprecated",
        severity: Severity::Warning,
        title: "a function runs on a deprecated runtime",
        why: "It gets no security updates, and Lambda will refuse to update the function.",
        fix: "Use provided.al2023.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html",
        find: runtime_deprecated,
    },
    Check {
        id: "log-retention",
        severity: Severity::Warning,
        title: "log lines are kept for ever",
        why: "A log group without RetentionInDays grows without limit, and so does its cost. Lambda makes such a group for every function without a log group.",
        fix: "Give the function a log group with RetentionInDays (LoggingConfig: LogGroup).",
        source: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/Working-with-log-groups-and-streams.html",
        find: log_retention,
    },
    Check {
        id: "log-format",
        severity: Severity::Warning,
        title: "a function logs as text",
        why: "Lambda does not filter log levels, and its own lines (timeouts, crashes) have no fields to search for.",
        fix: "Set LoggingConfig: LogFormat: JSON.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html",
        find: log_format,
    },
    Check {
        id: "log-level-hides-metrics",
        severity: Severity::Error,
        title: "Lambda drops the function's metrics",
        why: "A line of metrics has no level and counts as INFO. At a higher level Lambda drops it, and alarms on these metrics never fire.",
        fix: "Set ApplicationLogLevel to INFO or lower, and filter in the function (RUST_LOG).",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html",
        find: log_level_hides_metrics,
    },
    Check {
        id: "deployment-without-alias",
        severity: Severity::Error,
        title: "a function has a DeploymentPreference or provisioned concurrency and no AutoPublishAlias",
        why: "Both need an alias; SAM refuses the template.",
        fix: "Set AutoPublishAlias: live.",
        source: "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/automating-updates-to-serverless-apps.html",
        find: deployment_without_alias,
    },
];

fn failure_destination_unused(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| model.mappings_of(function).next().is_some()) {
        if let Some(property) = function.async_failures {
            findings.add(&function.origin, property, format!("{property} does nothing for messages of a queue"));
        }
    }
}

fn runtime_deprecated(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        if let Some(runtime) = function.runtime.as_str().filter(|name| OLD_RUNTIMES.contains(name)) {
            findings.add(&function.origin, "Runtime", format!("is {runtime}"));
        }
    }
}

fn log_retention(model: &Model<'_>, findings: &mut Findings) {
    let groups = || model.inventory.of_kind("AWS::Logs::LogGroup");
    for group in groups().filter(|group| group.props().get("RetentionInDays").is_absent()) {
        findings.add(&group.origin, "RetentionInDays", "has no RetentionInDays");
    }
    for function in model.functions.iter().filter(|function| function.log_group.is_absent() && !model.inventory.hidden)
    {
        let default = format!("/aws/lambda/{}", function.name);
        if !groups().any(|group| group.reference == default) {
            let what = "has no log group, so Lambda makes one without RetentionInDays";
            findings.add(&function.origin, "LoggingConfig", what);
        }
    }
}

fn log_format(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| function.log_format.is("Text")) {
        findings.add(&function.origin, "LoggingConfig", "logs as text");
    }
}

fn log_level_hides_metrics(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        let level = function.application_log_level.as_str();
        if let Some(level) = level.filter(|level| ["WARN", "ERROR", "FATAL"].contains(level)) {
            findings.add(&function.origin, "LoggingConfig", format!("ApplicationLogLevel is {level}"));
        }
    }
}

fn deployment_without_alias(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| function.alias.is_absent()) {
        let property = match (function.shifts_traffic, function.provisioned) {
            (true, _) => "DeploymentPreference",
            (false, true) => "ProvisionedConcurrencyConfig",
            (false, false) => continue,
        };
        findings.add(&function.origin, property, format!("{property} without AutoPublishAlias"));
    }
}
