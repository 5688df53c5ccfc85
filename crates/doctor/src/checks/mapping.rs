//! Checks of event source mappings: settings that lose messages, that Lambda refuses, or that have no effect.

use std::collections::BTreeMap;

use sluicegate_sam::{Setting, Source};

use super::{Check, Findings, Model, Severity};
use crate::model::Mapping;

/// A larger batch requires a batching window. Same page as [`MAPPING`].
const BATCH_SIZE_UNWINDOWED: u64 = 10;
const MAPPING: &str = "https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html";
const ERRORS: &str = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "no-partial-batch-response",
        severity: Severity::Warning,
        title: "an SQS event source mapping ignores which messages failed",
        why: "Without ReportBatchItemFailures Lambda ignores the list of failed messages and deletes the whole batch. If the function returns an error instead, the whole batch is delivered again, including messages that succeeded.",
        fix: "Set FunctionResponseTypes: [ReportBatchItemFailures].",
        source: ERRORS,
        find: no_partial_batch_response,
    },
    Check {
        id: "filter-deletes",
        severity: Severity::Warning,
        title: "an event source mapping of a queue has a filter",
        why: "A message that matches no filter is deleted from the queue, on SQS as on RabbitMQ. It is neither left for another consumer nor dead-lettered.",
        fix: "Filter before the queue (a route's queue in the contract, an exchange's bindings), or have a queue for each consumer.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html",
        find: filter_deletes,
    },
    Check {
        id: "mappings-compete",
        severity: Severity::Error,
        title: "two event source mappings consume one queue",
        why: "Each message goes to one of them at random: each function sees a part, and with filters each deletes messages meant for the other.",
        fix: "Keep one mapping, or give each consumer a queue and send to both (SNS, or an exchange).",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html",
        find: mappings_compete,
    },
    Check {
        id: "mapping-disabled",
        severity: Severity::Warning,
        title: "an event source mapping is disabled",
        why: "Nothing consumes the queue, and its messages are deleted when their retention ends.",
        fix: "Set Enabled: true. Until then, watch the age of the oldest message.",
        source: MAPPING,
        find: mapping_disabled,
    },
    Check {
        id: "mapping-queue",
        severity: Severity::Error,
        title: "an SQS event source mapping does not name its queue by ARN",
        why: "!Ref of a queue is its URL. Lambda refuses the mapping.",
        fix: "Use !GetAtt Queue.Arn.",
        source: "https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-property-function-sqs.html",
        find: mapping_queue,
    },
    Check {
        id: "batch-size-without-window",
        severity: Severity::Error,
        title: "BatchSize is above 10 without a batching window",
        why: "Lambda refuses the mapping.",
        fix: "Set MaximumBatchingWindowInSeconds to at least 1, or BatchSize to 10.",
        source: MAPPING,
        find: batch_size_without_window,
    },
    Check {
        id: "fifo-batch",
        severity: Severity::Error,
        title: "a FIFO queue's mapping has a batching window, or a BatchSize above 10",
        why: "Lambda allows neither for FIFO queues and refuses the mapping.",
        fix: "Remove MaximumBatchingWindowInSeconds and set BatchSize to 10 at most.",
        source: MAPPING,
        find: fifo_batch,
    },
    Check {
        id: "maximum-concurrency-and-pollers",
        severity: Severity::Error,
        title: "an event source mapping has MaximumConcurrency and provisioned pollers",
        why: "They exclude each other; Lambda refuses the mapping.",
        fix: "Choose one: ScalingConfig or ProvisionedPollerConfig.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html",
        find: maximum_concurrency_and_pollers,
    },
    Check {
        id: "settings-of-other-sources",
        severity: Severity::Error,
        title: "an SQS or MQ event source mapping has settings of other sources",
        why: "SAM accepts them, and CloudFormation refuses them when it deploys. These sources have no failure destination and no number of retries.",
        fix: "Remove them. The queue's RedrivePolicy controls retries and dead letters; on RabbitMQ the consumer does.",
        source: MAPPING,
        find: settings_of_other_sources,
    },
    Check {
        id: "mapping-bypasses-alias",
        severity: Severity::Warning,
        title: "an event source mapping bypasses the alias that shifts traffic between versions",
        why: "The mapping invokes $LATEST: messages get new code at once, and a rollback of the alias does not change that.",
        fix: "Give the alias's ARN as the mapping's FunctionName.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/configuration-aliases.html",
        find: mapping_bypasses_alias,
    },
];

fn from_queues<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (&'m Mapping, &'m Setting<String>)> {
    model.mappings.iter().filter_map(|mapping| match &mapping.source {
        Source::Sqs { queue } => Some((mapping, queue)),
        Source::Mq { .. } | Source::Kafka(_) => None,
    })
}

