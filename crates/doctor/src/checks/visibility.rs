//! Checks of visibility timeouts and retention.

use super::{Check, Findings, Model, Severity};

/// The factor that Lambda recommends.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const TIMEOUTS_PER_VISIBILITY: u64 = 6;
/// One day: an outage at night must not lose messages.
const RETENTION_S_MIN: u64 = 86_400;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "visibility-below-timeout",
        severity: Severity::Error,
        title: "a queue's visibility timeout is shorter than its function's timeout and the batching window",
        why: "Messages that wait for their batch or are being processed are delivered again. Below the function's timeout, Lambda refuses the event source mapping.",
        fix: "Set VisibilityTimeout to at least 6 times the function's Timeout, plus the batching window.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
        find: visibility_below_timeout,
    },
    Check {
        id: "visibility-below-six-timeouts",
        severity: Severity::Warning,
        title: "a queue's visibility timeout is shorter than 6 times its function's timeout, plus the batching window",
        why: "While a function is throttled, Lambda holds its messages and tries again. Those whose visibility timeout ends meanwhile are delivered again, and each delivery counts towards maxReceiveCount.",
        fix: "Set VisibilityTimeout to at least 6 times the function's Timeout, plus the batching window.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
        find: visibility_below_six_timeouts,
    },
    Check {
        id: "retention-before-dead-letter",
        severity: Severity::Error,
        title: "a queue's messages expire before they can have been received maxReceiveCount times",
        why: "A message that always fails is deleted when its retention ends, before it reaches the dead-letter queue.",
        fix: "Set MessageRetentionPeriod well above VisibilityTimeout times maxReceiveCount.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html",
        find: retention_before_dead_letter,
    },
    Check {
        id: "retention-short",
        severity: Severity::Warning,
        title: "a queue keeps messages for less than a day",
        why: "SQS deletes messages that are not consumed in that time, without a trace: an outage at night is enough.",
        fix: "Set MessageRetentionPeriod to several days for a queue, and to 1209600 (14 days) for a dead-letter queue.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html",
        find: retention_short,
    },
    Check {
        id: "delay-on-queue",
        severity: Severity::Info,
        title: "a queue delays every message",
        why: "DelaySeconds holds each message back before its first delivery.",
        fix: "Remove DelaySeconds unless the delay is wanted; a single message of a standard queue can have a delay too.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-delay-queues.html",
        find: delay_on_queue,
    },
];

fn visibility_below_timeout(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, function) in model.consumed() {
        let window_s = mapping.window_s.clone().or(0).unwrap_or(0);
        if let (Some(visibility_s), Some(timeout_s)) = (queue.visibility_s.copied(), function.timeout_s.copied())
            && visibility_s < timeout_s.saturating_add(window_s)
        {
            let mut what =
                format!("messages stay hidden for {visibility_s} s, {} may run for {timeout_s} s", function.origin.id);
            if window_s > 0 {
                what.push_str(&format!(" after a batching window of {window_s} s"));
            }
            findings.add(&queue.origin, "VisibilityTimeout", what);
        }
    }
}

fn visibility_below_six_timeouts(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, function) in model.consumed() {
        if let (Some(visibility_s), Some(timeout_s), Some(window_s)) =
            (queue.visibility_s.copied(), function.timeout_s.copied(), mapping.window_s.clone().or(0))
        {
            let advised_s = timeout_s.saturating_mul(TIMEOUTS_PER_VISIBILITY).saturating_add(window_s);
            if visibility_s >= timeout_s.saturating_add(window_s) && visibility_s < advised_s {
                let what = format!(
                    "messages stay hidden for {visibility_s} s; {} may run for {timeout_s} s, so it should be {advised_s} s",
                    function.origin.id
                );
                findings.add(&queue.origin, "VisibilityTimeout", what);
            }
        }
    }
}

fn retention_before_dead_letter(model: &Model<'_>, findings: &mut Findings) {
    for queue in &model.queues {
        if let (Some(receives), Some(visibility_s), Some(retention_s)) =
            (queue.receives_max(), queue.visibility_s.copied(), queue.retention_s.copied())
        {
            let receives_s = receives.saturating_mul(visibility_s);
            if retention_s <= receives_s {
                let what = format!(
                    "kept for {retention_s} s, while {receives} receives of {visibility_s} s take {receives_s} s"
                );
                findings.add(&queue.origin, "MessageRetentionPeriod", what);
            }
        }
    }
}

fn retention_short(model: &Model<'_>, findings: &mut Findings) {
    for queue in &model.queues {
        if let Some(retention_s) = queue.retention_s.copied().filter(|seconds| *seconds < RETENTION_S_MIN) {
            let what = format!("messages are deleted after {retention_s} s");
            findings.add(&queue.origin, "MessageRetentionPeriod", what);
        }
    }
}

fn delay_on_queue(model: &Model<'_>, findings: &mut Findings) {
    for queue in &model.queues {
        if let Some(delay_s) = queue.delay_s.copied().filter(|delay_s| *delay_s > 0) {
            findings.add(&queue.origin, "DelaySeconds", format!("every message waits for {delay_s} s"));
        }
    }
}
