//! The exchange and the queue of infra/topology.yaml, for RabbitMQ.

use sluicegate_yaml::{Dialect, Node};

use super::members::{self, Target, plain};

/// Returns the topology with the exchange and the queue; those that are there stay.
pub(crate) fn add(file: &str, text: &str, name: &str) -> Result<String, String> {
    let text = with_member(file, text, "exchanges", name, "{ type: topic, delays: default }")?;
    let queue = format!(
        "{{ bindings: [{{ exchange: {}, routing-key: '#' }}], delivery-limit: 20, retry: default }}",
        plain(name)
    );
    with_member(file, &text, "queues", name, &queue)
}

fn with_member(file: &str, text: &str, section: &str, name: &str, value: &str) -> Result<String, String> {
    let document = members::read(file, text, Dialect::Strict)?;
    if document.root.get(section).is_some_and(|section| section.get(name).is_some()) {
        return Ok(text.to_owned());
    }
    let target = Target { path: &[section], is_apart: false, after: None };
    members::insert(file, text, Dialect::Strict, &target, &format!("{}: {value}\n", plain(name)))
}

/// Returns the topology without the queue, and without its exchange unless another queue is bound to it.
pub(crate) fn remove(file: &str, text: &str, name: &str) -> Result<String, String> {
    let text = members::remove(file, text, Dialect::Strict, &["queues", name], "queues")?;
    let document = members::read(file, &text, Dialect::Strict)?;
    let queues = document.root.get("queues").into_iter().flat_map(Node::entries);
    let mut bindings = queues.filter_map(|(_, queue)| queue.get("bindings")).flat_map(Node::items);
    if bindings.any(|binding| binding.get("exchange").and_then(Node::text) == Some(name)) {
        return Ok(text);
    }
    members::remove(file, &text, Dialect::Strict, &["exchanges", name], "exchanges")
}
