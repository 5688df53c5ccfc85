//! Checks of the RabbitMQ topology against functions and mappings. Every queue of a topology file has a dead-letter
//! queue, and every quorum queue a delivery limit, so neither is checked.

use std::time::Duration;

use sluicegate_contract::binding_variable;
use sluicegate_queue::{
    Binding,
    queue_names::{RetryDelays, delay_exchange, retry_queue},
};
use sluicegate_sam::{Setting, Source};
use sluicegate_topology::{Queue, Topology};

use super::{Check, Findings, Model, Severity};
use crate::model::{Function, Mapping};

/// The default of the consumer's `RABBITMQ_MAX_RECEIVE_COUNT`: `batch/src/source/rabbitmq/config.rs`.
const RECEIVE_COUNT_MAX_DEFAULT: u64 = 5;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "topology-queue",
        severity: Severity::Error,
        title: "an MQ event source mapping names a queue that the topology does not have",
        why: "Lambda waits for a queue that is never declared, or reads from one without retry and dead-letter queues.",
        fix: "Declare the queue with infra/queue.yaml or in infra/topology.yaml and run sluicegate topology apply, or name another.",
        source: "https://docs.aws.amazon.com/lambda/latest/dg/services-mq-errors.html",
        find: topology_queue,
    },
    Check {
        id: "topology-exchange",
        severity: Severity::Error,
        title: "a QUEUE_<NAME> names an exchange that the topology lacks or binds no queue to",
        why: "Every request for it is answered 503: a message that reaches no queue is not accepted.",
        fix: "Declare the queue with infra/queue.yaml, or its exchange in infra/topology.yaml, and run sluicegate topology apply.",
        source: "https://www.rabbitmq.com/docs/publishers#unroutable",
        find: topology_exchange,
    },
    Check {
        id: "retry-delays-without-queue",
        severity: Severity::Error,
        title: "RABBITMQ_RETRY_DELAYS has steps that the topology has no retry queue for",
        why: "A retry with such a delay has no queue to wait on: the message is dead-lettered, with that reason.",
        fix: "Give RABBITMQ_RETRY_DELAYS and retry in infra/topology.yaml the same steps; run sluicegate topology apply.",
        source: "https://www.rabbitmq.com/docs/ttl",
        find: retry_delays_without_queue,
    },
    Check {
        id: "route-delay",
        severity: Severity::Error,
        title: "a route asks for a delay that its exchange has no queue for",
        why: "Every request of that route is answered 503, or the function refuses to start.",
        fix: "Add the step to the exchange's delays in infra/topology.yaml and to RABBITMQ_RETRY_DELAYS.",
        source: "https://www.rabbitmq.com/docs/ttl",
        find: route_delay,
    },
    Check {
        id: "receive-count-above-limit",
        severity: Severity::Error,
        title: "RABBITMQ_MAX_RECEIVE_COUNT is not below the queue's delivery limit",
        why: "RabbitMQ dead-letters a message before the consumer does: without a reason, and before its last retry.",
        fix: "Set delivery-limit in infra/topology.yaml well above RABBITMQ_MAX_RECEIVE_COUNT.",
        source: "https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling",
        find: receive_count_above_limit,
    },
    Check {
        id: "single-active-consumer-not-ordered",
        severity: Severity::Error,
        title: "a queue with a single active consumer is not among RABBITMQ_ORDERED_QUEUES",
        why: "The consumer sends a failed message through a retry queue, and it comes back behind later ones.",
        fix: "Name the queue in RABBITMQ_ORDERED_QUEUES, or leave out single-active-consumer.",
        source: "https://www.rabbitmq.com/docs/consumers#single-active-consumer",
        find: single_active_consumer_not_ordered,
    },
];

/// Returns each MQ mapping of a consumer that republishes, with the name of its queue.
fn mapped<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (&'m Mapping, &'m Function, &'m str)> {
    model.fed_by_brokers().filter_map(|(mapping, function)| match &mapping.source {
        Source::Mq { queues, .. } if function.variable("RABBITMQ_URL").is_written() => {
            let [Setting::Known(queue)] = queues.as_slice() else { return None };
            Some((mapping, function, queue.as_str()))
        }
        _ => None,
    })
}

fn declared<'t>(topology: &'t Topology, queue: &str) -> Option<&'t Queue> {
    topology.queues().iter().find(|declared| declared.name == queue)
}

fn topology_queue(model: &Model<'_>, findings: &mut Findings) {
    let Some(topology) = &model.project.topology else { return };
    for (mapping, _, queue) in mapped(model).filter(|(.., queue)| declared(topology, queue).is_none()) {
        findings.add(&mapping.origin, "Queues", format!("there is no queue {queue}"));
    }
}

/// Returns the exchanges that functions bind queues to, with the function and the variable.
fn exchanges<'m>(model: &'m Model<'_>) -> impl Iterator<Item = (&'m Function, &'m str, String)> {
    let bindings = model.functions.iter().flat_map(|function| {
        function.bindings().map(move |(variable, _)| (function, variable, function.variable(variable)))
    });
    bindings.filter_map(|(function, variable, value)| match Binding::parse(value.as_str()?).ok()? {
        Binding::Rabbitmq { exchange, .. } => Some((function, variable, exchange)),
        Binding::Sqs { .. } | Binding::Kafka { .. } => None,
    })
}

