//! The events of a SAM function.

use super::{Mapping, Props, Route, Setting};

/// An event of a function.
#[derive(Debug)]
pub struct Event<'a> {
    /// Its name in the template.
    pub name: &'a str,
    /// Its properties.
    pub props: Props<'a>,
    /// Its kind, with its settings.
    pub kind: EventKind,
}

/// The kinds of events.
#[derive(Debug)]
pub enum EventKind {
    /// A route of an HTTP API.
    Route(Box<Route>),
    /// An event source mapping.
    Mapping(Box<Mapping>),
    /// Another event, with its type.
    Other(Setting<String>),
}

/// Returns the events of the function with this name, from its properties.
pub fn events<'a>(function: &str, props: Props<'a>) -> impl Iterator<Item = Event<'a>> {
    let alias = props.text("AutoPublishAlias").known();
    props.object("Events").members().map(move |(name, event)| {
        let (kind, props) = (Props(event).text("Type"), Props(event).object("Properties"));
        let known = kind.as_str().unwrap_or_default();
        let kind = match Mapping::of_event(known, function, alias.clone(), props) {
            Some(mapping) => EventKind::Mapping(Box::new(mapping)),
            None if known == "HttpApi" => EventKind::Route(Box::new(Route::read(props))),
            None => EventKind::Other(kind),
        };
        Event { name, props, kind }
    })
}
