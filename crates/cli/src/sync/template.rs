//! The routes of a template and their bytes: the HttpApi events of one function, and the limits of single routes.
//!
//! A template that cannot be edited line by line is refused, with the line and the fix.

use std::ops::Range;

use sluicegate_sam::{DEFAULT_ROUTE, Faults, Member, Node, Resource, TemplateDocument, route_key};

use super::Template;
use crate::edit::line_start;

/// The function that receives the routes when no function has any.
const INGRESS: &str = "IngressFunction";

/// The parts of a template that `sync` writes.
#[derive(Debug)]
pub(super) struct Outline {
    /// The name of the HTTP API.
    pub api: String,
    /// The name of the function that has the routes.
    pub function: String,
    /// The key `Events:`, after which a first event is inserted.
    pub events_key: Range<usize>,
    pub events: Vec<Event>,
    /// Whether every route is written in braces on one line.
    pub is_in_braces: bool,
    /// `RouteSettings` of the API, if there are any.
    pub settings: Option<Member>,
}

/// An event of the function.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub name: String,
    pub name_range: Range<usize>,
    pub pointer: String,
    /// From the name to the end of the event.
    pub range: Range<usize>,
    /// `None`: an event of another kind than HttpApi.
    pub route: Option<Route>,
}

/// The route of an event.
#[derive(Debug, Clone)]
pub(super) struct Route {
    /// The route key, in API Gateway's form.
    pub key: String,
    /// The byte ranges of the values of `Method` and `Path`.
    pub written: Option<(Range<usize>, Range<usize>)>,
}

impl Outline {
    pub(super) fn read(template: &Template<'_>) -> Result<Self, Faults> {
        let root = &template.document.root;
        let refuse = |node: &Node, reason: String| template.fault(node.pointer(), reason);
        let resources = root.get("Resources").ok_or_else(|| refuse(root, "has no Resources".to_owned()))?;
        let of_type = |kind: &str| -> Vec<Resource<'_>> {
            template.document.resources().filter(|resource| resource.kind == kind).collect()
        };
        let apis = of_type("AWS::Serverless::HttpApi");
        let [api] = apis[..] else {
            return Err(refuse(
                resources,
                format!("has {} AWS::Serverless::HttpApi; sync edits a template with exactly one", apis.len()),
            ));
        };
        let functions = of_type("AWS::Serverless::Function");
        let routed: Vec<_> = functions.iter().filter(|function| !routes_of(function.node).is_empty()).collect();
        let function = match routed[..] {
            [only] => Some(*only),
            [] => functions.iter().find(|function| function.logical_id == INGRESS).copied(),
            _ => {
                let names: Vec<_> = routed.iter().map(|function| function.logical_id).collect();
                return Err(refuse(
                    resources,
                    format!("{} have HttpApi events; sync edits exactly one function", names.join(", ")),
                ));
            }
        };
        let function = function
            .ok_or_else(|| refuse(resources, format!("no function has HttpApi events or is called {INGRESS}")))?;
        let properties = function.node.get("Properties");
        let events = properties.and_then(|properties| properties.member("Events")).ok_or_else(|| {
            refuse(
                function.node,
                format!("{} has no Events: write that line and let sync fill it", function.logical_id),
            )
        })?;
        let settings = api.node.get("Properties").and_then(|properties| properties.member("RouteSettings"));
        for written in [Some(events), settings].into_iter().flatten() {
            line_by_line(template, written)?;
        }
        for event in events.value.members() {
            let properties = event.value.get("Properties").map_or(&[][..], Node::members);
            let odd =
                properties.iter().find(|it| ["Method", "Path"].contains(&it.key.as_str()) && it.value.text().is_none());
            if let Some(odd) = odd {
                let reason =
                    format!("{} of {} is not a plain text, so sync does not know the route", odd.key, event.key);
                return Err(refuse(&odd.value, reason));
            }
        }
        let routes = events.value.members().iter().filter(|event| Event::read(event).route.is_some());
        let mut in_braces = routes.map(|event| event.value.is_flow() && !template.text[event.range()].contains('\n'));
        Ok(Self {
            // The first route of a template is written in block style.
            is_in_braces: in_braces.next().unwrap_or(false) && in_braces.all(|in_braces| in_braces),
            api: api.logical_id.to_owned(),
            function: function.logical_id.to_owned(),
            events_key: events.key_range.clone(),
            events: events.value.members().iter().map(Event::read).collect(),
            settings: settings.cloned(),
        })
    }
}

impl Event {
    fn read(entry: &Member) -> Self {
        let properties = entry.value.get("Properties");
        let value = |name: &str| properties.and_then(|properties| properties.get(name));
        let written = |name: &str| Some(value(name)?.range());
        let is_route = entry.value.get("Type").and_then(Node::text) == Some("HttpApi");
        let text = |name: &str| value(name).and_then(Node::text);
        // SAM refuses a Method without a Path.
        let key = route_key(text("Method"), text("Path")).unwrap_or_else(|| DEFAULT_ROUTE.to_owned());
        Self {
            name: entry.key.clone(),
            name_range: entry.key_range.clone(),
            pointer: entry.value.pointer().to_owned(),
            range: entry.range(),
            route: is_route.then(|| Route { key, written: written("Method").zip(written("Path")) }),
        }
    }
}

/// Returns the routes of all functions of the template.
pub(super) fn routes(document: &TemplateDocument) -> Vec<String> {
    document.resources().flat_map(|resource| routes_of(resource.node)).collect()
}

fn routes_of(function: &Node) -> Vec<String> {
    let events = function.get("Properties").and_then(|properties| properties.get("Events"));
    let routes = events.into_iter().flat_map(Node::members).filter_map(|entry| Event::read(entry).route);
    routes.map(|route| route.key).collect()
}

/// Refuses entries that share a line with another one, because removing the line would remove both.
fn line_by_line(template: &Template<'_>, written: &Member) -> Result<(), Faults> {
    if written.value.is_flow() && !written.value.members().is_empty() {
        let reason = format!("{} is in braces: write one entry a line, indented, and sync again", written.key);
        return Err(template.fault(written.value.pointer(), reason));
    }
    for entry in written.value.members() {
        let (text, range) = (template.text, entry.range());
        let before = &text[line_start(text, range.start)..range.start];
        let after = text[range.end..].lines().next().unwrap_or_default().trim_start();
        if !before.chars().all(|before| before == ' ') || !(after.is_empty() || after.starts_with('#')) {
            let reason = format!("{} shares a line with something else: give it lines of its own", entry.key);
            return Err(template.fault(entry.value.pointer(), reason));
        }
    }
    Ok(())
}
