//! Checks of bindings: the `QUEUE_<NAME>` variables against the contract and the queues, `IDEMPOTENCY_TABLE`,
//! `PAYLOAD_BUCKET`, `ARCHIVE_BUCKET` and `KEYS_ENDPOINTS`.

use std::collections::BTreeMap;

use sluicegate_contract::{ARCHIVE_QUEUE, Operation, binding_variable};
use sluicegate_queue::Binding;
use sluicegate_sam::{Setting, Source};
use sluicegate_topology::Queue;

use super::{Check, Findings, Model, Severity, archive::BUCKET as ARCHIVE_BUCKET};
use crate::model::{Function, Mapping};

const CONFIGURATION: &str = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html";

const IDEMPOTENCY_TABLE: &str = "IDEMPOTENCY_TABLE";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "queue-unbound",
        severity: Severity::Error,
        title: "the contract names a queue that no QUEUE_<NAME> binds",
        why: "The function refuses to start: every request is answered 500.",
        fix: "Add the variable, with the queue's URL, rabbitmq:EXCHANGE/ROUTING_KEY or kafka:TOPIC.",
        source: CONFIGURATION,
        find: queue_unbound,
    },
    Check {
        id: "store-unbound",
        severity: Severity::Error,
        title: "a route keeps idempotency keys, a rate limit or statuses in a table, and no IDEMPOTENCY_TABLE names it",
        why: "The function refuses to start: every request is answered 500.",
        fix: "Run `sluicegate sync`, which adds the table, its permissions and the variable.",
        source: CONFIGURATION,
        find: store_unbound,
    },
    Check {
        id: "status-unbound",
        severity: Severity::Warning,
        title: "a route has statuses, and a consumer of its messages has no IDEMPOTENCY_TABLE",
        why: "The consumer records nothing: to its sender, a message stays accepted until its status expires.",
        fix: "Run `sluicegate sync`, which adds the permissions, the variable and the feature dynamodb.",
        source: CONFIGURATION,
        find: status_unbound,
    },
    Check {
        id: "payload-bucket-unbound",
        severity: Severity::Error,
        title: "a route sends large payloads to S3, and no PAYLOAD_BUCKET names the bucket",
        why: "The function refuses to start: every request is answered 500.",
        fix: "Run `sluicegate sync`, which adds the bucket, the permissions and the variables.",
        source: CONFIGURATION,
        find: payload_bucket_unbound,
    },
    Check {
        id: "archive-bucket-unbound",
        severity: Severity::Error,
        title: "a route is archived, and the consumer of its archive has no ARCHIVE_BUCKET",
        why: "The archiver does not start without it; another consumer handles the messages and archives none.",
        fix: "Let ArchiverFunction alone consume the queue, with ARCHIVE_BUCKET: !Ref ArchiveBucket; `sluicegate sync` writes both.",
        source: CONFIGURATION,
        find: archive_bucket_unbound,
    },
    Check {
        id: "binding-form",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> is neither a queue's URL nor rabbitmq:EXCHANGE/ROUTING_KEY nor kafka:TOPIC",
        why: "The function refuses to start: every request is answered 500.",
        fix: "Use !Ref Queue, which is its URL, rabbitmq:EXCHANGE/ROUTING_KEY or kafka:TOPIC.",
        source: CONFIGURATION,
        find: binding_form,
    },
    Check {
        id: "binding-unknown-queue",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> names a queue that does not exist in this account",
        why: "Every request for that queue is answered 503.",
        fix: "Use !Ref Queue.",
        source: CONFIGURATION,
        find: binding_unknown_queue,
    },
    Check {
        id: "binding-dead-letter",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> names a dead-letter queue",
        why: "New messages are stored among the dead letters, where nothing consumes them.",
        fix: "Bind the queue itself: !Ref Queue, not its dead-letter queue.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-dead-letter-queues.html",
        find: binding_dead_letter,
    },
    Check {
        id: "queue-not-consumed",
        severity: Severity::Error,
        title: "a queue of the contract has no consumer",
        why: "Requests are answered 202, and their messages stay on the queue until its retention ends and SQS deletes them.",
        fix: "Give the consumer an event of the queue: Type: SQS with the queue's ARN, or Type: MQ with its name.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html",
        find: queue_not_consumed,
    },
    Check {
        id: "delay-on-fifo",
        severity: Severity::Error,
        title: "a route asks for a delay, and its queue is FIFO",
        why: "FIFO queues do not support a delay for a single message; the function refuses to start.",
        fix: "Bind the route's queue to a standard queue, or remove the delay.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html",
        find: delay_on_fifo,
    },
    Check {
        id: "keys-endpoints",
        severity: Severity::Error,
        title: "a function has KEYS_ENDPOINTS, which is for the local stack",
        why: "The function asks its own 127.0.0.1 for the keys of these hosts: every token and webhook that needs one is answered 503 key_unavailable.",
        fix: "Remove the variable; cargo local sets it itself.",
        source: CONFIGURATION,
        find: keys_endpoints,
    },
];