fn topology_exchange(model: &Model<'_>, findings: &mut Findings) {
    let Some(topology) = &model.project.topology else { return };
    // The default exchange, which has no name, routes to each queue by the queue's name.
    for (function, variable, name) in exchanges(model).filter(|(.., name)| !name.is_empty()) {
        let mut bindings = topology.queues().iter().flat_map(|queue| &queue.bindings);
        if !topology.exchanges().iter().any(|exchange| exchange.name == name) {
            findings.add_variable(function, variable, format!("there is no exchange {name}"));
        } else if !bindings.any(|binding| binding.exchange == name) {
            findings.add_variable(function, variable, format!("no queue is bound to exchange {name}"));
        }
    }
}

/// Returns the function's retry delays. An invalid variable is a finding.
fn retry_delays(function: &Function, findings: &mut Findings) -> Option<RetryDelays> {
    match function.variable("RABBITMQ_RETRY_DELAYS") {
        Setting::Absent => Some(RetryDelays::default()),
        Setting::Unknown(_) => None,
        Setting::Known(text) => match RetryDelays::parse(&text) {
            Ok(delays) => Some(delays),
            Err(error) => {
                findings.add_variable(function, "RABBITMQ_RETRY_DELAYS", error.to_string());
                None
            }
        },
    }
}

fn retry_delays_without_queue(model: &Model<'_>, findings: &mut Findings) {
    let Some(topology) = &model.project.topology else { return };
    for function in &model.functions {
        let mut own = mapped(model).filter(|(_, by, _)| by.name == function.name).peekable();
        let Some(delays) = own.peek().is_some().then(|| retry_delays(function, findings)).flatten() else { continue };
        for (_, _, name) in own {
            let Some(queue) = declared(topology, name) else { continue };
            let lacking = delays.delays_s().iter().filter(|step_s| !queue.retry.delays_s().contains(step_s));
            let lacking: Vec<String> = lacking.map(|step_s| retry_queue(name, *step_s)).collect();
            if !lacking.is_empty() {
                let what = format!("the topology does not have {}", lacking.join(", "));
                findings.add_variable(function, "RABBITMQ_RETRY_DELAYS", what);
            }
        }
    }
}

fn route_delay(model: &Model<'_>, findings: &mut Findings) {
    let (Some(topology), Some(contract)) = (&model.project.topology, &model.project.contract) else { return };
    for (function, variable, name) in exchanges(model) {
        let Some(delays) = retry_delays(function, &mut Findings::default()) else { continue };
        let Some(exchange) = topology.exchanges().iter().find(|exchange| exchange.name == name) else { continue };
        for operation in contract.operations() {
            let delay_s = operation.enqueue.delay_s_max();
            if delay_s == 0 || !operation.enqueue.queues().any(|queue| binding_variable(queue) == variable) {
                continue;
            }
            let has = |step_s| exchange.delays.as_ref().is_some_and(|delays| delays.delays_s().contains(&step_s));
            let lack = match delays.at_least_s(Duration::from_secs(delay_s.into())) {
                None => "longer than any step of RABBITMQ_RETRY_DELAYS".to_owned(),
                Some(step_s) if !has(step_s) => {
                    format!("and the topology does not have {}", delay_exchange(&name, step_s))
                }
                Some(_) => continue,
            };
            findings.add_variable(function, variable, format!("{} asks for {delay_s} s, {lack}", operation.id));
        }
    }
}

fn receive_count_above_limit(model: &Model<'_>, findings: &mut Findings) {
    let Some(topology) = &model.project.topology else { return };
    for (_, function, name) in mapped(model) {
        let variable = "RABBITMQ_MAX_RECEIVE_COUNT";
        let receives = function.count(variable, RECEIVE_COUNT_MAX_DEFAULT);
        let limit = declared(topology, name).and_then(Queue::delivery_limit);
        if let (Some(receives), Some(limit)) = (receives, limit)
            && receives >= u64::from(limit)
        {
            let what = format!("gives up after {receives} receives, {name} has a delivery limit of {limit}");
            findings.add_variable(function, variable, what);
        }
    }
}

fn single_active_consumer_not_ordered(model: &Model<'_>, findings: &mut Findings) {
    let Some(topology) = &model.project.topology else { return };
    for (_, function, name) in mapped(model) {
        let variable = "RABBITMQ_ORDERED_QUEUES";
        let ordered = match function.variable(variable) {
            Setting::Absent => String::new(),
            Setting::Unknown(_) => continue,
            Setting::Known(names) => names,
        };
        if declared(topology, name).is_some_and(Queue::has_single_active_consumer)
            && !ordered.split(',').any(|ordered| ordered.trim() == name)
        {
            findings.add_variable(function, variable, format!("{name} is not in it"));
        }
    }
}
