//! Checks of alarms: whether they can fire, and whether they notify.

use sluicegate_sam::Setting;

use super::{Check, Findings, Model, Severity};
use crate::model::{Alarm, Broker, Metric, Queue};

const SQS: &str = "AWS/SQS";
const MQ: &str = "AWS/AmazonMQ";
/// The metrics of the messages that a queue holds.
const OF_CONTENT: [&str; 2] = ["ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage"];
const METRICS: &str =
    "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "dead-letter-no-alarm",
        severity: Severity::Warning,
        title: "no alarm watches a dead-letter queue",
        why: "Dead letters stay there unnoticed until their retention ends and SQS deletes them.",
        fix: "Add an alarm on ApproximateNumberOfMessagesVisible of the dead-letter queue, above 0.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/dead-letter-queues-alarms-cloudwatch.html",
        find: dead_letter_no_alarm,
    },
    Check {
        id: "dead-letter-alarm-silent",
        severity: Severity::Warning,
        title: "an alarm on a dead-letter queue watches NumberOfMessagesSent",
        why: "That metric does not count the messages that SQS moves there, so the alarm never fires.",
        fix: "Watch ApproximateNumberOfMessagesVisible.",
        source: METRICS,
        find: dead_letter_alarm_silent,
    },
    Check {
        id: "no-age-alarm",
        severity: Severity::Warning,
        title: "no alarm watches the age of a queue's oldest message",
        why: "A consumer that fails or is too slow goes unnoticed until messages expire.",
        fix: "Add an alarm on ApproximateAgeOfOldestMessage, well below the queue's retention.",
        source: METRICS,
        find: no_age_alarm,
    },
    Check {
        id: "alarm-dimensions",
        severity: Severity::Warning,
        title: "an alarm lacks dimensions that its metric always has",
        why: "The metric has no data without them, so the alarm never changes its state.",
        fix: "Give QueueName (SQS), or Broker, and with Queue also VirtualHost (Amazon MQ).",
        source: METRICS,
        find: alarm_dimensions,
    },
    Check {
        id: "alarm-unknown-queue",
        severity: Severity::Warning,
        title: "an alarm watches a queue that is neither in the template nor in the topology",
        why: "The metric of a queue that does not exist has no data, so the alarm never changes its state.",
        fix: "Name a queue that exists: !GetAtt Queue.QueueName, or one that sluicegate topology declares.",
        source: METRICS,
        find: alarm_unknown_queue,
    },
    Check {
        id: "alarm-metric-gone",
        severity: Severity::Warning,
        title: "an alarm watches a single queue of a RabbitMQ 4 broker",
        why: "From RabbitMQ 4 on, Amazon MQ sends no metrics of single queues to CloudWatch, so the alarm never changes its state.",
        fix: "Watch the broker's MessageCount, and single queues with the management API (sluicegate dlq list).",
        source: "https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/rabbitmq-4.html",
        find: alarm_metric_gone,
    },
    Check {
        id: "alarm-cannot-fire",
        severity: Severity::Warning,
        title: "an alarm cannot fire when it should",
        why: "The metric never passes the threshold, or the comparison is reversed.",
        fix: "Compare with GreaterThanThreshold and a threshold that the metric can pass: 0 for dead letters, errors and throttles, well below the queue's retention for its age.",
        source: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html",
        find: alarm_cannot_fire,
    },
    Check {
        id: "alarm-actions-disabled",
        severity: Severity::Warning,
        title: "an alarm's actions are disabled",
        why: "It changes its state, but runs none of its AlarmActions.",
        fix: "Remove ActionsEnabled: false.",
        source: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html",
        find: alarm_actions_disabled,
    },
    Check {
        id: "dead-letter-alarm-late",
        severity: Severity::Info,
        title: "an alarm on a dead-letter queue ignores some dead letters",
        why: "Up to the threshold, dead letters stay unnoticed until their retention ends and SQS deletes them.",
        fix: "Set the threshold to 0, with GreaterThanThreshold.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/dead-letter-queues-alarms-cloudwatch.html",
        find: dead_letter_alarm_late,
    },
    Check {
        id: "topic-without-subscription",
        severity: Severity::Info,
        title: "alarms notify a topic without a subscription",
        why: "Unless a subscription was made by hand, SNS drops every notification.",
        fix: "Add an AWS::SNS::Subscription (here: give AlarmEmail), or subscribe by hand to the output AlarmTopicArn.",
        source: "https://docs.aws.amazon.com/sns/latest/dg/sns-create-subscribe-endpoint-to-topic.html",
        find: topic_without_subscription,
    },
    Check {
        id: "alarm-without-action",
        severity: Severity::Info,
        title: "no alarm has an action",
        why: "Alarms change their state without a notification.",
        fix: "Give AlarmActions: the ARN of an SNS topic with a subscription.",
        source: "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html",
        find: alarm_without_action,
    },
];

