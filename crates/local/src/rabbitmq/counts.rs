//! Message counts of the queues, from the management API. They may be some seconds old.

use serde_json::{Value, json};
use sluicegate_lambda_emulator::BrokerEndpoint;
use sluicegate_queue::queue_names::{DEAD_LETTER_QUEUE_SUFFIX, RETRY_QUEUE_INFIX};

/// The queues to count.
#[derive(Clone)]
pub(crate) struct QueueCounts {
    endpoint: BrokerEndpoint,
    names: Vec<String>,
}

impl QueueCounts {
    /// Creates a counter for these queues of a virtual host and their dead-letter queues.
    #[must_use]
    pub(crate) fn new(endpoint: &BrokerEndpoint, names: Vec<String>) -> Self {
        Self { endpoint: endpoint.clone(), names }
    }

    /// Returns the broker of the queues.
    pub(crate) fn endpoint(&self) -> &BrokerEndpoint {
        &self.endpoint
    }

    /// Returns whether the queue is one of them, or one of their dead-letter queues.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name.strip_suffix(DEAD_LETTER_QUEUE_SUFFIX).unwrap_or(name))
    }

    /// Returns one object per queue, in SQS's terms: `visible` messages are ready, `in_flight` unacknowledged,
    /// `delayed` in the queue's retry queues.
    pub(crate) async fn read(&self) -> Vec<Value> {
        let queues: Result<Vec<Value>, _> = match self.endpoint.management() {
            Some(management) => {
                management.get(&["queues", self.endpoint.vhost()], "").await.map_err(|error| error.to_string())
            }
            None => Err("the broker has no management API".to_owned()),
        };
        let names = self.names.iter().flat_map(|name| [name.clone(), format!("{name}.dlq")]);
        names
            .map(|name| match &queues {
                Ok(queues) => entry(&name, queues),
                Err(error) => json!({ "name": name, "broker": "rabbitmq", "error": error }),
            })
            .collect()
    }
}

fn entry(name: &str, queues: &[Value]) -> Value {
    let Some(queue) = queues.iter().find(|queue| queue["name"] == name) else {
        return json!({ "name": name, "broker": "rabbitmq", "error": "queue not found" });
    };
    let retry_prefix = format!("{name}{RETRY_QUEUE_INFIX}");
    let steps =
        queues.iter().filter(|queue| queue["name"].as_str().is_some_and(|name| name.starts_with(&retry_prefix)));
    json!({
        "name": name,
        "broker": "rabbitmq",
        "dead_letters": name.ends_with(DEAD_LETTER_QUEUE_SUFFIX),
        "visible": queue["messages_ready"],
        "in_flight": queue["messages_unacknowledged"],
        "delayed": steps.filter_map(|queue| queue["messages"].as_u64()).sum::<u64>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_counted_with_its_retry_queues() {
        let queue = |name: &str, ready: u64| json!({ "name": name, "messages": ready + 1, "messages_ready": ready, "messages_unacknowledged": 1 });
        let queues = [queue("a", 3), queue("a.retry.1s", 4), queue("a.retry.5s", 0), queue("a.dlq", 2), queue("ab", 9)];
        let counts = |name| {
            let entry = entry(name, &queues);
            [&entry["visible"], &entry["in_flight"], &entry["delayed"]].map(Value::as_u64)
        };
        assert_eq!(counts("a"), [Some(3), Some(1), Some(6)]);
        assert_eq!(counts("a.dlq"), [Some(2), Some(1), Some(0)]);
        assert_eq!(entry("b", &queues)["error"], "queue not found");
    }
}
