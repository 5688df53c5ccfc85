//! Checks of queues that are bound to Kafka.

use sluicegate_contract::binding_variable;

use super::{Check, Findings, Model, Severity};
use crate::model::Function;

const SERVERS: &str = "KAFKA_BOOTSTRAP_SERVERS";

const CONFIGURATION: &str = "https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html";

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "kafka-servers-missing",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> names a topic of Kafka, and no KAFKA_BOOTSTRAP_SERVERS says where the cluster is",
        why: "The function refuses to start: every request is answered 500.",
        fix: "Add the variable, with HOST:PORT of some brokers and commas between them.",
        source: CONFIGURATION,
        find: servers_missing,
    },
    Check {
        id: "delay-on-kafka",
        severity: Severity::Error,
        title: "a route asks for a delay, and its queue is a topic of Kafka",
        why: "Kafka does not delay messages; the function refuses to start.",
        fix: "Bind the route's queue to SQS or RabbitMQ, or remove the delay.",
        source: CONFIGURATION,
        find: delay_on_kafka,
    },
];

/// Returns the variables of a function that name a topic.
fn topics(function: &Function) -> impl Iterator<Item = &str> {
    let is_topic = |value: &str| value.trim().starts_with("kafka:");
    function.bindings().filter(move |(_, value)| value.as_str().is_some_and(is_topic)).map(|(variable, _)| variable)
}

fn servers_missing(model: &Model<'_>, findings: &mut Findings) {
    for function in model.functions.iter().filter(|function| function.variable(SERVERS).is_absent()) {
        for variable in topics(function) {
            findings.add_variable(function, variable, format!("names a topic, and there is no {SERVERS}"));
        }
    }
}

fn delay_on_kafka(model: &Model<'_>, findings: &mut Findings) {
    let Some(contract) = &model.project.contract else { return };
    for operation in contract.operations().iter().filter(|operation| operation.enqueue.delay_s_max() > 0) {
        for variable in operation.enqueue.queues().map(binding_variable) {
            for function in model.functions.iter().filter(|function| topics(function).any(|own| own == variable)) {
                findings.add_variable(function, &variable, format!("is for {}, which has a delay", operation.id));
            }
        }
    }
}