/// Returns whether the metric is the queue's, or may be, because a dimension is unknown.
fn may_be_of(metric: &Metric, queue: &Queue) -> bool {
    match metric.dimensions.get("QueueName") {
        Some(Setting::Known(name)) => *name == queue.name,
        Some(_) => true,
        None => metric.hidden,
    }
}

fn is_of(metric: &Metric, queue: &Queue) -> bool {
    !metric.hidden && may_be_of(metric, queue)
}

/// Returns whether an alarm watches one of these metrics of the queue. An alarm on a metric that cannot be read counts.
fn is_watched(alarms: &[Alarm], queue: &Queue, names: &[&str]) -> bool {
    let fits = |metric: &Metric| names.iter().any(|name| metric.is(SQS, name)) && may_be_of(metric, queue);
    alarms.iter().any(|alarm| alarm.metrics.is_empty() || alarm.metrics.iter().any(fits))
}

fn dead_letter_no_alarm(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.dead_letter_queues().into_iter().filter(|_| !model.inventory.hidden) {
        // An alarm on NumberOfMessagesSent is dead-letter-alarm-silent.
        let watched = [OF_CONTENT.as_slice(), &["NumberOfMessagesSent"]].concat();
        if !is_watched(&model.alarms, queue, &watched) {
            findings.add(&queue.origin, "", "no alarm watches its messages");
        }
    }
}

fn dead_letter_alarm_silent(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.dead_letter_queues() {
        let silent = |metric: &Metric| metric.is(SQS, "NumberOfMessagesSent") && is_of(metric, queue);
        for alarm in model.alarms.iter().filter(|alarm| alarm.metrics.iter().any(silent)) {
            findings.add(&alarm.origin, "MetricName", format!("does not count what SQS moves to {}", queue.origin.id));
        }
    }
}

fn no_age_alarm(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.queues.iter().filter(|queue| model.is_consumed(queue) && !model.inventory.hidden) {
        if !is_watched(&model.alarms, queue, &["ApproximateAgeOfOldestMessage"]) {
            findings.add(&queue.origin, "", "no alarm watches the age of its messages");
        }
    }
}

fn alarm_dimensions(model: &Model<'_>, findings: &mut Findings) {
    for alarm in &model.alarms {
        for metric in alarm.metrics.iter().filter(|metric| !metric.hidden) {
            let has = |name| metric.dimensions.contains_key(name);
            let what = match metric.namespace.as_str() {
                Some(SQS) if !has("QueueName") => "has no QueueName",
                Some(MQ) if !has("Broker") => "has no Broker",
                Some(MQ) if has("Queue") && !has("VirtualHost") => "has a Queue and no VirtualHost",
                _ => continue,
            };
            findings.add(&alarm.origin, "Dimensions", what);
        }
    }
}

fn alarm_unknown_queue(model: &Model<'_>, findings: &mut Findings) {
    let declared = model.project.topology.as_ref().map(|topology| topology.queue_declarations());
    for alarm in &model.alarms {
        for metric in &alarm.metrics {
            let dimension = |name| metric.dimensions.get(name).and_then(Setting::as_str);
            if let (true, Some(name)) = (metric.namespace.is(SQS), dimension("QueueName"))
                && !model.queues.is_empty()
                && !model.queues.iter().any(|queue| queue.name == name)
            {
                findings.add(&alarm.origin, "Dimensions", format!("there is no queue {name} here"));
            }
            if let (true, Some(name), Some(declared)) = (metric.namespace.is(MQ), dimension("Queue"), &declared)
                && !declared.iter().any(|queue| queue.name == name)
            {
                findings.add(&alarm.origin, "Dimensions", format!("the topology has no queue {name}"));
            }
        }
    }
}

