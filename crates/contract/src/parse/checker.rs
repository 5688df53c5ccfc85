//! The checks of YAML, and those that only OpenAPI needs: extensions, durations, references.

use std::collections::{HashMap, HashSet};
use std::ops::{Deref, DerefMut, RangeInclusive};

use percent_encoding::percent_decode_str;
use sluicegate_yaml::{Document, Node};

use crate::SchemaText;

pub(super) struct ContractChecker<'d> {
    yaml: sluicegate_yaml::Checker<'d>,
    /// Bundled schemas by their pointer; `None` for one with a fault, which is reported.
    pub(super) bundled: HashMap<String, Option<SchemaText>>,
    /// Pointers of the schemas that have been compiled.
    pub(super) compiled: HashSet<String>,
}

impl<'d> Deref for ContractChecker<'d> {
    type Target = sluicegate_yaml::Checker<'d>;

    fn deref(&self) -> &Self::Target {
        &self.yaml
    }
}

impl DerefMut for ContractChecker<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.yaml
    }
}

impl<'d> ContractChecker<'d> {
    pub(super) fn new(file: &'d str, document: &'d Document) -> Self {
        let yaml = sluicegate_yaml::Checker::new(file, document);
        Self { yaml, bundled: HashMap::new(), compiled: HashSet::new() }
    }

    /// Expects an object with no members but the known ones and extensions (`x-…`). Where a misspelt extension would be
    /// a security hole, use `fields`.
    pub(super) fn fields_and_extensions(&mut self, at: &Node, known: &[&str]) -> Option<()> {
        self.fields_or(at, known, |name| name.starts_with("x-"))
    }

    /// Expects a duration such as `60s`, `15m` or `24h`; returns its seconds.
    pub(super) fn duration_s(&mut self, at: &Node, range: RangeInclusive<u32>) -> Option<u32> {
        let value = at.text().and_then(duration_s).filter(|value| range.contains(value));
        if value.is_none() {
            let (from, to) = (range.start(), range.end());
            self.fault(at, format!("must be a duration from {from}s to {to}s, written as 60s, 15m or 24h"));
        }
        value
    }

    /// Returns the target of a Reference Object, or any other value unchanged. Returns `None` without a fault for a
    /// reference without a target, because [`super::refs::check`] reports each of these once.
    pub(super) fn resolve(&mut self, at: &'d Node) -> Option<&'d Node> {
        let mut target = at;
        let mut seen = HashSet::new();
        while let Some(reference) = target.get("$ref") {
            for (name, member) in target.entries() {
                if !["$ref", "summary", "description"].contains(&name) {
                    self.fault(member, "has no effect beside $ref");
                }
            }
            if !seen.insert(target.pointer()) {
                self.fault(reference, "this $ref is circular");
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

/// Returns the pointer in a local reference (`#/components/…`); `None` if it is remote, or not a pointer.
pub(super) fn local_pointer(reference: &str) -> Option<String> {
    let pointer = percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
    pointer.starts_with('/').then(|| pointer.into_owned())
}
