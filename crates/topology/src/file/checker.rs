//! Collects faults while the file is read, so that one mistake does not hide the next.
//!
//! Every method that expects something takes note of a fault itself and then gives `None`; callers just go on.

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde_json::Value;
use sluicegate_queue::queue_names::RetryDelays;

use super::Fault;
use super::yaml::{Data, Node};

/// The longest name or routing key, in bytes: AMQP 0-9-1 writes them as short strings.
pub(super) const NAME_BYTES_MAX: usize = 255;

pub(super) struct Checker<'f> {
    pub(super) file: &'f str,
    pub(super) faults: Vec<Fault>,
}

impl Checker<'_> {
    pub(super) fn fault(&mut self, node: &Node, reason: impl Display) {
        self.note(node.line, node.path.clone(), reason);
    }

    fn note(&mut self, line: usize, path: String, reason: impl Display) {
        self.faults.push(Fault { file: self.file.to_owned(), line, path, reason: reason.to_string() });
    }

    /// An object with no members but `known` ones.
    pub(super) fn fields(&mut self, node: &Node, known: &[&str]) -> Option<()> {
        self.object(node)?;
        for (name, member) in node.members() {
            if !known.contains(&name.as_str()) {
                self.fault(member, format!("unknown member; known are {}", known.join(", ")));
            }
        }
        Some(())
    }

    pub(super) fn object(&mut self, node: &Node) -> Option<()> {
        let is = matches!(node.data, Data::Object(_));
        if !is {
            self.fault(node, "must be an object");
        }
        is.then_some(())
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        match &node.data {
            Data::List(items) => items,
            _ => {
                self.fault(node, "must be a list");
                &[]
            }
        }
    }

    /// A member that must be there.
    pub(super) fn required<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        let member = node.get(key);
        if member.is_none() {
            self.note(node.line, node.child_path(key), "is missing");
        }
        member
    }

    /// Text that is not empty.
    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.data {
            Data::Text(text) if !text.is_empty() => Some(text),
            _ => {
                self.fault(node, "must be text that is not empty (in quotes if it looks like something else)");
                None
            }
        }
    }

    /// A routing key: any text RabbitMQ takes, the empty one too.
    pub(super) fn routing_key(&mut self, node: &Node) -> Option<String> {
        match &node.data {
            Data::Text(text) if text.len() <= NAME_BYTES_MAX => Some(text.clone()),
            Data::Text(_) => {
                self.fault(node, format!("a routing key has at most {NAME_BYTES_MAX} bytes"));
                None
            }
            _ => {
                self.fault(node, "must be text (in quotes if it looks like something else)");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, node: &Node, range: RangeInclusive<u32>) -> Option<u32> {
        let value = match node.data {
            Data::Integer(value) => u32::try_from(value).ok().filter(|value| range.contains(value)),
            _ => None,
        };
        if value.is_none() {
            self.fault(node, format!("must be a whole number from {} to {}", range.start(), range.end()));
        }
        value
    }

    /// Whole seconds in a list, or `default`.
    pub(super) fn ladder(&mut self, node: &Node) -> Option<RetryDelays> {
        if matches!(&node.data, Data::Text(text) if text == "default") {
            return Some(RetryDelays::default());
        }
        let step = |item: &Node| match item.data {
            Data::Integer(step) => u32::try_from(step).ok(),
            _ => None,
        };
        let steps = match &node.data {
            Data::List(items) => items.iter().map(step).collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let ladder = steps.and_then(|steps| RetryDelays::new(steps).ok());
        if ladder.is_none() {
            let max = RetryDelays::DELAY_S_MAX;
            let form = format!("must be whole seconds from 1 to {max}, ascending, such as [1, 5, 15]; or default");
            self.fault(node, form);
        }
        ladder
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, known: &[(&str, T)]) -> Option<T> {
        let Data::Text(text) = &node.data else {
            self.fault(node, format!("must be {}", names(known)));
            return None;
        };
        let found = known.iter().find(|(name, _)| name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.fault(node, format!("`{text}` is not known; must be {}", names(known)));
        }
        found
    }

    /// Text, a whole number, true or false.
    pub(super) fn plain_value(&mut self, node: &Node) -> Option<Value> {
        match &node.data {
            Data::Text(text) => Some(text.as_str().into()),
            Data::Integer(value) => Some((*value).into()),
            Data::Bool(value) => Some((*value).into()),
            _ => {
                self.fault(node, "must be text, a whole number, true or false");
                None
            }
        }
    }

    /// A name of an exchange, queue or policy: the key of `node`.
    pub(super) fn name(&mut self, node: &Node, name: &str) {
        if name.is_empty() {
            self.fault(node, "a name must not be empty");
        } else if name.starts_with("amq.") {
            self.fault(node, "names that start with `amq.` are RabbitMQ's own");
        } else if name.chars().any(char::is_control) {
            self.fault(node, "a name must not have control characters");
        } else if name.len() > NAME_BYTES_MAX {
            self.fault(node, format!("a name has at most {NAME_BYTES_MAX} bytes"));
        }
    }
}

fn names<T>(known: &[(&str, T)]) -> String {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
