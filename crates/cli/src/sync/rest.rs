//! The part of a template that sync must not change, compared before and after.

use serde_json::{Value, json};

use super::{Template, template::Outline};

/// The content of a template except its routes.
#[derive(Debug)]
pub(super) struct Rest {
    /// The template without the events that are routes, and without the limits of single routes.
    outside_routes: Value,
    /// The properties of each of those events except Method and Path.
    routes: Vec<Value>,
    /// The limits of single routes, without the routes.
    limits: Vec<Value>,
}

impl Rest {
    pub(super) fn of(template: &Template<'_>, outline: &Outline) -> Self {
        let mut outside_routes = template.document.value.clone();
        let mut routes = Vec::new();
        if let Some(events) = properties(&mut outside_routes, &outline.function).and_then(|it| it.get_mut("Events")) {
            for event in outline.events.iter().filter(|event| event.route.is_some()) {
                let Some(mut event) = events.as_object_mut().and_then(|events| events.remove(&event.name)) else {
                    continue;
                };
                if let Some(properties) = event.get_mut("Properties").and_then(Value::as_object_mut) {
                    properties.retain(|name, _| !["Method", "Path"].contains(&name.as_str()));
                }
                routes.push(event);
            }
            // The function had no events, or only routes.
            if events == &json!({}) {
                *events = Value::Null;
            }
        }
        let limits =
            properties(&mut outside_routes, &outline.api).and_then(|it| it.as_object_mut()?.remove("RouteSettings"));
        let limits =
            limits.and_then(|limits| Some(limits.as_object()?.values().cloned().collect())).unwrap_or_default();
        Self { outside_routes, routes, limits }
    }

    /// Returns whether only routes differ from `before`: new routes have no other properties, old ones keep theirs.
    pub(super) fn comes_from(&self, before: &Self, outline: &Outline) -> bool {
        let new = json!({ "Type": "HttpApi", "Properties": { "ApiId": { "Ref": outline.api } } });
        self.outside_routes == before.outside_routes
            && self.routes.iter().all(|route| *route == new || before.routes.contains(route))
            && self.limits.iter().all(|limit| before.limits.contains(limit))
    }
}

fn properties<'v>(template: &'v mut Value, resource: &str) -> Option<&'v mut Value> {
    template.get_mut("Resources")?.get_mut(resource)?.get_mut("Properties")
}
