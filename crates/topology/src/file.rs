//! The reader of a topology file: returns a [`Topology`], or every fault of the file.
//!
//! `checks` has the checks of names and delays, `policy` reads the policies. Unknown fields are refused: ignoring a
//! misspelt field would silently drop a guarantee.

mod checks;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_yaml::{Checker, Dialect, Document, Faults, Node};

use crate::topology::{
    DELIVERY_LIMIT_DEFAULT, DELIVERY_LIMIT_ORDERED, Exchange, ExchangeBinding, ExchangeType, Queue, QueueKind, Topology,
};
use checks::NAME_BYTES_MAX;

/// Exchanges that every virtual host has, and their types (<https://www.rabbitmq.com/docs/exchanges>).
const PREDECLARED: &[(&str, ExchangeType)] = &[
    ("amq.topic", ExchangeType::Topic),
    ("amq.fanout", ExchangeType::Fanout),
    ("amq.direct", ExchangeType::Direct),
    ("amq.headers", ExchangeType::Headers),
    ("amq.match", ExchangeType::Headers),
];

/// The largest delivery limit. Chosen here: the consumer dead-letters by its own receive count, and this limit is only
/// a safety net.
const DELIVERY_LIMIT_MAX: u32 = 1_000_000;

impl Topology {
    /// Reads a topology file. `file` is only for the faults.
    ///
    /// ```
    /// let text = "
    /// exchanges:
    ///   orders: { type: topic, delays: [5, 60] }
    /// queues:
    ///   orders:
    ///     bindings: [{ exchange: orders, routing-key: '#' }]
    ///     retry: [1, 5]
    /// ";
    /// let topology = sluicegate_topology::Topology::parse("topology.yaml", text)?;
    /// let queues: Vec<_> = topology.queue_declarations().into_iter().map(|queue| queue.name).collect();
    /// let delayed = ["orders.delay.5s", "orders.delay.60s"];
    /// assert_eq!(queues[..4], ["orders.dlq", "orders", "orders.retry.1s", "orders.retry.5s"]);
    /// assert_eq!(queues[4..], delayed);
    /// # Ok::<(), sluicegate_topology::Faults>(())
    /// ```
    ///
    /// # Errors
    /// All faults, in the order of the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, Faults> {
        let document = Document::read(file, text, Dialect::Strict)?;
        let mut checker = Checker::new(file, &document);
        let topology = read(&mut checker, &document.root);
        if checker.faults.is_empty() { Ok(topology) } else { Err(Faults::in_order(checker.faults)) }
    }
}

fn read(checker: &mut Checker<'_>, root: &Node) -> Topology {
    checker.fields(root, &["exchanges", "queues", "policies"]);
    let section = |name| root.get(name);
    let mut topology = Topology { exchanges: Vec::new(), queues: Vec::new(), policies: Vec::new() };
    // All exchanges are collected first, because bindings refer to them. An exchange whose type cannot be read causes
    // no faults in its bindings.
    let mut types: BTreeMap<&str, Option<ExchangeType>> = PREDECLARED.iter().map(|(n, t)| (*n, Some(*t))).collect();
    if let Some(node) = section("exchanges").filter(|node| checker.mapping(node).is_some()) {
        let known = ExchangeType::ALL.map(|each| (each.name(), each));
        for (name, node) in node.entries() {
            checks::name(checker, node, name);
            let exchange_type = checker.required(node, "type").and_then(|node| checker.choice(node, &known));
            types.insert(name, exchange_type);
        }
        for (name, node) in node.entries() {
            topology.exchanges.extend(exchange(checker, name, node, &types));
        }
    }
    if let Some(node) = section("queues").filter(|node| checker.mapping(node).is_some()) {
        for (name, node) in node.entries() {
            checks::name(checker, node, name);
            topology.queues.extend(queue(checker, name, node, &types));
        }
    }
    if let Some(node) = section("policies") {
        topology.policies = policy::policies(checker, node);
    }
    check_derived(checker, root, &topology);
    topology
}

type Types<'n> = BTreeMap<&'n str, Option<ExchangeType>>;

fn exchange(checker: &mut Checker<'_>, name: &str, node: &Node, types: &Types<'_>) -> Option<Exchange> {
    checker.fields(node, &["type", "alternate-exchange", "delays"])?;
    let delays = node.get("delays").and_then(|node| checks::retry_delays(checker, node));
    let alternate = node.get("alternate-exchange").and_then(|node| {
        let alternate = known_exchange(checker, node, types)?;
        if alternate == name {
            checker.fault(node, "an exchange cannot be its own alternate");
        }
        Some(alternate.to_owned())
    });
    let exchange_type = (*types.get(name)?)?;
    Some(Exchange { name: name.to_owned(), exchange_type, alternate_exchange: alternate, delays })
}

fn known_exchange<'n>(checker: &mut Checker<'_>, node: &'n Node, types: &Types<'_>) -> Option<&'n str> {
    let name = checker.text(node)?;
    if !types.contains_key(name) {
        checker.fault(node, format!("there is no exchange `{name}` in this file; declare it with its type"));
        return None;
    }
    Some(name)
}