fn no_partial_batch_response(model: &Model<'_>, findings: &mut Findings) {
    for (mapping, _) in from_queues(model) {
        if mapping.partial_batch.is(&false) && !mapping.batch_size.is(&1) {
            findings.add(&mapping.origin, "FunctionResponseTypes", "has no ReportBatchItemFailures");
        }
    }
}

fn filter_deletes(model: &Model<'_>, findings: &mut Findings) {
    let has_filters = |mapping: &&Mapping| matches!(&mapping.filters, Setting::Known(filters) if !filters.is_empty());
    for mapping in model.mappings.iter().filter(has_filters) {
        findings.add(&mapping.origin, "FilterCriteria", "messages that do not match are deleted");
    }
}

fn mappings_compete(model: &Model<'_>, findings: &mut Findings) {
    // A queue by its ARN, or by its broker and name.
    let queue = |mapping: &Mapping| match &mapping.source {
        Source::Sqs { queue: Setting::Known(arn) } => Some((arn.clone(), String::new())),
        Source::Mq { broker: Setting::Known(broker), queues, .. } => match queues.as_slice() {
            [Setting::Known(queue)] => Some((broker.clone(), queue.clone())),
            _ => None,
        },
        _ => None,
    };
    // Of two mappings with undecided conditions, perhaps only one exists.
    let certain = model.mappings.iter().filter(|mapping| mapping.certain && mapping.enabled.is(&true));
    let mut first = BTreeMap::new();
    for mapping in certain {
        let Some(queue) = queue(mapping) else { continue };
        match first.get(&queue) {
            None => drop(first.insert(queue, &mapping.origin.id)),
            Some(other) => findings.add(&mapping.origin, "", format!("reads the same queue as {other}")),
        }
    }
}

fn mapping_disabled(model: &Model<'_>, findings: &mut Findings) {
    for mapping in model.mappings.iter().filter(|mapping| mapping.enabled.is(&false)) {
        findings.add(&mapping.origin, "Enabled", "is disabled");
    }
}

fn mapping_queue(model: &Model<'_>, findings: &mut Findings) {
    for (mapping, queue) in from_queues(model) {
        if let Some(queue) = queue.as_str().filter(|queue| !queue.starts_with("arn:")) {
            let property = if mapping.is_event { "Queue" } else { "EventSourceArn" };
            findings.add(&mapping.origin, property, format!("is {queue}"));
        }
    }
}

fn batch_size_without_window(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, _) in model.consumed().filter(|(queue, ..)| !queue.is_fifo()) {
        let size = mapping.batch_size.copied().filter(|size| *size > BATCH_SIZE_UNWINDOWED);
        if let (Some(size), Some(0)) = (size, mapping.window_s.clone().or(0)) {
            let what = format!("is {size} for {}, without a batching window", queue.origin.id);
            findings.add(&mapping.origin, "BatchSize", what);
        }
    }
}

fn fifo_batch(model: &Model<'_>, findings: &mut Findings) {
    for (queue, mapping, _) in model.consumed().filter(|(queue, ..)| queue.is_fifo()) {
        for (property, setting, most) in [
            ("BatchSize", &mapping.batch_size, BATCH_SIZE_UNWINDOWED),
            ("MaximumBatchingWindowInSeconds", &mapping.window_s, 0),
        ] {
            if let Some(value) = setting.copied().filter(|value| *value > most) {
                findings.add(&mapping.origin, property, format!("is {value} for {}", queue.origin.id));
            }
        }
    }
}

fn maximum_concurrency_and_pollers(model: &Model<'_>, findings: &mut Findings) {
    for (mapping, _) in from_queues(model) {
        if mapping.provisioned && mapping.concurrency_max.is_written() {
            findings.add(&mapping.origin, "ProvisionedPollerConfig", "has both");
        }
    }
}

fn settings_of_other_sources(model: &Model<'_>, findings: &mut Findings) {
    for mapping in &model.mappings {
        for property in &mapping.misplaced {
            findings.add(&mapping.origin, property, format!("{property} is not for this source"));
        }
    }
}

fn mapping_bypasses_alias(model: &Model<'_>, findings: &mut Findings) {
    for mapping in model.mappings.iter().filter(|mapping| mapping.qualifier.is_none() && !mapping.is_event) {
        let function = mapping.function.as_str().and_then(|name| model.function(name));
        if let Some(function) = function.filter(|function| function.shifts_traffic) {
            findings.add(&mapping.origin, "FunctionName", format!("invokes {} without an alias", function.origin.id));
        }
    }
}
