//! Policies: only settings that RabbitMQ 3.10 supports and every later version still accepts; each refused setting has
//! a reason.

use std::collections::BTreeMap;

use serde_json::Value;
use sluicegate_yaml::{Checker, Data, Node};

use super::checks;
use crate::topology::{Policy, PolicyTarget};

/// The arguments that a definition may set, and the form of their values.
/// Sources: <https://www.rabbitmq.com/docs/policies>, <https://www.rabbitmq.com/docs/quorum-queues>.
const KNOWN: &[(&str, Form)] = &[
    ("alternate-exchange", Form::Name),
    ("dead-letter-exchange", Form::Name),
    ("dead-letter-routing-key", Form::Name),
    ("dead-letter-strategy", Form::OneOf(&["at-least-once", "at-most-once"])),
    ("delivery-limit", Form::Count),
    ("max-length", Form::Count),
    ("max-length-bytes", Form::Count),
    ("message-ttl", Form::Count),
    ("overflow", Form::OneOf(&["reject-publish", "drop-head"])),
    ("queue-leader-locator", Form::OneOf(&["client-local", "balanced"])),
];

/// Refused settings by prefix, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("ha-", "classic queue mirroring was removed in RabbitMQ 4.0; quorum queues are replicated as they are"),
    ("queue-mode", "lazy queues have no effect since RabbitMQ 3.12, and never had any on quorum queues"),
    ("queue-version", "it applies to classic queues only, and RabbitMQ 4.0 and later have one version"),
    ("queue-master-locator", "it was removed with classic queue mirroring; use queue-leader-locator"),
    ("max-in-memory-", "it has no effect on quorum queues since RabbitMQ 3.10"),
    ("expires", "an expired queue is deleted with its messages"),
    ("delayed-retry-", "only RabbitMQ 4.3 supports it; retry queues work on every version"),
    ("federation-", "RabbitMQ refuses it where the federation plugin is not enabled"),
    ("consumer-timeout", "RabbitMQ 3.10 does not support it"),
];

/// The largest count. Chosen here: RabbitMQ accepts more, but such a value is a mistake.
const COUNT_MAX: u64 = 1_000_000_000_000;

#[derive(Clone, Copy)]
enum Form {
    Name,
    Count,
    OneOf(&'static [&'static str]),
}

pub(super) fn policies(checker: &mut Checker<'_>, node: &Node) -> Vec<Policy> {
    if checker.mapping(node).is_none() {
        return Vec::new();
    }
    node.entries().filter_map(|(name, node)| policy(checker, name, node)).collect()
}

fn policy(checker: &mut Checker<'_>, name: &str, node: &Node) -> Option<Policy> {
    checks::name(checker, node, name);
    checker.fields(node, &["pattern", "apply-to", "priority", "definition"])?;
    let pattern = checker.required(node, "pattern").and_then(|node| checker.text(node)).map(str::to_owned);
    let apply_to = checker.required(node, "apply-to").and_then(|node| target(checker, node));
    let priority = node.get("priority").map_or(Some(0), |node| checker.integer(node, 0..=1_000_000));
    let definition = checker.required(node, "definition").and_then(|node| definition(checker, node));
    Some(Policy {
        name: name.to_owned(),
        pattern: pattern?,
        apply_to: apply_to?,
        priority: priority?,
        definition: definition?,
    })
}

fn target(checker: &mut Checker<'_>, node: &Node) -> Option<PolicyTarget> {
    if let Some(text) = node.text().filter(|text| ["classic_queues", "quorum_queues", "streams"].contains(text)) {
        checker.fault(node, format!("RabbitMQ before 3.12 does not support `{text}`; use queues and a pattern"));
        return None;
    }
    checker.choice(node, &PolicyTarget::ALL.map(|target| (target.name(), target)))
}

fn definition(checker: &mut Checker<'_>, node: &Node) -> Option<BTreeMap<String, Value>> {
    checker.mapping(node)?;
    if node.members().is_empty() {
        checker.fault(node, "must not be empty");
    }
    Some(node.entries().filter_map(|(key, node)| Some((key.to_owned(), setting(checker, key, node)?))).collect())
}

fn setting(checker: &mut Checker<'_>, key: &str, node: &Node) -> Option<Value> {
    if let Some((_, reason)) = REFUSED.iter().find(|(start, _)| key.starts_with(start)) {
        checker.fault(node, format!("`{key}` is refused: {reason}"));
        return None;
    }
    let Some((_, form)) = KNOWN.iter().find(|(name, _)| *name == key) else {
        let known: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
        checker.fault(node, format!("unknown setting; known are {}", known.join(", ")));
        return None;
    };
    match (form, node.data()) {
        // The default exchange has the empty name.
        (Form::Name, Data::Text(text)) => Some(text.as_str().into()),
        (Form::OneOf(known), Data::Text(text)) if known.contains(&text.as_str()) => Some(text.as_str().into()),
        (Form::Name, _) => refuse(checker, node, "must be text"),
        (Form::Count, _) => checker.integer(node, 0..=COUNT_MAX).map(Value::from),
        (Form::OneOf(known), _) => refuse(checker, node, &format!("must be {}", known.join(" or "))),
    }
}

fn refuse(checker: &mut Checker<'_>, node: &Node, reason: &str) -> Option<Value> {
    checker.fault(node, reason);
    None
}
