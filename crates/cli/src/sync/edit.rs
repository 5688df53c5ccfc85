//! The smallest edits that give a template the routes of a contract.
//!
//! An event is matched by its name, which is the operation's id, else by its route. A route that moves keeps the
//! authorizer and the comments of its event, and an operation with a new id renames its event. An event that no
//! operation matches is removed. The limits of single routes (`RouteSettings`) follow, because API Gateway refuses
//! those of absent routes.

use std::{collections::BTreeMap, ops::Range};

use sluicegate_contract::{Contract, DOCUMENT_PATH, STATUS_PATH};
use sluicegate_sam::{DEFAULT_ROUTE, Faults, Member};

use super::{
    Template,
    template::{Event, Outline, Route},
};
use crate::edit::{TextEdits, line_end, line_start, scalar};

/// Longest line of an event, in columns.
const COLUMNS_MAX: usize = 120;

/// A route that the template should have.
struct Wanted {
    /// The event's name.
    name: String,
    /// Method and path; `None` is the route of every other request.
    route: Option<(String, String)>,
    /// Whether the contract determines the name.
    is_named: bool,
}

impl Wanted {
    fn key(&self) -> String {
        self.route.as_ref().map_or_else(|| DEFAULT_ROUTE.to_owned(), |(method, path)| format!("{method} {path}"))
    }
}

/// The edits of one template.
#[derive(Debug, Default)]
pub(super) struct Edits {
    edits: TextEdits,
    /// The changes, one a line.
    pub changes: Vec<String>,
}