fn alarm_metric_gone(model: &Model<'_>, findings: &mut Findings) {
    if model.rabbitmq_brokers().any(Broker::is_version_4) {
        let single = |metric: &Metric| metric.namespace.is(MQ) && metric.dimensions.contains_key("Queue");
        for alarm in model.alarms.iter().filter(|alarm| alarm.metrics.iter().any(single)) {
            findings.add(&alarm.origin, "Dimensions", "watches a single queue");
        }
    }
}

fn alarm_without_action(model: &Model<'_>, findings: &mut Findings) {
    if let [first, ..] = model.alarms.as_slice()
        && !model.alarms.iter().any(|alarm| alarm.acts)
    {
        findings.add(&first.origin, "AlarmActions", format!("none of {} alarm(s) has an action", model.alarms.len()));
    }
}

/// Returns why an alarm on a single metric of AWS cannot fire when it should. None of these metrics is ever negative.
fn never_fires(model: &Model<'_>, alarm: &Alarm) -> Option<String> {
    let [metric] = alarm.metrics.as_slice() else { return None };
    let (threshold, comparison) = (alarm.threshold.copied()?, alarm.comparison.as_str()?);
    let namespace = metric.namespace.as_str().filter(|name| name.starts_with("AWS/"))?;
    let name = metric.name.as_str()?;
    let (below, with_equal) = (comparison.starts_with("LessThan"), comparison.contains("OrEqualTo"));
    if below && (threshold < 0.0 || (threshold == 0.0 && !with_equal)) {
        return Some(format!("{name} is never below {threshold}"));
    }
    let counts_failures = match namespace {
        SQS => OF_CONTENT.contains(&name) && model.dead_letter_queues().into_iter().any(|queue| is_of(metric, queue)),
        "AWS/Lambda" => ["Errors", "Throttles"].contains(&name),
        _ => false,
    };
    if below && counts_failures {
        return Some(format!("{comparison} fires while {name} is low, which is normal"));
    }
    if !below && metric.is(SQS, "ApproximateAgeOfOldestMessage") {
        let queue = model.queues.iter().find(|queue| is_of(metric, queue))?;
        let retention_s = queue.retention_s.copied()? as f64;
        if threshold > retention_s || (threshold == retention_s && !with_equal) {
            let id = &queue.origin.id;
            return Some(format!("{id} deletes its messages after {retention_s} s, before {threshold} s"));
        }
    }
    None
}

fn alarm_cannot_fire(model: &Model<'_>, findings: &mut Findings) {
    for alarm in &model.alarms {
        if let Some(what) = never_fires(model, alarm) {
            findings.add(&alarm.origin, "Threshold", what);
        }
    }
}

fn alarm_actions_disabled(model: &Model<'_>, findings: &mut Findings) {
    for alarm in model.alarms.iter().filter(|alarm| alarm.enabled.is(&false)) {
        findings.add(&alarm.origin, "ActionsEnabled", "is false");
    }
}

fn dead_letter_alarm_late(model: &Model<'_>, findings: &mut Findings) {
    for queue in model.dead_letter_queues() {
        for alarm in &model.alarms {
            let ([metric], Some(threshold)) = (alarm.metrics.as_slice(), alarm.threshold.copied()) else { continue };
            let ignored = match alarm.comparison.as_str() {
                Some("GreaterThanThreshold") => threshold,
                Some("GreaterThanOrEqualToThreshold") => threshold - 1.0,
                _ => continue,
            };
            if ignored >= 1.0 && metric.is(SQS, OF_CONTENT[0]) && is_of(metric, queue) {
                let what = format!("ignores {ignored} messages in {}", queue.origin.id);
                findings.add(&alarm.origin, "Threshold", what);
            }
        }
    }
}

fn topic_without_subscription(model: &Model<'_>, findings: &mut Findings) {
    // Subscriptions made by hand to a deployed stack are unknown.
    let written = model.topics.iter().filter(|topic| topic.origin.is_written() && !model.inventory.hidden);
    for topic in written.filter(|topic| !topic.subscribed) {
        let notifies = |alarm: &&Alarm| alarm.actions.iter().any(|action| action.is(&topic.arn));
        let alarms = model.alarms.iter().filter(notifies).count();
        if alarms > 0 {
            findings.add(&topic.origin, "", format!("{alarms} alarm(s) notify it, and it has no subscription"));
        }
    }
}