fn queue(checker: &mut Checker<'_>, name: &str, node: &Node, types: &Types<'_>) -> Option<Queue> {
    checker.fields(
        node,
        &["type", "durable", "bindings", "delivery-limit", "max-length", "single-active-consumer", "retry"],
    )?;
    let mut bindings = Vec::new();
    for item in node.get("bindings").map(|node| checker.list(node)).unwrap_or_default() {
        if let Some(binding) = binding(checker, item, types) {
            if bindings.contains(&binding) {
                checker.fault(item, "this binding is already there, above");
            }
            bindings.push(binding);
        }
    }
    let retry =
        node.get("retry").map_or_else(|| Some(RetryDelays::default()), |node| checks::retry_delays(checker, node));
    let kind = match node.get("type").map(|node| checker.choice(node, &[("quorum", false), ("classic", true)])) {
        Some(Some(true)) => classic(checker, node),
        Some(None) => None,
        Some(Some(false)) | None => quorum(checker, node),
    };
    Some(Queue { name: name.to_owned(), bindings, kind: kind?, retry: retry? })
}

fn quorum(checker: &mut Checker<'_>, node: &Node) -> Option<QueueKind> {
    if let Some(durable) = node.get("durable")
        && checks::flag(checker, durable) == Some(false)
    {
        checker.fault(durable, "a quorum queue is always durable; `type: classic` can be not durable");
    }
    let ordered = node.get("single-active-consumer").map_or(Some(false), |node| checks::flag(checker, node));
    let limit = node.get("delivery-limit").map(|node| checker.integer(node, 1..=DELIVERY_LIMIT_MAX));
    let max_length = node.get("max-length").and_then(|node| checker.integer(node, 1..=u32::MAX));
    let by_default = if ordered == Some(true) { DELIVERY_LIMIT_ORDERED } else { DELIVERY_LIMIT_DEFAULT };
    Some(QueueKind::Quorum {
        delivery_limit: limit.unwrap_or(Some(by_default))?,
        max_length: max_length.map(u64::from),
        single_active_consumer: ordered?,
    })
}

fn classic(checker: &mut Checker<'_>, node: &Node) -> Option<QueueKind> {
    for (name, reason) in [
        ("delivery-limit", "RabbitMQ counts deliveries on quorum queues only"),
        ("max-length", "the queue must have no arguments that a program does not declare; use a policy"),
        ("single-active-consumer", "the queue must have no arguments that a program does not declare"),
    ] {
        if let Some(node) = node.get(name) {
            checker.fault(node, format!("not with `type: classic`: {reason}"));
        }
    }
    let durable = checker.required(node, "durable").and_then(|node| checks::flag(checker, node));
    Some(QueueKind::Classic { durable: durable? })
}

fn binding(checker: &mut Checker<'_>, node: &Node, types: &Types<'_>) -> Option<ExchangeBinding> {
    checker.fields(node, &["exchange", "routing-key", "arguments"])?;
    let exchange = checker.required(node, "exchange").and_then(|node| known_exchange(checker, node, types));
    let exchange_type = exchange.and_then(|name| *types.get(name)?);
    let routing_key = match node.get("routing-key") {
        Some(node) => checks::routing_key(checker, node),
        // Only these two types use the routing key.
        None if matches!(exchange_type, Some(ExchangeType::Topic | ExchangeType::Direct)) => {
            checker.required(node, "routing-key");
            None
        }
        None => Some(String::new()),
    };
    let mut arguments = BTreeMap::new();
    if let Some(given) = node.get("arguments") {
        if exchange_type.is_some_and(|exchange_type| exchange_type != ExchangeType::Headers) {
            checker.fault(given, "only bindings to a headers exchange have arguments");
        }
        checker.mapping(given);
        for (key, node) in given.entries() {
            arguments.extend(checks::plain_value(checker, node).map(|value| (key.to_owned(), value)));
            if key == "x-match" {
                checker.choice(node, &[("all", ()), ("any", ())]);
            }
        }
    } else if exchange_type == Some(ExchangeType::Headers) {
        checker.required(node, "arguments");
    }
    Some(ExchangeBinding { exchange: exchange?.to_owned(), routing_key: routing_key?, arguments })
}

/// Checks the derived names: their length, and that they are unique.
fn check_derived(checker: &mut Checker<'_>, root: &Node, topology: &Topology) {
    let mut check = |section: &str, own: Vec<(&str, Vec<String>)>| {
        let mut owners: BTreeMap<String, &str> = BTreeMap::new();
        for (owner, names) in own {
            let Some(node) = root.get(section).and_then(|node| node.get(owner)) else { continue };
            if let Some(long) = names.iter().find(|name| name.len() > NAME_BYTES_MAX && name.as_str() != owner) {
                let reason = format!("the name leaves no room for `{}`", &long[owner.len()..]);
                checker.fault(node, format!("{reason}: {NAME_BYTES_MAX} bytes in all"));
            }
            for name in names {
                if let Some(other) = owners.insert(name.clone(), owner) {
                    checker.fault(node, format!("`{name}` would be made for this and for `{other}`; rename one"));
                }
            }
        }
    };
    let delays = |exchange: &Exchange| exchange.delay_names().into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    let exchanges = topology.exchanges.iter();
    let of_exchange = |e: &Exchange| std::iter::once(e.name.clone()).chain(delays(e)).collect();
    check("exchanges", exchanges.map(|e| (e.name.as_str(), of_exchange(e))).collect());
    let queues = topology.queues.iter();
    let of_queue = |queue: &Queue| queue.declarations().into_iter().map(|queue| queue.name).collect::<Vec<_>>();
    check("queues", queues.map(|q| (q.name.as_str(), of_queue(q))).collect());
    let queue_names: Vec<String> = topology.queues.iter().flat_map(of_queue).collect();
    for exchange in &topology.exchanges {
        if let Some(name) = delays(exchange).iter().find(|name| queue_names.contains(name))
            && let Some(node) = root.get("exchanges").and_then(|node| node.get(&exchange.name))
        {
            checker.fault(node, format!("its delay queue `{name}` would be a queue of another kind, too; rename one"));
        }
    }
}