/// Returns the bindings of the logical queues with these names, or the variable and the reason of each invalid one. An
/// unknown value counts as the URL of some queue.
fn bind(function: &Function, names: &[&str]) -> Result<BTreeMap<String, Binding>, Vec<(String, String)>> {
    let lookup = |variable: &str| match function.variable(variable) {
        Setting::Known(value) => Some(value),
        Setting::Unknown(_) => Some("https://sqs.amazonaws.com/0/unknown".to_owned()),
        Setting::Absent => None,
    };
    let bound = Binding::from_env(names.iter().copied(), binding_variable, lookup);
    bound.map_err(|errors| errors.into_iter().map(|error| (error.variable, error.reason)).collect())
}

fn queue_unbound(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    let wanted: Vec<&str> = contract.queues().into_iter().collect();
    for function in model.functions.iter().filter(|function| function.binds_queues()) {
        for (variable, reason) in bind(function, &wanted).err().into_iter().flatten() {
            if function.variable(&variable).is_absent() {
                findings.add_variable(function, &variable, format!("{variable} {reason}"));
            }
        }
    }
}

fn store_unbound(model: &Model<'_>, findings: &mut Findings) {
    let stored = model.project.contract.as_ref().and_then(|contract| contract.first_with_store());
    let setting = match stored {
        Some(operation) if operation.enqueue.status => "status: true",
        _ => "store: dynamodb",
    };
    needed_by(stored, setting, IDEMPOTENCY_TABLE, model, findings);
}

fn status_unbound(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    let mut unbound = BTreeMap::new();
    for operation in contract.operations().iter().filter(|operation| operation.enqueue.status) {
        let handled = operation.enqueue.queues().filter(|queue| *queue != ARCHIVE_QUEUE);
        let queues: Vec<_> = handled.flat_map(|queue| model.bound(queue)).collect();
        let consumers = model.consumed().filter(|(consumed, ..)| queues.iter().any(|queue| queue.arn == consumed.arn));
        for (_, _, function) in consumers.filter(|(.., function)| function.variable(IDEMPOTENCY_TABLE).is_absent()) {
            unbound.entry(&function.name).or_insert((function, operation));
        }
    }
    for (function, operation) in unbound.into_values() {
        let what = format!("{IDEMPOTENCY_TABLE} is not set, and {} has `status: true`", operation.id);
        findings.add_variable(function, IDEMPOTENCY_TABLE, what);
    }
}

fn keys_endpoints(model: &Model<'_>, findings: &mut Findings) {
    const VARIABLE: &str = "KEYS_ENDPOINTS";
    for function in model.functions.iter().filter(|function| function.binds_queues()) {
        if function.variable(VARIABLE).is_written() {
            findings.add_variable(function, VARIABLE, format!("{VARIABLE} is set"));
        }
    }
}

fn payload_bucket_unbound(model: &Model<'_>, findings: &mut Findings) {
    let large = model.project.contract.as_ref().and_then(|contract| contract.first_with_large_payloads());
    needed_by(large, "largePayloads: s3", "PAYLOAD_BUCKET", model, findings);
}

/// Adds a finding for each function that does not set a variable which a setting of an operation needs.
fn needed_by(operation: Option<&Operation>, setting: &str, variable: &str, model: &Model<'_>, findings: &mut Findings) {
    let Some(operation) = operation else { return };
    for function in model.functions.iter().filter(|function| function.binds_queues()) {
        if function.variable(variable).is_absent() {
            let what = format!("{variable} is not set, and {} has `{setting}`", operation.id);
            findings.add_variable(function, variable, what);
        }
    }
}

fn archive_bucket_unbound(model: &Model<'_>, findings: &mut Findings) {
    let archived = model.project.contract.as_ref().and_then(|contract| contract.first_archived());
    let Some(operation) = archived else { return };
    let queues = model.bound(ARCHIVE_QUEUE);
    let consumers = model.consumed().filter(|(consumed, ..)| queues.iter().any(|queue| queue.arn == consumed.arn));
    for (_, _, function) in consumers.filter(|(.., function)| function.variable(ARCHIVE_BUCKET).is_absent()) {
        let what = format!("{ARCHIVE_BUCKET} is not set, and {} has `archive: true`", operation.id);
        findings.add_variable(function, ARCHIVE_BUCKET, what);
    }
}

