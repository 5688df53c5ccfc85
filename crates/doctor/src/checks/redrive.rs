//! Checks of dead-letter queues: whether messages arrive there and stay there.

use sluicegate_sam::Setting;

use super::{Check, Findings, Model, Severity};

/// The minimum that Lambda recommends. <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>
const RECEIVES_ADVISED: u64 = 5;
/// The default of the consumer's `FIFO_MAX_RECEIVE_COUNT`: `batch/src/source/sqs/fifo.rs`.
const FIFO_RECEIVES_DEFAULT: u64 = 5;
/// Receives beyond those of a batch of failing messages, for throttled and crashed invocations.
const FIFO_RECEIVES_SPARE: u64 = 10;
const QUEUES: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "no-redrive-policy",
        severity: Severity::Error,
        title: "a queue with a consumer has no dead-letter queue",
        why: "A message that always fails is delivered until its retention ends, and is then deleted. On a FIFO queue it blocks its group all that time.",
        fix: "Give the queue a RedrivePolicy with a dead-letter queue and a maxReceiveCount of at least 5. The dead-letter queue belongs to the queue, not to the function.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html",
        find: no_redrive_policy,
    },
    Check {
        id: "max-receive-count-one",
        severity: Severity::Error,
        title: "a message becomes a dead letter after a single receive",
        why: "Throttled invocations, timeouts and function updates count as receives: good messages become dead letters that no handler has seen.",
        fix: "Set maxReceiveCount to 5 or more.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
        find: max_receive_count_one,
    },
    Check {
        id: "max-receive-count-low",
        severity: Severity::Warning,
        title: "a message becomes a dead letter after fewer receives than Lambda recommends",
        why: "Throttled and crashed invocations count as receives: after a short disturbance, good messages become dead letters.",
        fix: "Set maxReceiveCount to 5 or more.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
        find: max_receive_count_low,
    },
    Check {
        id: "fifo-max-receive-count",
        severity: Severity::Warning,
        title: "a FIFO queue's maxReceiveCount leaves no room for messages that wait behind others",
        why: "A message is received again each time an earlier one of its group fails, or time runs out before its turn. These receives count, so SQS dead-letters good messages that no handler has seen.",
        fix: "Set maxReceiveCount to at least the mapping's BatchSize times FIFO_MAX_RECEIVE_COUNT (5 unless set), plus 10, or BatchSize to 1. The consumer runtime dead-letters a failing message earlier, by FIFO_MAX_RECEIVE_COUNT.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html",
        find: fifo_max_receive_count,
    },
    Check {
        id: "dead-letter-queue-type",
        severity: Severity::Error,
        title: "a FIFO queue has a standard dead-letter queue, or the other way round",
        why: "SQS requires the same type, and refuses the RedrivePolicy otherwise.",
        fix: "Make both of the same type.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html",
        find: dead_letter_queue_type,
    },
    Check {
        id: "dead-letter-target",
        severity: Severity::Error,
        title: "deadLetterTargetArn is not an ARN",
        why: "!Ref of a queue is its URL. SQS refuses the RedrivePolicy.",
        fix: "Use !GetAtt Queue.Arn.",
        source: "https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/aws-resource-sqs-queue.html",
        find: dead_letter_target,
    },
    Check {
        id: "dead-letter-retention",
        severity: Severity::Error,
        title: "a standard dead-letter queue does not keep messages longer than the queue they come from",
        why: "Retention counts from when a message was first sent. One that failed for days is deleted from the dead-letter queue soon after it arrives, or at once.",
        fix: "Set the dead-letter queue's MessageRetentionPeriod to 1209600 (14 days), and that of the source queue below it.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/setting-up-dead-letter-queue-retention.html",
        find: dead_letter_retention,
    },
    Check {
        id: "dead-letter-loop",
        severity: Severity::Error,
        title: "dead letters come back to the queue or the function where they failed",
        why: "A message that can never succeed is delivered for ever, or until its retention ends.",
        fix: "Point deadLetterTargetArn at another queue that nothing consumes, and redrive by hand (sluicegate dlq redrive).",
        source: QUEUES,
        find: dead_letter_loop,
    },
    Check {
        id: "redrive-denied",
        severity: Severity::Error,
        title: "a RedriveAllowPolicy does not admit the queue that uses it",
        why: "Its RedriveAllowPolicy denies every queue, or names others. SQS refuses the RedrivePolicy, or stops moving messages.",
        fix: "List the queue's ARN in sourceQueueArns of the dead-letter queue's RedriveAllowPolicy.",
        source: QUEUES,
        find: redrive_denied,
    },
];

fn no_redrive_policy(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.queues.iter().filter(|queue| queue.redrive.is_absent() && model.is_consumed(queue)) {
        // A dead-letter queue that is consumed needs no dead-letter queue.
        if !model.is_dead_letter_queue(queue) {
            findings.add(&queue.origin, "RedrivePolicy", "is consumed and has no RedrivePolicy");
        }
    }
}

