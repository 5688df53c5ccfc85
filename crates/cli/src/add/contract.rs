//! Operations of the contract: inserts and removes them, with the components that they use.

mod operation;
mod remove;

use sluicegate_yaml::{Dialect, Document, Node};

use super::members::{self, Target, indented, plain, refuse};
use crate::CommandError;
use crate::edit::{TextEdits, line_end, line_start};
pub(crate) use operation::{NewRoute, with_skeleton};
use operation::{group, operation};
pub(crate) use remove::remove;

/// A contract with the operation.
pub(crate) struct Added {
    pub text: String,
    /// Notes for the user.
    pub notes: Vec<String>,
}

/// Returns the contract with the operation and the components it needs. An existing operation stays as it is.
pub(crate) fn add(file: &str, text: &str, route: &NewRoute) -> Result<Added, CommandError> {
    let document = read(file, text)?;
    let mut notes = Vec::new();
    let mut text = text.to_owned();
    if is_there(file, &document, route)? {
        return Ok(Added { text, notes });
    }
    let scheme = route.auth.scheme();
    for component in scheme.security.iter().chain(&scheme.parameter) {
        if component.section != "securitySchemes" || scheme.name_in(&document.root).is_none() {
            text = with_component(file, &text, component.section, &component.name, &component.lines)?;
        }
    }
    if route.has_body() {
        text = with_component(file, &text, "schemas", &route.schema(), &route.schema_lines())?;
    }
    text = with_tag(file, &text, route.tag())?;
    let document = read(file, &text)?;
    let group = group(&document.root, route);
    if route.fifo && group.is_none() {
        notes.push(format!(
            "{} has no ordering group: set x-sluicegate.group, such as '{{body#/customer_id}}', to process messages that \
             share it in order",
            route.name
        ));
    }
    let operation = operation(&document.root, route, &scheme, group.as_deref());
    let (path, method) = (route.name.path.as_str(), route.name.method.to_ascii_lowercase());
    let operation = format!("{method}:\n{}", indented(&operation, 2));
    let is_known_path = document.root.get("paths").and_then(|paths| paths.get(path)).is_some();
    let text = if is_known_path {
        let target = Target { path: &["paths", path], is_apart: false, after: None };
        members::insert(file, &text, Dialect::Strict, &target, &operation)?
    } else {
        let target = Target { path: &["paths"], is_apart: true, after: None };
        let item = format!("{}:\n{}", scalar_key(path), indented(&operation, 2));
        members::insert(file, &text, Dialect::Strict, &target, &item)?
    };
    Ok(Added { text, notes })
}

/// Returns whether the contract has the operation. An operation with another queue or type in its place is an error, as
/// is a path that differs only in the names of its parameters.
fn is_there(file: &str, document: &Document, route: &NewRoute) -> Result<bool, CommandError> {
    let paths = document.root.get("paths").map_or(&[][..], Node::members);
    let shape = |path: &str| path.split('/').map(|it| if it.starts_with('{') { "{}" } else { it }.to_owned()).collect();
    let wanted: Vec<String> = shape(&route.name.path);
    for item in paths {
        let path = item.key.as_str();
        if path != route.name.path && shape(path) == wanted {
            let reason = format!("{} is the same route as {path}, which is here: use that path", route.name.path);
            return Err(refuse(file, &item.value, reason));
        }
        for (method, operation) in item.value.entries() {
            let name = format!("{} {path}", method.to_ascii_uppercase());
            let at = |field: &str| operation.get("x-sluicegate").and_then(|at| at.get(field)).and_then(Node::text);
            if name == route.name.to_string() {
                let (queue, event_type) = (queues(operation).join(", "), at("type").unwrap_or_default());
                let security = operation.get("security").and_then(|security| serde_json::to_value(security).ok());
                let differs = if (queue.as_str(), event_type) != (route.queue.as_str(), route.event_type.as_str()) {
                    format!("queue {queue} and type {event_type}")
                } else if security.as_ref() != Some(&route.security(&document.root)) {
                    format!("security {}", security.unwrap_or_default())
                } else {
                    return Ok(true);
                };
                let reason = format!(
                    "{name} is here already, with {differs}: edit it, or run `sluicegate remove route '{name}'` first"
                );
                return Err(refuse(file, operation, reason));
            }
            if operation.get("operationId").and_then(Node::text) == Some(&route.operation_id) {
                let reason =
                    format!("{name} has the operationId {}: pass another with --operation-id", route.operation_id);
                return Err(refuse(file, operation, reason));
            }
        }
    }
    Ok(false)
}

