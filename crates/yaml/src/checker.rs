//! Typed access to a document that collects faults, so that one error does not hide the next.
//!
//! Every method that expects something notes a fault itself and returns `None`, and the caller continues.

use std::{fmt::Display, ops::RangeInclusive};

use crate::{Data, Document, Fault, Node};

/// Reads the values of one document and collects their faults.
#[derive(Debug)]
pub struct Checker<'d> {
    /// The file's name, for faults.
    pub file: &'d str,
    /// The value of the document.
    pub root: &'d Node,
    /// The faults found so far.
    pub faults: Vec<Fault>,
    /// Probable mistakes in valid input.
    pub warnings: Vec<Fault>,
}

impl<'d> Checker<'d> {
    /// Starts with the faults that the reader found.
    #[must_use]
    pub fn new(file: &'d str, document: &'d Document) -> Self {
        Self { file, root: &document.root, faults: document.faults.clone(), warnings: Vec::new() }
    }

    /// Notes a fault of `node`.
    pub fn fault(&mut self, node: &Node, reason: impl Display) {
        let fault = self.at(node.line(), node.pointer(), reason);
        self.faults.push(fault);
    }

    /// Notes a fault at `pointer`, on the line of the nearest node above it.
    pub fn fault_at(&mut self, pointer: &str, reason: impl Display) {
        let (Ok(nearest) | Err(nearest)) = self.root.follow(pointer);
        let fault = self.at(nearest.line(), pointer, reason);
        self.faults.push(fault);
    }

    /// Notes a fault of the member `key` of `node`, which is missing.
    pub fn missing(&mut self, node: &Node, key: &str, reason: impl Display) {
        let fault = self.at(node.line(), &node.child_pointer(key), reason);
        self.faults.push(fault);
    }

    /// Notes a warning about `node`.
    pub fn warn(&mut self, node: &Node, reason: impl Display) {
        let warning = self.at(node.line(), node.pointer(), reason);
        self.warnings.push(warning);
    }

    fn at(&self, line: usize, pointer: &str, reason: impl Display) -> Fault {
        let (file, pointer) = (self.file.to_owned(), pointer.to_owned());
        Fault { file, line, pointer, reason: reason.to_string() }
    }

    /// Expects a mapping with no members but the known ones.
    pub fn fields(&mut self, node: &Node, known: &[&str]) -> Option<()> {
        self.fields_or(node, known, |_| false)
    }

    /// Expects a mapping with no members but the known ones and those that `also` accepts.
    pub fn fields_or(&mut self, node: &Node, known: &[&str], also: impl Fn(&str) -> bool) -> Option<()> {
        self.mapping(node)?;
        for (name, member) in node.entries() {
            if !known.contains(&name) && !also(name) {
                self.fault(member, format!("unknown field; known are {}", known.join(", ")));
            }
        }
        Some(())
    }

    /// Expects a mapping.
    pub fn mapping(&mut self, node: &Node) -> Option<()> {
        if !node.is_map() {
            self.fault(node, "must be an object");
        }
        node.is_map().then_some(())
    }

    /// Expects a sequence; returns its items.
    pub fn list<'n>(&mut self, node: &'n Node) -> &'n [Node] {
        if !matches!(node.data(), Data::List(_)) {
            self.fault(node, "must be a list");
        }
        node.items()
    }

    /// Expects a member; returns its value.
    pub fn required<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        let member = node.get(key);
        if member.is_none() {
            self.missing(node, key, "is missing");
        }
        member
    }

    /// Expects text that is not empty.
    pub fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        let text = node.text().filter(|text| !text.is_empty());
        if text.is_none() {
            self.fault(node, "must be text that is not empty (in quotes if it looks like something else)");
        }
        text
    }

    /// Expects a member that is text and not empty.
    pub fn required_text<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n str> {
        let member = self.required(node, key)?;
        self.text(member)
    }

    /// Reads a member that is true or false; an absent one is false.
    pub fn flag(&mut self, node: &Node, key: &str) -> bool {
        match node.get(key).map(|member| (member, member.data())) {
            None => false,
            Some((_, Data::Bool(value))) => *value,
            Some((member, _)) => {
                self.fault(member, "must be true or false");
                false
            }
        }
    }

    /// Expects an integer in a range.
    pub fn integer<T>(&mut self, node: &Node, range: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<u64> + PartialOrd + Display,
    {
        let value = match node.data() {
            Data::Number(number) => number.as_u64().and_then(|value| T::try_from(value).ok()),
            _ => None,
        };
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.fault(node, format!("must be an integer from {} to {}", range.start(), range.end()));
        }
        value
    }

    /// Expects one of a few words; returns what it stands for.
    pub fn choice<T: Copy>(&mut self, node: &Node, known: &[(&str, T)]) -> Option<T> {
        let Some(text) = node.text() else {
            self.fault(node, format!("must be {}", alternatives(known)));
            return None;
        };
        let found = known.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            self.fault(node, format!("`{text}` is not known; must be {}", alternatives(known)));
        }
        found
    }
}

fn alternatives<T>(known: &[(&str, T)]) -> String {
    let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
