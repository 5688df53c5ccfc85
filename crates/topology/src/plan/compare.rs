//! The comparison of a topology with the management API's lists.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Plan;
use crate::broker::management::Inventory;
use crate::change::{Change, ChangeState, Difference, ObjectKind};
use crate::declaration::{BindingDeclaration, CLASSIC, ExchangeDeclaration, QUEUE_TYPE, QueueDeclaration};
use crate::topology::{Policy, Topology};

pub(super) fn compare(topology: &Topology, vhost: &str, actual: &Inventory) -> Plan {
    let (exchanges, queues) = (topology.exchange_declarations(), topology.queue_declarations());
    let bindings = topology.binding_declarations();
    let mut changes = Vec::new();
    let found = |kind, name: &str, differences: Option<Vec<Difference>>| Change {
        kind,
        name: name.to_owned(),
        state: match differences {
            None => ChangeState::Missing,
            Some(differences) if differences.is_empty() => ChangeState::Present,
            Some(differences) => ChangeState::Differs { differences },
        },
    };
    for exchange in &exchanges {
        changes.push(found(ObjectKind::Exchange, &exchange.name, exchange_differences(exchange, actual)));
    }
    for queue in &queues {
        changes.push(found(ObjectKind::Queue, &queue.name, queue_differences(queue, actual)));
    }
    let bound: BTreeSet<BindingDeclaration> = actual
        .bindings
        .iter()
        .filter(|each| each.destination_type == "queue")
        .map(|each| BindingDeclaration::new(&each.source, &each.destination, &each.routing_key, &each.arguments.0))
        .collect();
    for binding in &bindings {
        changes.push(found(ObjectKind::Binding, &binding.to_string(), bound.contains(binding).then(Vec::new)));
    }
    for policy in topology.policies() {
        changes.push(found(ObjectKind::Policy, &policy.name, policy_differences(policy, actual)));
    }
    changes.extend(foreign(topology, &exchanges, &queues, &bindings, actual));
    Plan { vhost: vhost.to_owned(), changes, management_absent: None }
}

/// Returns the objects that are on the broker and not in the file; of the bindings, only those of a queue or exchange
/// in the file.
fn foreign(
    topology: &Topology,
    exchanges: &[ExchangeDeclaration],
    queues: &[QueueDeclaration],
    bindings: &[BindingDeclaration],
    actual: &Inventory,
) -> Vec<Change> {
    let exchanges: BTreeSet<_> = exchanges.iter().map(|each| each.name.as_str()).collect();
    let queues: BTreeSet<_> = queues.iter().map(|each| each.name.as_str()).collect();
    let policies: BTreeSet<_> = topology.policies().iter().map(|each| each.name.as_str()).collect();
    let change = |kind, name: &str| Change { kind, name: name.to_owned(), state: ChangeState::Foreign };
    let mut changes = Vec::new();
    // The default exchange has no name, and `amq.` is RabbitMQ's own.
    let others = actual.exchanges.iter().filter(|each| !each.name.is_empty() && !each.name.starts_with("amq."));
    let others = others.filter(|each| !exchanges.contains(each.name.as_str()));
    changes.extend(others.map(|each| change(ObjectKind::Exchange, &each.name)));
    let others = actual.queues.iter().filter(|each| !queues.contains(each.name.as_str()));
    changes.extend(others.map(|each| change(ObjectKind::Queue, &each.name)));
    for each in actual.bindings.iter().filter(|each| !each.source.is_empty()) {
        let to_queue = each.destination_type == "queue";
        let of_ours = if to_queue { &queues } else { &exchanges }.contains(each.destination.as_str());
        let declared = BindingDeclaration::new(&each.source, &each.destination, &each.routing_key, &each.arguments.0);
        if (of_ours || exchanges.contains(each.source.as_str())) && !(to_queue && bindings.contains(&declared)) {
            changes.push(change(ObjectKind::Binding, &declared.to_string()));
        }
    }
    let others = actual.policies.iter().filter(|each| !policies.contains(each.name.as_str()));
    changes.extend(others.map(|each| change(ObjectKind::Policy, &each.name)));
    changes
}

fn exchange_differences(wanted: &ExchangeDeclaration, actual: &Inventory) -> Option<Vec<Difference>> {
    let found = actual.exchanges.iter().find(|each| each.name == wanted.name)?;
    let mut differences = Vec::new();
    differ(&mut differences, "type", wanted.exchange_type.name(), found.exchange_type.as_str());
    differ(&mut differences, "durable", true, found.durable);
    differ(&mut differences, "auto-delete", false, found.auto_delete);
    differ(&mut differences, "internal", false, found.internal);
    differ_in(&mut differences, "", &wanted.arguments, &found.arguments.0);
    Some(differences)
}

fn queue_differences(wanted: &QueueDeclaration, actual: &Inventory) -> Option<Vec<Difference>> {
    let found = actual.queues.iter().find(|each| each.name == wanted.name)?;
    let mut differences = Vec::new();
    differ(&mut differences, "durable", wanted.durable, found.durable);
    differ(&mut differences, "auto-delete", false, found.auto_delete);
    differ(&mut differences, "exclusive", false, found.exclusive);
    let mut arguments = wanted.arguments.clone();
    // A queue without the argument is classic: a broker with another default type records it.
    if !found.arguments.0.contains_key(QUEUE_TYPE) && arguments.get(QUEUE_TYPE).is_some_and(|kind| kind == CLASSIC) {
        arguments.remove(QUEUE_TYPE);
    }
    differ_in(&mut differences, "", &arguments, &found.arguments.0);
    Some(differences)
}

fn policy_differences(wanted: &Policy, actual: &Inventory) -> Option<Vec<Difference>> {
    let found = actual.policies.iter().find(|each| each.name == wanted.name)?;
    let mut differences = Vec::new();
    differ(&mut differences, "pattern", wanted.pattern.as_str(), found.pattern.as_str());
    differ(&mut differences, "apply-to", wanted.apply_to.name(), found.apply_to.as_str());
    differ(&mut differences, "priority", i64::from(wanted.priority), found.priority);
    differ_in(&mut differences, "definition ", &wanted.definition, &found.definition.0);
    Some(differences)
}

fn differ<T: Into<Value> + PartialEq>(differences: &mut Vec<Difference>, name: &str, wanted: T, actual: T) {
    if wanted != actual {
        differences.push(Difference {
            argument: name.into(),
            wanted: Some(wanted.into()),
            actual: Some(actual.into()),
        });
    }
}

fn differ_in(
    differences: &mut Vec<Difference>,
    prefix: &str,
    wanted: &BTreeMap<String, Value>,
    actual: &BTreeMap<String, Value>,
) {
    let names: BTreeSet<_> = wanted.keys().chain(actual.keys()).collect();
    for name in names {
        let (wanted, actual) = (wanted.get(name).cloned(), actual.get(name).cloned());
        if wanted != actual {
            differences.push(Difference { argument: format!("{prefix}{name}"), wanted, actual });
        }
    }
}
