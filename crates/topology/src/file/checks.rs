//! The checks that only a topology needs: names, routing keys, retry delays, flags, argument values.
//!
//! Each notes a fault itself and then returns `None`.

use serde_json::Value;
use sluicegate_queue::queue_names::RetryDelays;
use sluicegate_yaml::{Checker, Data, Node};

/// The longest name or routing key, in bytes: AMQP 0-9-1 writes them as short strings.
pub(super) const NAME_BYTES_MAX: usize = 255;

/// Expects a routing key: text of a bounded length, possibly empty.
pub(super) fn routing_key(checker: &mut Checker<'_>, node: &Node) -> Option<String> {
    match node.data() {
        Data::Text(text) if text.len() <= NAME_BYTES_MAX => Some(text.clone()),
        Data::Text(_) => {
            checker.fault(node, format!("a routing key has at most {NAME_BYTES_MAX} bytes"));
            None
        }
        _ => {
            checker.fault(node, "must be text (in quotes if it looks like something else)");
            None
        }
    }
}

/// Expects whole seconds in a list, or `default`.
pub(super) fn retry_delays(checker: &mut Checker<'_>, node: &Node) -> Option<RetryDelays> {
    if node.text() == Some("default") {
        return Some(RetryDelays::default());
    }
    let step = |item: &Node| match item.data() {
        Data::Number(step) => u32::try_from(step.as_u64()?).ok(),
        _ => None,
    };
    let steps = match node.data() {
        Data::List(items) => items.iter().map(step).collect::<Option<Vec<_>>>(),
        _ => None,
    };
    let retry_delays = steps.and_then(|steps| RetryDelays::new(steps).ok());
    if retry_delays.is_none() {
        let max = RetryDelays::DELAY_S_MAX;
        let form = format!("must be whole seconds from 1 to {max}, ascending, such as [1, 5, 15]; or default");
        checker.fault(node, form);
    }
    retry_delays
}

/// Expects text, an integer, true or false.
pub(super) fn plain_value(checker: &mut Checker<'_>, node: &Node) -> Option<Value> {
    match node.data() {
        Data::Text(text) => Some(text.as_str().into()),
        Data::Number(value) if value.is_i64() => Some(value.clone().into()),
        Data::Bool(value) => Some((*value).into()),
        _ => {
            checker.fault(node, "must be text, an integer, true or false");
            None
        }
    }
}

/// Expects true or false.
pub(super) fn flag(checker: &mut Checker<'_>, node: &Node) -> Option<bool> {
    match node.data() {
        Data::Bool(value) => Some(*value),
        _ => {
            checker.fault(node, "must be true or false");
            None
        }
    }
}

/// Checks the name of an exchange, queue or policy, which is the key of `node`.
pub(super) fn name(checker: &mut Checker<'_>, node: &Node, name: &str) {
    if name.is_empty() {
        checker.fault(node, "a name must not be empty");
    } else if name.starts_with("amq.") {
        checker.fault(node, "names that start with `amq.` are RabbitMQ's own");
    } else if name.chars().any(char::is_control) {
        checker.fault(node, "a name must not have control characters");
    } else if name.len() > NAME_BYTES_MAX {
        checker.fault(node, format!("a name has at most {NAME_BYTES_MAX} bytes"));
    }
}
