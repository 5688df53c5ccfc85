//! The queues that are there, as far as it decides what becomes of their messages: from arguments and policies together.

use serde_json::Value;

use crate::address::Address;
use crate::broker::management::{self, Kept, KeptQueue};
use crate::error::Error;

/// Returns after which a quorum queue gives a message up when nobody says otherwise, and the first major version with such a limit
/// (<https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>).
const DELIVERY_LIMIT_DEFAULT: u64 = 20;
const DELIVERY_LIMIT_DEFAULT_SINCE: u32 = 4;

/// How a queue keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    /// On one node, or mirrored.
    Classic,
    /// Replicated; it counts how often a message came back.
    Quorum,
    /// A log that is read, not taken from.
    Stream,
    /// One that is not known here.
    Other,
}

/// A queue that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueThere {
    /// Its name.
    pub name: String,
    /// Its type.
    pub queue_type: QueueType,
    /// How often a message may come back before the queue gives it up; `None` for ever.
    pub delivery_limit: Option<u64>,
    /// The queues that its dead letters may go to, whatever their routing key; `None` if it drops them.
    pub dead_letter_queues: Option<Vec<String>>,
}

/// Every queue of the virtual host, by the management API.
///
/// # Errors
/// The API cannot be asked.
pub async fn queues(address: &Address) -> Result<Vec<QueueThere>, Error> {
    Ok(read(&management::kept(address).await?))
}

fn read(kept: &Kept) -> Vec<QueueThere> {
    kept.queues.iter().map(|queue| kept.queue(queue)).collect()
}

impl Kept {
    fn queue(&self, queue: &KeptQueue) -> QueueThere {
        let policy = self.policies.iter().find(|policy| Some(&policy.name) == queue.policy.as_ref());
        let policy = policy.map(|policy| &policy.definition.0);
        let effective = &queue.effective_policy_definition.0;
        let said = |key: &str| {
            let argument = queue.arguments.0.get(&format!("x-{key}"));
            [argument, policy.and_then(|policy| policy.get(key)), effective.get(key)]
        };
        let first = |key: &str| said(key).into_iter().flatten().next();
        let queue_type = match queue.queue_type.as_str() {
            "classic" => QueueType::Classic,
            "quorum" => QueueType::Quorum,
            "stream" => QueueType::Stream,
            _ => QueueType::Other,
        };
        let limits = said("delivery-limit").into_iter().flatten().filter_map(Value::as_i64).collect::<Vec<_>>();
        let exchange = first("dead-letter-exchange").and_then(Value::as_str);
        let routing_key = first("dead-letter-routing-key").and_then(Value::as_str);
        QueueThere {
            name: queue.name.clone(),
            queue_type,
            delivery_limit: if queue_type == QueueType::Quorum { self.delivery_limit(&limits) } else { None },
            dead_letter_queues: exchange.map(|exchange| self.behind(exchange, routing_key)),
        }
    }

    /// The lowest of what was said counts. Less than zero is no limit since there is a default, and was none that can be lived
    /// with before.
    fn delivery_limit(&self, said: &[i64]) -> Option<u64> {
        let major: u32 = self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
        let by_default = major >= DELIVERY_LIMIT_DEFAULT_SINCE;
        let limits = said.iter().filter(|limit| **limit >= 0 || !by_default);
        let lowest = limits.map(|limit| u64::try_from(*limit).unwrap_or_default()).min();
        lowest.or((by_default && said.is_empty()).then_some(DELIVERY_LIMIT_DEFAULT))
    }

    fn behind(&self, exchange: &str, routing_key: Option<&str>) -> Vec<String> {
        if exchange.is_empty() {
            return routing_key.into_iter().map(str::to_owned).collect();
        }
        let bound =
            |binding: &&management::ThereBinding| binding.source == exchange && binding.destination_type == "queue";
        self.bindings.iter().filter(bound).map(|binding| binding.destination.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn kept(version: &str, queue: Value, policies: Value) -> QueueThere {
        let of = |value: Value| serde_json::from_value(value).unwrap();
        let binding = json!({ "source": "dlx", "destination": "q.dlq", "destination_type": "queue" });
        let queues = vec![serde_json::from_value(queue).unwrap()];
        let kept = Kept {
            version: version.into(),
            queues,
            bindings: vec![of(binding)],
            policies: serde_json::from_value(policies).unwrap(),
        };
        read(&kept).remove(0)
    }

    #[test]
    fn a_delivery_limit_comes_from_argument_policy_and_version() {
        for (version, queue_type, argument, policy, operator, limit) in [
            ("3.10.8", "quorum", None, None, None, None),
            ("3.13.7", "quorum", Some(-1), None, None, Some(0)),
            ("3.13.7", "quorum", Some(7), Some(9), None, Some(7)),
            ("3.13.7", "quorum", Some(9), Some(7), Some(3), Some(3)),
            ("3.13.7", "classic", Some(7), None, None, None),
            ("4.3.0", "quorum", None, None, None, Some(20)),
            ("4.3.0", "quorum", Some(-1), None, None, None),
            ("4.3.0", "quorum", Some(-1), Some(50), None, Some(50)),
            ("4.3.0", "quorum", None, Some(1_000_000), None, Some(1_000_000)),
            ("4.3.0", "classic", None, None, None, None),
        ] {
            let one = |key: &str, limit: Option<i64>| limit.map(|limit| (key.to_owned(), limit));
            let arguments: BTreeMap<_, _> = one("x-delivery-limit", argument).into_iter().collect();
            let definition: BTreeMap<_, _> = one("delivery-limit", policy).into_iter().collect();
            let effective: BTreeMap<_, _> = one("delivery-limit", operator).into_iter().collect();
            let queue = json!({
                "name": "q.dlq", "type": queue_type, "arguments": arguments, "policy": "p",
                "effective_policy_definition": effective,
            });
            let policies = json!([{ "name": "p", "pattern": "", "apply-to": "queues", "definition": definition }]);
            let there = kept(version, queue, policies);
            assert_eq!(there.delivery_limit, limit, "{version} {queue_type} {argument:?} {policy:?} {operator:?}");
        }
    }

    #[test]
    fn dead_letters_go_where_argument_or_policy_say() {
        for (arguments, policy, behind) in [
            (json!([]), json!([]), None),
            (json!({ "x-dead-letter-exchange": "" }), json!([]), Some(vec![])),
            (
                json!({ "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q.dlq" }),
                json!([]),
                Some(vec!["q.dlq"]),
            ),
            (json!({}), json!({ "dead-letter-exchange": "dlx" }), Some(vec!["q.dlq"])),
            (json!({}), json!({ "dead-letter-exchange": "missing" }), Some(vec![])),
        ] {
            let queue = json!({ "name": "q", "type": "quorum", "arguments": arguments, "policy": "p" });
            let policies = json!([{ "name": "p", "pattern": "", "apply-to": "all", "definition": policy }]);
            let there = kept("3.10.8", queue, policies);
            let behind = behind.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(there.dead_letter_queues, behind, "{arguments}");
        }
    }
}
