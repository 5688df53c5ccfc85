//! Collects faults while the document is read, so that one mistake does not hide the next.
//!
//! Every method that expects something takes note of a fault itself and then gives `None`; callers just go on.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::ops::RangeInclusive;

use super::Fault;
use super::at::{At, local_pointer};
use super::yaml::{Data, Node};
use crate::SchemaText;

pub(super) struct Checker<'d> {
    pub(super) file: &'d str,
    pub(super) root: At<'d>,
    pub(super) faults: Vec<Fault>,
    /// What may be meant, and will probably not do what was meant.
    pub(super) warnings: Vec<Fault>,
    /// Bundled schemas by their pointer; `None` for one with a fault, which is noted.
    pub(super) bundled: HashMap<String, Option<SchemaText>>,
    /// Pointers of the schemas that have been compiled.
    pub(super) compiled: HashSet<String>,
}

impl<'d> Checker<'d> {
    pub(super) fn new(file: &'d str, root: &'d Node, faults: Vec<Fault>) -> Self {
        let (bundled, compiled) = (HashMap::new(), HashSet::new());
        Self { file, root: At::root(root), faults, warnings: Vec::new(), bundled, compiled }
    }

    pub(super) fn fault(&mut self, at: &At<'_>, reason: impl Display) {
        self.note(at.node.line, at.pointer.clone(), reason);
    }

    /// A fault about a member that `at` lacks, or about where one would be.
    pub(super) fn missing(&mut self, at: &At<'_>, key: &str, reason: impl Display) {
        self.note(at.node.line, at.child_pointer(key), reason);
    }

    /// A fault at `pointer`, on the line of the nearest node above it.
    pub(super) fn fault_at(&mut self, pointer: &str, reason: impl Display) {
        let (Ok(nearest) | Err(nearest)) = self.root.follow(pointer);
        self.note(nearest.node.line, pointer.to_owned(), reason);
    }

    pub(super) fn warn(&mut self, at: &At<'_>, reason: impl Display) {
        self.warnings.push(self.at_place(at.node.line, at.pointer.clone(), reason));
    }

    fn note(&mut self, line: usize, pointer: String, reason: impl Display) {
        self.faults.push(self.at_place(line, pointer, reason));
    }

    fn at_place(&self, line: usize, pointer: String, reason: impl Display) -> Fault {
        Fault { file: self.file.to_owned(), line, pointer, reason: reason.to_string() }
    }

    /// An object with no members but `known` ones and extensions (`x-…`).
    pub(super) fn fields(&mut self, at: &At<'d>, known: &[&str]) -> Option<()> {
        self.members_where(at, known, |name| name.starts_with("x-"))
    }

    /// An object with no members but `known` ones: where a misspelt extension would be a hole.
    pub(super) fn strict_fields(&mut self, at: &At<'d>, known: &[&str]) -> Option<()> {
        self.members_where(at, known, |_| false)
    }

    fn members_where(&mut self, at: &At<'d>, known: &[&str], also: impl Fn(&str) -> bool) -> Option<()> {
        self.object(at)?;
        for (name, member) in at.members() {
            if !known.contains(&name) && !also(name) {
                self.fault(&member, format!("unknown field; known are {}", known.join(", ")));
            }
        }
        Some(())
    }

    pub(super) fn object(&mut self, at: &At<'d>) -> Option<()> {
        if !at.is_object() {
            self.fault(at, "must be an object");
        }
        at.is_object().then_some(())
    }

    /// The items of a list.
    pub(super) fn list(&mut self, at: &At<'d>) -> Vec<At<'d>> {
        if !matches!(at.node.data, Data::List(_)) {
            self.fault(at, "must be a list");
        }
        at.items()
    }

    /// A member that must be there.
    pub(super) fn required(&mut self, at: &At<'d>, key: &str) -> Option<At<'d>> {
        let member = at.get(key);
        if member.is_none() {
            self.missing(at, key, "is missing");
        }
        member
    }

    /// Text that is not empty.
    pub(super) fn text(&mut self, at: &At<'d>) -> Option<&'d str> {
        let text = at.text().filter(|text| !text.is_empty());
        if text.is_none() {
            self.fault(at, "must be text that is not empty");
        }
        text
    }

    /// The text of a member that must be there.
    pub(super) fn required_text(&mut self, at: &At<'d>, key: &str) -> Option<&'d str> {
        let member = self.required(at, key)?;
        self.text(&member)
    }

    /// A member that is true or false, and false if it is absent.
    pub(super) fn flag(&mut self, at: &At<'d>, key: &str) -> bool {
        match at.get(key) {
            None => false,
            Some(At { node: Node { data: Data::Bool(value), .. }, .. }) => *value,
            Some(member) => {
                self.fault(&member, "must be true or false");
                false
            }
        }
    }

    pub(super) fn integer(&mut self, at: &At<'d>, range: RangeInclusive<u64>) -> Option<u64> {
        let value = match &at.node.data {
            Data::Number(number) => number.as_u64().filter(|value| range.contains(value)),
            _ => None,
        };
        if value.is_none() {
            self.fault(at, format!("must be an integer from {} to {}", range.start(), range.end()));
        }
        value
    }

    /// A duration such as `60s`, `15m` or `24h`, in seconds.
    pub(super) fn duration_s(&mut self, at: &At<'d>, range: RangeInclusive<u32>) -> Option<u32> {
        let value = at.text().and_then(duration_s).filter(|value| range.contains(value));
        if value.is_none() {
            let (from, to) = (range.start(), range.end());
            self.fault(at, format!("must be a duration from {from}s to {to}s, written as 60s, 15m or 24h"));
        }
        value
    }

    /// What a Reference Object stands for; anything else stands for itself. A reference that leads nowhere is `None`
    /// without a fault, because [`super::refs::check`] reports each of these once.
    pub(super) fn resolve(&mut self, at: &At<'d>) -> Option<At<'d>> {
        let mut target = at.clone();
        let mut seen = HashSet::new();
        while let Some(reference) = target.get("$ref") {
            for (name, member) in target.members() {
                if !["$ref", "summary", "description"].contains(&name) {
                    self.fault(&member, "has no effect beside $ref");
                }
            }
            if !seen.insert(target.pointer.clone()) {
                self.fault(&reference, "this $ref leads back to itself");
                return None;
            }
            target = self.root.follow(&local_pointer(reference.text()?)?).ok()?;
        }
        Some(target)
    }
}

fn duration_s(text: &str) -> Option<u32> {
    let unit_s = match text.bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        _ => return None,
    };
    // All three units are one ASCII byte, so the cut is on a character boundary.
    let digits = text.get(..text.len() - 1)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u32>().ok()?.checked_mul(unit_s)
}
