//! The text of an operation and of its schema.

use serde_json::{Value, json};
use sluicegate_yaml::{Node, pointer};

use crate::add::{
    members::{indented, plain},
    names::{RouteName, pascal},
    scheme::{Auth, Scheme},
};

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

impl NewRoute {
    pub(super) fn has_body(&self) -> bool {
        !["DELETE", "GET", "HEAD"].contains(&self.name.method.as_str())
    }

    /// Returns the `security` of the operation: the name of the scheme and its scopes, if there is one.
    pub(super) fn security(&self, root: &Node) -> Value {
        self.auth.scheme().name_for(root).map_or_else(|| json!([]), |name| json!([{ name: self.scopes }]))
    }

    /// Returns the name of the payload's schema.
    pub(super) fn schema(&self) -> String {
        match self.event_type.contains('{') {
            true => pascal(&self.operation_id),
            false => pascal(&self.event_type),
        }
    }

    /// Returns the first word of the path, by which the documentation groups operations.
    pub(super) fn tag(&self) -> &str {
        let mut segments = self.name.path.split('/').filter(|it| !it.is_empty() && !it.starts_with('{'));
        segments.next().unwrap_or(&self.queue)
    }

    pub(super) fn schema_lines(&self) -> String {
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

/// Returns the members of the operation.
pub(super) fn operation(root: &Node, route: &NewRoute, scheme: &Scheme, group: Option<&str>) -> String {
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
pub(super) fn group(root: &Node, route: &NewRoute) -> Option<String> {
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

/// Returns the schema that `add` writes for an event type.
pub(super) fn skeleton(auth: Auth, name: &str, event_type: &str) -> String {
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