impl Edits {
    /// Returns the edits that are needed; none if contract and template agree.
    pub(super) fn between(template: &Template<'_>, outline: &Outline, contract: &Contract) -> Result<Self, Faults> {
        let text = template.text;
        let wanted = wanted(template, outline, contract)?;
        let matched = matched(&wanted, &outline.events);
        let mut edits = Self::default();
        let mut moved = BTreeMap::new();
        for (wanted, event) in wanted.iter().zip(&matched) {
            if let Some(event) = event {
                edits.change(template, wanted, event)?;
                moved.extend(event.route.as_ref().map(|route| (route.key.clone(), wanted.key())));
            }
        }
        let known = |event: &Event| matched.iter().flatten().any(|matched| matched.name == event.name);
        for event in &outline.events {
            if let (Some(route), false) = (&event.route, known(event)) {
                edits.changes.push(format!("- {} ({})", route.key, event.name));
                edits.remove(text, &event.range);
            } else if event.route.is_none() && wanted.iter().any(|wanted| wanted.name == event.name) {
                let reason = format!("{} is an event of another kind; give it another name", event.name);
                return Err(template.fault(&event.pointer, reason));
            }
        }
        edits.add(text, outline, &wanted, &matched);
        edits.limits(template, outline.settings.as_ref(), &wanted, &moved)?;
        Ok(edits)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Returns the text with the edits applied.
    pub(super) fn apply(&self, text: &str) -> String {
        self.edits.apply(text)
    }

    fn change(&mut self, template: &Template<'_>, wanted: &Wanted, event: &Event) -> Result<(), Faults> {
        let text = template.text;
        if wanted.is_named && event.name != wanted.name {
            self.changes.push(format!("~ {} ({} becomes {})", wanted.key(), event.name, wanted.name));
            self.replace(event.name_range.clone(), wanted.name.clone());
        }
        let Some(Route { key, written }) = event.route.as_ref().filter(|route| route.key != wanted.key()) else {
            return Ok(());
        };
        let (Some((method_range, path_range)), Some((method, path))) = (written, &wanted.route) else {
            let reason = format!("{} should be {}: give it Method and Path", event.name, wanted.key());
            return Err(template.fault(&event.pointer, reason));
        };
        self.changes.push(format!("~ {key} becomes {} ({})", wanted.key(), wanted.name));
        // The case of a method is kept.
        if key.split(' ').next().is_none_or(|old| old != method) {
            self.replace(method_range.clone(), scalar(method, &text[method_range.clone()]));
        }
        self.replace(path_range.clone(), scalar(path, &text[path_range.clone()]));
        Ok(())
    }

    /// Inserts the missing events after those of the preceding operations.
    fn add(&mut self, text: &str, outline: &Outline, wanted: &[Wanted], matched: &[Option<&Event>]) {
        let column = |at: usize| at - line_start(text, at);
        let outer = column(outline.events_key.start);
        let indent = outline.events.first().map_or(outer + 2, |event| column(event.name_range.start));
        let step = indent.saturating_sub(outer).max(1);
        let mut place = line_end(text, outline.events_key.end);
        for (wanted, event) in wanted.iter().zip(matched) {
            if let Some(event) = event {
                place = line_end(text, event.range.end);
                continue;
            }
            self.changes.push(format!("+ {} ({})", wanted.key(), wanted.name));
            let mut properties = format!("ApiId: !Ref {}", outline.api);
            if let Some((method, path)) = &wanted.route {
                properties += &format!(", Method: {method}, Path: {}", scalar(path, ""));
            }
            let on_one =
                format!("{:indent$}{}: {{ Type: HttpApi, Properties: {{ {properties} }} }}\n", "", wanted.name);
            if outline.is_in_braces && on_one.len() <= COLUMNS_MAX {
                self.edits.insert_lines(text, place, &on_one);
                continue;
            }
            let inner = indent + step;
            let lines = [
                format!("{:indent$}{}:\n", "", wanted.name),
                format!("{:inner$}Type: HttpApi\n", ""),
                format!("{:inner$}Properties: {{ {properties} }}\n", ""),
            ];
            self.edits.insert_lines(text, place, &lines.concat());
        }
    }

    /// Moves the limits of single routes with their routes.
    fn limits(
        &mut self,
        template: &Template<'_>,
        settings: Option<&Member>,
        wanted: &[Wanted],
        moved: &BTreeMap<String, String>,
    ) -> Result<(), Faults> {
        let Some(settings) = settings else { return Ok(()) };
        let text = template.text;
        let limits = settings.value.members();
        let stays = |limit: &Member| moved.contains_key(&limit.key) || wanted.iter().any(|it| it.key() == limit.key);
        if !limits.is_empty() && !limits.iter().any(stays) {
            self.changes.push("- RouteSettings, of routes that are not there".to_owned());
            self.remove(text, &settings.range());
            return Ok(());
        }
        for limit in limits {
            match moved.get(&limit.key) {
                Some(key) if *key == limit.key => {}
                Some(key) => {
                    if limits.iter().any(|other| other.key == *key && moved.get(&other.key).is_none_or(|it| it == key))
                    {
                        let reason = format!("RouteSettings has {} and {key}, which are one route now", limit.key);
                        return Err(template.fault(limit.value.pointer(), reason));
                    }
                    self.changes.push(format!("~ RouteSettings: {} becomes {key}", limit.key));
                    self.replace(limit.key_range.clone(), scalar(key, &text[limit.key_range.clone()]));
                }
                None if stays(limit) => {}
                None => {
                    self.changes.push(format!("- RouteSettings: {}", limit.key));
                    self.remove(text, &limit.range());
                }
            }
        }
        Ok(())
    }

    fn replace(&mut self, range: Range<usize>, new: String) {
        self.edits.replace(range, new);
    }

    fn remove(&mut self, text: &str, range: &Range<usize>) {
        self.edits.remove_lines(text, range);
    }
}

/// Returns the contract's routes, those of the statuses and of the document itself, and the catch-all.
fn wanted(template: &Template<'_>, outline: &Outline, contract: &Contract) -> Result<Vec<Wanted>, Faults> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for operation in contract.operations() {
        let name = event_name(&operation.id);
        if name.is_empty() {
            let reason = format!("`{}` has no letter to call an event by", operation.id);
            return Err(template.fault("", reason));
        }
        if let Some(other) = wanted.iter().find(|other| other.name == name) {
            let reason =
                format!("{} and {} {} would both be called {name}", other.key(), operation.method, operation.path);
            return Err(template.fault("", reason));
        }
        let route = Some((operation.method.clone(), operation.path.clone()));
        wanted.push(Wanted { name, route, is_named: true });
    }
    let mut besides = |name: &str, route| {
        // These are identified by their route; a new one must not use the name of another event.
        let taken = |name: &str, wanted: &[Wanted]| {
            let by_events = outline.events.iter().any(|event| event.route.is_none() && event.name == name);
            by_events || wanted.iter().any(|wanted| wanted.name == name)
        };
        let mut name = name.to_owned();
        while taken(&name, &wanted) {
            name.push_str("Route");
        }
        wanted.push(Wanted { name, route, is_named: false });
    };
    if contract.has_status() {
        besides("MessageStatus", Some(("GET".to_owned(), STATUS_PATH.to_owned())));
    }
    besides("OpenApi", Some(("GET".to_owned(), DOCUMENT_PATH.to_owned())));
    // A catch-all that was removed (infra/jwt-authorizer.yaml says when) is not added again.
    let mut routes = outline.events.iter().filter_map(|event| event.route.as_ref()).peekable();
    if routes.peek().is_none() || routes.any(|route| route.key == DEFAULT_ROUTE) {
        besides("Otherwise", None);
    }
    Ok(wanted)
}

/// Returns the event of each wanted route: the one with its name and route, else with its name, else with its route.
fn matched<'e>(wanted: &[Wanted], events: &'e [Event]) -> Vec<Option<&'e Event>> {
    let mut matched: Vec<Option<&Event>> = vec![None; wanted.len()];
    let passes: [fn(&Wanted, &Event, &Route) -> bool; 3] = [
        |wanted, event, route| wanted.name == event.name && wanted.key() == route.key,
        |wanted, event, _| wanted.is_named && wanted.name == event.name,
        |wanted, _, route| wanted.key() == route.key,
    ];
    for fits in passes {
        for (index, wanted) in wanted.iter().enumerate() {
            let is_free = |event: &Event| !matched.iter().flatten().any(|taken| taken.name == event.name);
            if matched[index].is_none() {
                let fit = |event: &&Event| event.route.as_ref().is_some_and(|route| fits(wanted, event, route));
                matched[index] = events.iter().filter(|event| is_free(event)).find(fit);
            }
        }
    }
    matched
}

/// Returns the event name for an operation id, `PlaceOrder` for `placeOrder` and `place-order`: SAM makes logical ids
/// of event names, which take letters and digits.
fn event_name(operation_id: &str) -> String {
    let words = operation_id.split(|letter: char| !letter.is_ascii_alphanumeric());
    words
        .flat_map(|word| word.chars().take(1).map(|first| first.to_ascii_uppercase()).chain(word.chars().skip(1)))
        .collect()
}
