//! Where logical queues live: `QUEUE_<NAME>` of a function, against the contract and the queues there are.

use std::collections::BTreeMap;

use sluicegate_queue::Binding;

use super::permissions::at;
use crate::{
    finding::{Check, Hits, Severity},
    model::{Function, Model},
    setting::Setting,
};

const CONFIGURATION: &str = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "queue-unbound",
        severity: Severity::Error,
        title: "the contract names a queue that no QUEUE_<NAME> binds",
        why: "The function refuses to start: every request is answered 500.",
        mend: "Add the variable, with the queue's URL or rabbitmq:EXCHANGE/ROUTING_KEY.",
        source: CONFIGURATION,
        find: queue_unbound,
    },
    Check {
        id: "binding-form",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> is neither a queue's URL nor rabbitmq:EXCHANGE/ROUTING_KEY",
        why: "The function refuses to start: every request is answered 500.",
        mend: "Use !Ref Queue, which is its URL, or rabbitmq:EXCHANGE/ROUTING_KEY.",
        source: CONFIGURATION,
        find: binding_form,
    },
    Check {
        id: "binding-unknown-queue",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> names a queue of this account that is not there",
        why: "Every request for that queue is answered 503.",
        mend: "Use !Ref Queue.",
        source: CONFIGURATION,
        find: binding_unknown_queue,
    },
    Check {
        id: "delay-on-fifo",
        severity: Severity::Error,
        title: "a route asks for a delay, and its queue is FIFO",
        why: "FIFO queues take no delay for a single message; the function refuses to start.",
        mend: "Bind the route's queue to a standard queue, or remove the delay.",
        source: "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html",
        find: delay_on_fifo,
    },
];

/// The bindings of the queues with these names, in the order of the names; what is not known is some queue.
fn bind(function: &Function, names: &[&str]) -> Result<BTreeMap<String, Binding>, Vec<(String, String)>> {
    let lookup = |variable: &str| match function.variable(variable) {
        Setting::Known(value) => Some(value),
        Setting::Unknown => Some("https://sqs.amazonaws.com/0/unknown".to_owned()),
        Setting::Absent => None,
    };
    let bound = Binding::from_env(names.iter().copied(), lookup);
    bound.map_err(|errors| errors.into_iter().map(|error| (error.variable, error.reason)).collect())
}

/// Of each variable the logical name it is for, near enough.
fn names(function: &Function) -> Vec<&str> {
    function.bindings().filter_map(|(variable, _)| variable.strip_prefix("QUEUE_")).collect()
}

fn queue_unbound(model: &Model<'_>, hits: &mut Hits) {
    let Some(contract) = &model.project.contract else { return };
    let wanted: Vec<&str> = contract.queues().into_iter().collect();
    for function in model.functions.iter().filter(|function| function.bindings().next().is_some()) {
        for (variable, reason) in bind(function, &wanted).err().into_iter().flatten() {
            if function.variable(&variable).is_absent() {
                hits.add(&function.origin, &at(&variable), format!("{variable} {reason}"));
            }
        }
    }
}

fn binding_form(model: &Model<'_>, hits: &mut Hits) {
    for function in &model.functions {
        for (variable, reason) in bind(function, &names(function)).err().into_iter().flatten() {
            if function.variable(&variable).is_absent() {
                continue;
            }
            hits.add(&function.origin, &at(&variable), format!("{variable} {reason}"));
        }
    }
}

fn binding_unknown_queue(model: &Model<'_>, hits: &mut Hits) {
    // What is deployed may well use another stack's queue.
    for function in model.functions.iter().filter(|function| function.origin.is_written()) {
        for (variable, value) in function.bindings() {
            let Some(url) = value.as_ref().known().filter(|url| url.contains("://")) else { continue };
            let mut parts = url.rsplit('/');
            let (name, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            // Of other accounts nothing is known here.
            let here = model.queues.iter().any(|queue| queue.arn.split(':').nth(4) == Some(account));
            if here && model.queue_at(url).is_none() {
                hits.add(&function.origin, &at(variable), format!("there is no queue {name} here"));
            }
        }
    }
}

fn delay_on_fifo(model: &Model<'_>, hits: &mut Hits) {
    let Some(contract) = &model.project.contract else { return };
    for operation in contract.operations().iter().filter(|operation| operation.enqueue.delay_s > 0) {
        for queue in model.bound(&operation.enqueue.queue).into_iter().filter(|queue| queue.fifo) {
            let what = format!("{} asks for a delay of {} s", operation.id, operation.enqueue.delay_s);
            hits.add(&queue.origin, "FifoQueue", what);
        }
    }
}
