//! References and the public document: every `$ref` has a target, and the public copy has no Sluicegate extensions.
//!
//! Both distinguish keywords from names that look like keywords: a header called `x-signature`, a property called
//! `$ref`, an example that contains either.

use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::Value;
use sluicegate_yaml::{Data, Member, Node};

use super::checker::{ContractChecker, local_pointer};
use crate::STATUS_PATH;

/// Extensions for the build and the ingress, left out of the public document.
const PRIVATE_EXTENSIONS: &[&str] = &["x-sluicegate", "x-secret", "x-signature", "x-authorizer"];

/// The kind of an object's members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// Keywords of OpenAPI or JSON Schema, extensions among them.
    Keywords,
    /// User-chosen names, each with an object of keywords as its value.
    Names,
    /// Data of the user, such as an example, which is copied unchanged.
    Data,
}

impl Position {
    /// Returns the position of the value of `key`, which itself is at `self`.
    fn of_member(self, key: &str, value: &Node) -> Self {
        let is_object = value.is_map();
        match (self, key) {
            (Self::Data, _) => Self::Data,
            (Self::Names, _) => Self::Keywords,
            (Self::Keywords, "example" | "examples" | "default" | "const" | "enum") => Self::Data,
            (Self::Keywords, key) if key.starts_with("x-") => Self::Data,
            // Lists of these hold objects of keywords (`parameters: [{ $ref: … }]`).
            (
                Self::Keywords,
                "$defs" | "callbacks" | "content" | "dependentSchemas" | "encoding" | "headers" | "links" | "mapping"
                | "parameters" | "pathItems" | "patternProperties" | "properties" | "requestBodies" | "responses"
                | "schemas" | "scopes" | "securitySchemes" | "variables" | "webhooks",
            ) if is_object => Self::Names,
            (Self::Keywords, _) => Self::Keywords,
        }
    }
}

/// Notes a fault for every `$ref` that is not text, not local, or has no target.
pub(super) fn check(checker: &mut ContractChecker<'_>) {
    let root = checker.root;
    check_below(checker, root, Position::Keywords);
}

fn check_below(checker: &mut ContractChecker<'_>, at: &Node, position: Position) {
    if position == Position::Data {
        return;
    }
    if let Some(reference) = at.get("$ref").filter(|_| position == Position::Keywords) {
        match reference.text().map(|text| (text, local_pointer(text))) {
            None => checker.fault(reference, "a $ref must be text"),
            Some((text, None)) => {
                checker.fault(reference, format!("`{text}` is not local: a $ref starts with `#/`"));
            }
            Some((text, Some(pointer))) if checker.root.follow(&pointer).is_err() => {
                checker.fault(reference, format!("`{text}` leads nowhere"));
            }
            Some(_) => {}
        }
    }
    for (key, member) in at.entries() {
        check_below(checker, member, position.of_member(key, member));
    }
    for item in at.items() {
        check_below(checker, item, position);
    }
}

/// Returns the document without Sluicegate's extensions, in the same order, with the path item of [`STATUS_PATH`], if
/// there is one.
pub(super) fn public_document(root: &Node, status: Option<&Value>) -> String {
    // A tree of null, booleans, finite numbers, text, lists and objects with text keys always serialises.
    serde_json::to_string(&Public { node: root, position: Position::Keywords, status }).unwrap_or_default()
}

/// A part of the public document.
struct Public<'d> {
    node: &'d Node,
    position: Position,
    /// The path item of [`STATUS_PATH`].
    status: Option<&'d Value>,
}

impl Serialize for Public<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { node, position, status } = *self;
        match node.data() {
            Data::List(items) => serializer.collect_seq(items.iter().map(|node| Self { node, position, status })),
            Data::Map(members) => {
                let is_public = |key: &str| position != Position::Keywords || !PRIVATE_EXTENSIONS.contains(&key);
                let mut map = serializer.serialize_map(None)?;
                for Member { key, value, .. } in members.iter().filter(|member| is_public(&member.key)) {
                    let position = position.of_member(key, value);
                    map.serialize_entry(key, &Self { node: value, position, status })?;
                }
                if let Some(status) = status.filter(|_| node.pointer() == "/paths") {
                    map.serialize_entry(STATUS_PATH, status)?;
                }
                map.end()
            }
            _ => node.serialize(serializer),
        }
    }
}
