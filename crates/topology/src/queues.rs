//! The fate of messages in the broker's queues, from arguments and policies together.

use serde_json::Value;

use crate::address::Address;
use crate::broker::management::{self, QueueListing, QueueWithPolicies};
use crate::error::Error;

/// The delivery limit of a quorum queue that sets none.
/// <https://www.rabbitmq.com/docs/quorum-queues#poison-message-handling>
const DELIVERY_LIMIT_DEFAULT: u64 = 20;
/// The first major version with that default. Same page.
const DELIVERY_LIMIT_DEFAULT_SINCE: u32 = 4;

/// How a queue keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    /// On one node, or mirrored.
    Classic,
    /// Replicated; counts how often a message was returned.
    Quorum,
    /// An append-only log.
    Stream,
    /// An unknown type.
    Other,
}

/// What a queue does with its messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueFate {
    /// The queue's name.
    pub name: String,
    /// The queue's type.
    pub queue_type: QueueType,
    /// How often a message may be returned before the queue dead-letters it; `None` means without limit.
    pub delivery_limit: Option<u64>,
    /// The queues that its dead letters can reach, for any routing key; `None` if they are dropped.
    pub dead_letter_queues: Option<Vec<String>>,
}

/// Returns the fate of messages in every queue of the virtual host, from the management API.
///
/// # Errors
/// The management API does not answer, or refuses.
pub async fn queues(address: &Address) -> Result<Vec<QueueFate>, Error> {
    Ok(read(&management::queue_listing(address).await?))
}

fn read(listing: &QueueListing) -> Vec<QueueFate> {
    listing.queues.iter().map(|queue| listing.fate(queue)).collect()
}

impl QueueListing {
    fn fate(&self, queue: &QueueWithPolicies) -> QueueFate {
        let policy = self.policies.iter().find(|policy| Some(&policy.name) == queue.policy.as_ref());
        let policy = policy.map(|policy| &policy.definition.0);
        let effective = &queue.effective_policy_definition.0;
        let settings = |key: &str| {
            let argument = queue.arguments.0.get(&format!("x-{key}"));
            [argument, policy.and_then(|policy| policy.get(key)), effective.get(key)]
        };
        let first = |key: &str| settings(key).into_iter().flatten().next();
        let queue_type = match queue.queue_type.as_str() {
            "classic" => QueueType::Classic,
            "quorum" => QueueType::Quorum,
            "stream" => QueueType::Stream,
            _ => QueueType::Other,
        };
        let limits = settings("delivery-limit").into_iter().flatten().filter_map(Value::as_i64).collect::<Vec<_>>();
        let exchange = first("dead-letter-exchange").and_then(Value::as_str);
        let routing_key = first("dead-letter-routing-key").and_then(Value::as_str);
        QueueFate {
            name: queue.name.clone(),
            queue_type,
            delivery_limit: if queue_type == QueueType::Quorum { self.delivery_limit(&limits) } else { None },
            dead_letter_queues: exchange.map(|exchange| self.behind(exchange, routing_key)),
        }
    }

    /// Returns the lowest of the limits. A negative one means no limit on versions with a default limit, and 0 before.
    fn delivery_limit(&self, limits: &[i64]) -> Option<u64> {
        let major: u32 = self.version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or_default();
        let by_default = major >= DELIVERY_LIMIT_DEFAULT_SINCE;
        let counted = limits.iter().filter(|limit| **limit >= 0 || !by_default);
        let lowest = counted.map(|limit| u64::try_from(*limit).unwrap_or_default()).min();
        lowest.or((by_default && limits.is_empty()).then_some(DELIVERY_LIMIT_DEFAULT))
    }

    fn behind(&self, exchange: &str, routing_key: Option<&str>) -> Vec<String> {
        if exchange.is_empty() {
            return routing_key.into_iter().map(str::to_owned).collect();
        }
        let bound =
            |binding: &&management::ActualBinding| binding.source == exchange && binding.destination_type == "queue";
        self.bindings.iter().filter(bound).map(|binding| binding.destination.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    fn fate(version: &str, queue: Value, policies: Value) -> QueueFate {
        let of = |value: Value| serde_json::from_value(value).unwrap();
        let binding = json!({ "source": "dlx", "destination": "q.dlq", "destination_type": "queue" });
        let queues = vec![serde_json::from_value(queue).unwrap()];
        let listing = QueueListing {
            version: version.into(),
            queues,
            bindings: vec![of(binding)],
            policies: serde_json::from_value(policies).unwrap(),
        };
        read(&listing).remove(0)
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
            let fate = fate(version, queue, policies);
            assert_eq!(fate.delivery_limit, limit, "{version} {queue_type} {argument:?} {policy:?} {operator:?}");
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
            let fate = fate("3.10.8", queue, policies);
            let behind = behind.map(|names| names.into_iter().map(str::to_owned).collect());
            assert_eq!(fate.dead_letter_queues, behind, "{arguments}");
        }
    }
}