fn with_component(file: &str, text: &str, section: &str, name: &str, lines: &str) -> Result<String, CommandError> {
    let document = read(file, text)?;
    let components = document.root.get("components");
    if components.and_then(|components| components.get(section)).is_some_and(|section| section.get(name).is_some()) {
        return Ok(text.to_owned());
    }
    let target = Target { path: &["components", section], is_apart: false, after: None };
    members::insert(file, text, Dialect::Strict, &target, lines)
}

/// Adds a tag to the list of the document, if it has one.
fn with_tag(file: &str, text: &str, tag: &str) -> Result<String, CommandError> {
    let document = read(file, text)?;
    let tags = document.root.get("tags").filter(|tags| !tags.is_flow()).map_or(&[][..], Node::items);
    let is_it = |item: &Node| item.get("name").and_then(Node::text) == Some(tag);
    let (Some(last), false) = (tags.last(), tags.iter().any(is_it)) else { return Ok(text.to_owned()) };
    let start = line_start(text, last.range().start);
    let indent = text[start..].len() - text[start..].trim_start_matches(' ').len();
    let mut edits = TextEdits::default();
    let line = format!("{:indent$}- name: {}\n", "", plain(tag));
    edits.insert_lines(text, line_end(text, last.range().end), &line);
    Ok(edits.apply(text))
}

fn operations(root: &Node) -> impl Iterator<Item = &Node> {
    let items = root.get("paths").into_iter().flat_map(Node::entries);
    items.flat_map(|(_, item)| item.entries()).map(|(_, operation)| operation).filter(|it| it.is_map())
}

/// Returns whether the contract has an operation.
pub(crate) fn has_operations(file: &str, text: &str) -> Result<bool, CommandError> {
    Ok(operations(&read(file, text)?.root).next().is_some())
}

/// Returns the queues that an operation names: one, or those of a list with conditions, and those of its copies.
fn queues(operation: &Node) -> Vec<&str> {
    let fields = ["queue", "copyTo"].into_iter();
    let fields = fields.filter_map(|field| operation.get("x-sluicegate").and_then(|at| at.get(field)));
    let names = |at| {
        let listed = Node::items(at).iter().filter_map(|entry| entry.text().or_else(|| entry.get("queue")?.text()));
        at.text().into_iter().chain(listed)
    };
    fields.flat_map(names).collect()
}

/// Returns the routes that name a queue, each with its line.
pub(crate) fn routes_of(file: &str, text: &str, queue: &str) -> Result<Vec<String>, CommandError> {
    let document = read(file, text)?;
    let mut routes = Vec::new();
    for (path, item) in document.root.get("paths").into_iter().flat_map(Node::entries) {
        for (method, operation) in item.entries() {
            if queues(operation).contains(&queue) {
                routes.push(format!("{} {path} ({file}:{})", method.to_ascii_uppercase(), operation.line()));
            }
        }
    }
    Ok(routes)
}

/// Returns the schema of an event type's payload, and the document it is in.
pub(crate) fn schema_of<'d>(document: &'d Document, event_type: &str) -> Option<&'d Node> {
    let is_it = |operation: &&Node| {
        let named = operation.get("x-sluicegate").and_then(|at| at.get("type")).and_then(Node::text);
        named == Some(event_type)
    };
    let operation = operations(&document.root).find(is_it)?;
    let body = resolved(&document.root, operation.get("requestBody")?)?;
    let schema = body.get("content")?.get("application/json")?.get("schema")?;
    resolved(&document.root, schema)
}

/// Follows `$ref` within the document.
pub(crate) fn resolved<'d>(root: &'d Node, mut node: &'d Node) -> Option<&'d Node> {
    const REFERENCES_MAX: usize = 16;
    for _ in 0..REFERENCES_MAX {
        let Some(target) = node.get("$ref") else { return Some(node) };
        node = root.follow(target.text()?.strip_prefix('#')?).ok()?;
    }
    None
}

pub(crate) fn read(file: &str, text: &str) -> Result<Document, CommandError> {
    members::read(file, text, Dialect::Strict)
}

/// Returns a path as the key of a mapping.
fn scalar_key(path: &str) -> String {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.{}~-%".contains(&byte));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', "''")) }
}