fn max_receive_count_one(model: &Model<'_>, findings: &mut Findings) {
    receives(model, findings, |receives| receives == 1);
}

fn max_receive_count_low(model: &Model<'_>, findings: &mut Findings) {
    receives(model, findings, |receives| (2..RECEIVES_ADVISED).contains(&receives));
}

fn receives(model: &Model<'_>, findings: &mut Findings, is_bad: impl Fn(u64) -> bool) {
    for queue in &model.queues {
        if let Some(receives) = queue.receives_max().filter(|receives| is_bad(*receives)) {
            findings.add(&queue.origin, "RedrivePolicy/maxReceiveCount", format!("maxReceiveCount is {receives}"));
        }
    }
}

fn fifo_max_receive_count(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, function) in model.consumed().filter(|(queue, ..)| queue.is_fifo()) {
        let own = function.count("FIFO_MAX_RECEIVE_COUNT", FIFO_RECEIVES_DEFAULT);
        let batch = mapping.batch_size.copied().filter(|size| *size > 1);
        if let (Some(receives), Some(own), Some(batch)) = (queue.receives_max(), own, batch) {
            let advised = batch.saturating_mul(own).saturating_add(FIFO_RECEIVES_SPARE);
            if receives < advised {
                let what = format!(
                    "maxReceiveCount is {receives}; with {own} receives for each of the {batch} messages of a batch, it should be {advised}"
                );
                findings.add(&queue.origin, "RedrivePolicy/maxReceiveCount", what);
            }
        }
    }
}

fn dead_letter_queue_type(model: &Model<'_>, findings: &mut Findings) {
    for (queue, _, target) in model.redriven().filter(|(queue, _, target)| queue.is_fifo() != target.is_fifo()) {
        let (own, other) = if queue.is_fifo() { ("FIFO", "standard") } else { ("standard", "FIFO") };
        let what = format!("is {own}, its dead-letter queue {} is {other}", target.origin.id);
        findings.add(&queue.origin, "RedrivePolicy", what);
    }
}

fn dead_letter_target(model: &Model<'_>, findings: &mut Findings) {
    for queue in &model.queues {
        let Setting::Known(redrive) = &queue.redrive else { continue };
        if let Some(target) = redrive.target.as_str().filter(|target| !target.starts_with("arn:")) {
            findings.add(&queue.origin, "RedrivePolicy/deadLetterTargetArn", format!("is {target}"));
        }
    }
}

fn dead_letter_retention(model: &Model<'_>, findings: &mut Findings) {
    // A FIFO queue's dead letters start with age 0: same page as the check's.
    for (queue, _, target) in model.redriven().filter(|(queue, _, target)| !queue.is_fifo() && queue.arn != target.arn)
    {
        if let (Some(source_s), Some(target_s)) = (queue.retention_s.copied(), target.retention_s.copied())
            && target_s <= source_s
        {
            let what = format!("keeps messages for {target_s} s, {} for {source_s} s", queue.origin.id);
            findings.add(&target.origin, "MessageRetentionPeriod", what);
        }
    }
}

fn dead_letter_loop(model: &Model<'_>, findings: &mut Findings) {
    for (queue, _, target) in model.redriven() {
        if leads_back(model, &queue.arn) {
            let what = format!("its dead letters come back to it through {}", target.origin.id);
            findings.add(&queue.origin, "RedrivePolicy", what);
        }
        for (_, mapping, function) in model.consumed().filter(|(consumed, ..)| consumed.arn == target.arn) {
            let mut consumed = model.consumed();
            if queue.arn != target.arn
                && consumed.any(|(other, _, by)| other.arn == queue.arn && by.name == function.name)
            {
                let what = format!("{} consumes {} and its dead letters too", function.origin.id, queue.origin.id);
                findings.add(&mapping.origin, "Queue", what);
            }
        }
    }
}

/// Returns whether the way from each queue to its dead-letter queue leads back to the start.
fn leads_back(model: &Model<'_>, start: &str) -> bool {
    let mut at = start;
    for _ in 0..model.queues.len() {
        let Some((_, _, next)) = model.redriven().find(|(queue, ..)| queue.arn == at) else { return false };
        if next.arn == start {
            return true;
        }
        at = &next.arn;
    }
    false
}

fn redrive_denied(model: &Model<'_>, findings: &mut Findings) {
    for (queue, _, target) in model.redriven() {
        let Setting::Known(allow) = &target.redrive_allow else { continue };
        let is_listed = allow.sources.iter().any(|source| source.is_unknown() || source.is(&queue.arn));
        let what = match allow.permission.as_str() {
            Some("denyAll") => "denies every queue",
            Some("byQueue") if !is_listed => "does not list it",
            _ => continue,
        };
        let what = format!("is the dead-letter queue of {} and {what}", queue.origin.id);
        findings.add(&target.origin, "RedriveAllowPolicy", what);
    }
}