fn binding_form(model: &Model<'_>, findings: &mut Findings) {
    for function in &model.functions {
        let names: Vec<&str> =
            function.bindings().filter_map(|(variable, _)| variable.strip_prefix("QUEUE_")).collect();
        for (variable, reason) in bind(function, &names).err().into_iter().flatten() {
            if function.variable(&variable).is_written() {
                findings.add_variable(function, &variable, format!("{variable} {reason}"));
            }
        }
    }
}

fn binding_unknown_queue(model: &Model<'_>, findings: &mut Findings) {
    // A deployed function may use a queue of another stack.
    for function in model.functions.iter().filter(|function| function.origin.is_written()) {
        for (variable, value) in function.bindings() {
            let Some(url) = value.as_str().filter(|url| url.contains("://")) else { continue };
            let mut parts = url.rsplit('/');
            let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            // The queues of other accounts are unknown.
            let here = model.queues.iter().any(|queue| queue.arn.split(':').nth(4) == Some(account));
            if here && model.queue_at(url).is_none() {
                findings.add_variable(function, variable, format!("there is no queue {name} here"));
            }
        }
    }
}

fn delay_on_fifo(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    for operation in contract.operations().iter().filter(|operation| operation.enqueue.delay_s_max() > 0) {
        let what = match &operation.enqueue.delay_header {
            None => format!("{} asks for a delay of {} s", operation.id, operation.enqueue.delay_s),
            Some(header) => format!("{} takes a delay from the header {header}", operation.id),
        };
        for queue in operation.enqueue.queues().flat_map(|queue| model.bound(queue)).filter(|queue| queue.is_fifo()) {
            findings.add(&queue.origin, "FifoQueue", what.as_str());
        }
    }
}

fn binding_dead_letter(model: &Model<'_>, findings: &mut Findings) {
    for (function, variable, queue) in model.senders().filter(|(.., queue)| model.keeps_dead_letters(queue)) {
        findings.add_variable(function, variable, format!("names the dead-letter queue {}", queue.origin.id));
    }
}

fn queue_not_consumed(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    let unknown = model.mappings.iter().any(|mapping| match &mapping.source {
        Source::Sqs { queue } => queue.is_unknown(),
        Source::Mq { queues, .. } => queues.iter().any(Setting::is_unknown),
        Source::Kafka(_) => false,
    });
    // An unknown mapping may consume the queue.
    if unknown || model.inventory.hidden {
        return;
    }
    for name in contract.queues() {
        for queue in model.bound(name).into_iter().filter(|queue| !model.keeps_dead_letters(queue)) {
            let consumes =
                |mapping: &Mapping| matches!(&mapping.source, Source::Sqs { queue: arn } if arn.is(&queue.arn));
            if !model.mappings.iter().any(consumes) {
                let what = format!("takes what the contract sends to {name}, and has no event source mapping");
                findings.add(&queue.origin, "", what);
            }
        }
        for (function, variable, exchange) in exchanges(model, name) {
            let Some(topology) = &model.project.topology else { continue };
            let is_bound = |queue: &&Queue| queue.bindings.iter().any(|binding| binding.exchange == exchange);
            let mut queues = topology.queues().iter().filter(is_bound).peekable();
            let is_read = |queue: &Queue| {
                let reads = |mapping: &Mapping| match &mapping.source {
                    Source::Mq { queues, .. } => queues.iter().any(|name| name.is(&queue.name)),
                    Source::Sqs { .. } | Source::Kafka(_) => false,
                };
                model.mappings.iter().any(reads)
            };
            // An exchange without queues is topology-exchange.
            if queues.peek().is_some() && !queues.any(is_read) {
                let what = format!("sends to exchange {exchange}, and no mapping names a queue that is bound to it");
                findings.add_variable(function, &variable, what);
            }
        }
    }
}

/// Returns the functions that bind the logical queue `name` to an exchange, with the variable and the exchange.
fn exchanges<'m>(model: &'m Model<'_>, name: &str) -> Vec<(&'m Function, String, String)> {
    let variable = binding_variable(name);
    let bound = model.functions.iter().filter(|function| function.bindings().any(|(own, _)| own == variable));
    let exchange = |function: &'m Function| match bind(function, &[name]).ok()?.remove(name)? {
        Binding::Rabbitmq { exchange, .. } if !exchange.is_empty() => Some((function, variable.clone(), exchange)),
        _ => None,
    };
    bound.filter_map(exchange).collect()
}
