//! Operations of the contract: inserts and removes them, with the components that they use.

use serde_json::{Value, json};
use sluicegate_yaml::{Data, Dialect, Document, Node, pointer};

use super::{
    members::{self, Target, indented, plain, refuse},
    names::{RouteName, pascal},
    scheme::{Auth, Component, Scheme},
};
use crate::CommandError;
use crate::edit::{TextEdits, line_end, line_start};

/// An operation to write.
#[derive(Debug, Clone)]
pub(crate) struct NewRoute {
    pub name: RouteName,
    pub event_type: String,
    pub queue: String,
    /// Whether the queue is FIFO, so that the messages need an ordering group.
    pub fifo: bool,
    pub auth: Auth,
    pub scopes: Vec<String>,
    pub operation_id: String,
    pub summary: String,
}

/// A response of a route: its status, its component, and whether a route has it.
type Response = (u16, &'static str, fn(&NewRoute) -> bool);

const RESPONSES: &[Response] = &[
    (202, "Accepted", |_| true),
    (400, "BadRequest", |_| true),
    // A JWT is checked by API Gateway, whose 401 is not a problem document.
    (401, "Unauthenticated", |route| !matches!(route.auth, Auth::Jwt | Auth::None)),
    (403, "Forbidden", |route| {
        let checked = matches!(route.auth, Auth::ApiKey | Auth::Basic | Auth::Bearer);
        !route.scopes.is_empty() && checked
    }),
    (404, "NotFound", |_| true),
    (405, "MethodNotAllowed", |_| true),
    (413, "PayloadTooLarge", NewRoute::has_body),
    (415, "UnsupportedMediaType", NewRoute::has_body),
    (422, "Invalid", NewRoute::has_body),
    (429, "TooManyRequests", |_| true),
    (500, "ServerError", |_| true),
    (503, "Unavailable", |_| true),
];

/// The sections of `components` that `add` writes.
const SECTIONS: [&str; 3] = ["parameters", "schemas", "securitySchemes"];

impl NewRoute {
    fn has_body(&self) -> bool {
        !["DELETE", "GET", "HEAD"].contains(&self.name.method.as_str())
    }

    /// Returns the `security` of the operation: the name of the scheme and its scopes, if there is one.
    fn security(&self, root: &Node) -> Value {
        self.auth.scheme().name_for(root).map_or_else(|| json!([]), |name| json!([{ name: self.scopes }]))
    }

    /// Returns the name of the payload's schema.
    fn schema(&self) -> String {
        match self.event_type.contains('{') {
            true => pascal(&self.operation_id),
            false => pascal(&self.event_type),
        }
    }

    /// Returns the first word of the path, by which the documentation groups operations.
    fn tag(&self) -> &str {
        let mut segments = self.name.path.split('/').filter(|it| !it.is_empty() && !it.starts_with('{'));
        segments.next().unwrap_or(&self.queue)
    }

    fn schema_lines(&self) -> String {
        let (name, event_type) = (self.schema(), plain(&format!("The payload of {}.", self.event_type)));
        match self.auth.scheme().is_own_client {
            true => format!(
                "\
{name}:
  type: object
  description: {event_type}
  required: [id]
  additionalProperties: false
  properties:
    id:
      type: string
      description: Names what the message is about, in printable ASCII characters.
      pattern: '^[ -~]+$'
      maxLength: 64
"
            ),
            false => format!("{name}:\n  type: object\n  description: The event as its sender defines it.\n"),
        }
    }
}

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

fn operation(root: &Node, route: &NewRoute, scheme: &Scheme, group: Option<&str>) -> String {
    let security = match scheme.name_for(root) {
        Some(name) => format!(
            "security:\n  - {name}: [{}]\n",
            route.scopes.iter().map(|it| plain(it)).collect::<Vec<_>>().join(", ")
        ),
        None => "security: []\n".to_owned(),
    };
    let mut parameters: String = route
        .name
        .parameters()
        .map(|name| {
            format!(
                "- name: {name}\n  in: path\n  required: true\n  schema:\n    type: string\n    pattern: ^[ -~]+$\n    \
                 maxLength: 64\n"
            )
        })
        .collect();
    parameters += scheme.parameters;
    if !parameters.is_empty() {
        parameters = format!("parameters:\n{}", indented(&parameters, 2));
    }
    let body = match route.has_body() {
        true => format!(
            "\
requestBody:
  required: true
  content:
    application/json:
      schema:
        $ref: '#/components/schemas/{}'
{}",
            route.schema(),
            if route.auth.sends_forms() { "    application/x-www-form-urlencoded: {}\n" } else { "" }
        ),
        false => String::new(),
    };
    let component = |name: &str| root.get("components")?.get("responses")?.get(name);
    let responses: String = RESPONSES
        .iter()
        .filter(|(_, _, applies)| applies(route))
        .filter_map(|(status, name, _)| match component(name) {
            Some(_) => Some(format!("  '{status}':\n    $ref: '#/components/responses/{name}'\n")),
            None if *status == 202 => Some(format!("  '{status}':\n    description: The message is stored.\n")),
            None => None,
        })
        .collect();
    let enqueue = format!(
        "queue: {}\ntype: {}\n{}{}",
        plain(&route.queue),
        plain(&route.event_type),
        group.map(|group| format!("group: '{group}'\n")).unwrap_or_default(),
        scheme.enqueue,
    );
    format!(
        "operationId: {}\ntags: [{}]\nsummary: {}\n{security}{parameters}{body}responses:\n{responses}x-sluicegate:\n{}",
        route.operation_id,
        plain(route.tag()),
        plain(&route.summary),
        indented(&enqueue, 2),
    )
}

/// Returns the ordering group on a FIFO queue: a required text of the payload, or a parameter of the path.
fn group(root: &Node, route: &NewRoute) -> Option<String> {
    if !route.fifo {
        return None;
    }
    let schema = root.get("components")?.get("schemas")?.get(&route.schema()).filter(|_| route.has_body());
    let required = schema.and_then(|schema| schema.get("required")).map_or(&[][..], Node::items);
    let is_text = |name: &&str| {
        let property = schema.and_then(|schema| schema.get("properties")?.get(name));
        property.and_then(|property| property.get("type")).and_then(Node::text) == Some("string")
    };
    let name = required.iter().filter_map(Node::text).find(is_text);
    let body = name.map(|name| format!("{{body#/{}}}", pointer::escape(name)));
    body.or_else(|| route.name.parameters().next().map(|name| format!("{{path.{name}}}")))
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

fn without_tag(file: &str, text: &str, tag: &str) -> Result<String, CommandError> {
    let document = read(file, text)?;
    let tags = document.root.get("tags").map_or(&[][..], Node::items);
    let is_it = |item: &&Node| item.get("name").and_then(Node::text) == Some(tag) && item.members().len() == 1;
    let Some(item) = tags.iter().rfind(is_it).filter(|_| tags.len() > 1) else { return Ok(text.to_owned()) };
    let mut edits = TextEdits::default();
    edits.remove_lines(text, &item.range());
    Ok(edits.apply(text))
}

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

/// Returns the schema that `add` writes for an event type.
fn skeleton(auth: Auth, name: &str, event_type: &str) -> String {
    let route = NewRoute {
        name: RouteName { method: String::new(), path: String::new() },
        event_type: event_type.to_owned(),
        queue: String::new(),
        fifo: false,
        auth,
        scopes: Vec::new(),
        operation_id: name.to_owned(),
        summary: String::new(),
    };
    format!("{name}:\n{}", route.schema_lines().split_once('\n').unwrap_or_default().1)
}

/// Returns a contract in which an event type has the schema that `add` writes.
pub(crate) fn with_skeleton(event_type: &str) -> String {
    format!(
        "\
paths:
  /skeleton:
    post:
      requestBody: {{ content: {{ application/json: {{ schema: {{ $ref: '#/components/schemas/Skeleton' }} }} }} }}
      x-sluicegate: {{ type: {} }}
components:
  schemas:
{}",
        plain(event_type),
        indented(&skeleton(Auth::ApiKey, "Skeleton", event_type), 4)
    )
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

/// Returns a path as the key of a mapping.
fn scalar_key(path: &str) -> String {
    let is_plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.{}~-%".contains(&byte));
    if is_plain { path.to_owned() } else { format!("'{}'", path.replace('\'', "''")) }
}
