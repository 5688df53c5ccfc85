//! The removal of an operation, with the components that only it used.

use sluicegate_yaml::{Data, Dialect, Node, pointer};

use super::{operation::skeleton, operations, queues, read, with_component, with_tag};
use crate::CommandError;
use crate::add::{
    members,
    names::RouteName,
    scheme::{Auth, Component},
};
use crate::edit::TextEdits;

/// The sections of `components` that `add` writes.
const SECTIONS: [&str; 3] = ["parameters", "schemas", "securitySchemes"];

/// A contract without an operation.
pub(crate) struct Removed {
    pub text: String,
    /// The queues the operation named.
    pub queues: Vec<String>,
    /// The components that only this operation used, and that stay because they were edited.
    pub left: Vec<String>,
    /// Its event type.
    pub event_type: String,
}

/// Returns the contract without an operation and the components that only it used; `None` if the contract does not have
/// it. A component that was edited stays, unless `force` is set.
pub(crate) fn remove(file: &str, text: &str, name: &RouteName, force: bool) -> Result<Option<Removed>, CommandError> {
    let document = read(file, text)?;
    let method = name.method.to_ascii_lowercase();
    let item = document.root.get("paths").and_then(|paths| paths.get(&name.path));
    let Some(operation) = item.and_then(|item| item.get(&method)) else { return Ok(None) };
    let field = |field: &str| {
        let value = operation.get("x-sluicegate").and_then(|at| at.get(field)).and_then(Node::text);
        value.unwrap_or_default().to_owned()
    };
    let queues: Vec<String> = queues(operation).into_iter().map(str::to_owned).collect();
    let event_type = field("type");
    let tags: Vec<String> = texts(operation.get("tags"));
    let used = uses(operation);
    // Other members of the path item, such as parameters, apply to its operations and go with the last of them.
    let is_last = item.is_some_and(|item| {
        let methods = ["get", "put", "post", "delete", "head", "patch"];
        item.entries().filter(|(name, _)| methods.contains(name)).count() == 1
    });
    let mut path = vec!["paths", name.path.as_str(), method.as_str()];
    path.truncate(if is_last { 2 } else { 3 });
    let mut out = members::remove(file, text, Dialect::Strict, &path, "paths")?;
    let mut left = Vec::new();
    // In the reverse order of `add`, so that each is the last of its section again.
    for tag in tags {
        let is_used = |operation: &Node| texts(operation.get("tags")).contains(&tag);
        let without = without_tag(file, &out, &tag)?;
        if !operations(&read(file, &out)?.root).any(is_used) && (force || with_tag(file, &without, &tag)? == out) {
            out = without;
        }
    }
    for (section, name) in used.iter().rev().filter(|(section, _)| SECTIONS.contains(&section.as_str())) {
        let document = read(file, &out)?;
        let components = document.root.get("components");
        let is_there = components.and_then(|all| all.get(section)).is_some_and(|section| section.get(name).is_some());
        if !is_there || uses(&document.root).contains(&(section.clone(), name.clone())) {
            continue;
        }
        let without = members::remove(file, &out, Dialect::Strict, &["components", section, name], "")?;
        if force || is_as_added(file, &out, &without, (section, name), &event_type)? {
            out = without;
        } else {
            left.push(format!("components/{section}/{name}"));
        }
    }
    Ok(Some(Removed { text: out, queues, left, event_type }))
}

/// Returns whether adding the component to the text without it restores the text.
fn is_as_added(
    file: &str,
    with: &str,
    without: &str,
    (section, name): (&str, &str),
    event_type: &str,
) -> Result<bool, CommandError> {
    let all = Auth::providers().map(Auth::Provider).chain([Auth::ApiKey, Auth::Basic, Auth::Bearer]).map(Auth::scheme);
    let known = all.flat_map(|scheme| scheme.security.into_iter().chain(scheme.parameter));
    let known = known.map(|Component { section, name, lines }| (section, name, lines));
    let skeleton = |auth| ("schemas", name.to_owned().into(), skeleton(auth, name, event_type).into());
    let known = known.chain([skeleton(Auth::ApiKey), skeleton(Auth::Provider("github"))]);
    for (of, called, lines) in known.filter(|(of, called, _)| (*of, called.as_ref()) == (section, name)) {
        if with_component(file, without, of, &called, &lines)? == with {
            return Ok(true);
        }
    }
    Ok(false)
}

fn without_tag(file: &str, text: &str, tag: &str) -> Result<String, CommandError> {
    let document = read(file, text)?;
    let tags = document.root.get("tags").map_or(&[][..], Node::items);
    let is_it = |item: &&Node| item.get("name").and_then(Node::text) == Some(tag) && item.members().len() == 1;
    let Some(item) = tags.iter().rfind(is_it).filter(|_| tags.len() > 1) else { return Ok(text.to_owned()) };
    let mut edits = TextEdits::default();
    edits.remove_lines(text, &item.range());
    Ok(edits.apply(text))
}

/// Returns the components that nodes refer to, security schemes included, each once and in order.
fn uses(node: &Node) -> Vec<(String, String)> {
    fn walk(node: &Node, found: &mut Vec<(String, String)>) {
        for (key, value) in node.entries() {
            let target = value.text().filter(|_| key == "$ref").and_then(|it| it.strip_prefix("#/components/"));
            if let Some((section, name)) = target.and_then(|target| target.split_once('/')) {
                let name = name.split('/').next().unwrap_or_default();
                found.push((section.to_owned(), pointer::unescape(name).into_owned()));
            }
            if key == "security" {
                let schemes = value.items().iter().flat_map(Node::entries);
                found.extend(schemes.map(|(name, _)| ("securitySchemes".to_owned(), name.to_owned())));
            }
            walk(value, found);
        }
        node.items().iter().for_each(|item| walk(item, found));
    }
    let mut found = Vec::new();
    walk(node, &mut found);
    let mut once = Vec::new();
    found.into_iter().for_each(|it| {
        if !once.contains(&it) {
            once.push(it)
        }
    });
    once
}

fn texts(list: Option<&Node>) -> Vec<String> {
    let items = list.map_or(&[][..], Node::items);
    items
        .iter()
        .filter_map(|item| match item.data() {
            Data::Text(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}
