//! [`Span`]: an operation with its times, attributes and links.

use std::time::SystemTime;

use crate::SpanContext;

/// The most links of a span, the default of the specification (`OTEL_SPAN_LINK_COUNT_LIMIT`). Further ones are counted.
///
/// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#span-limits>
pub const LINKS_MAX: usize = 128;

/// The role of a span, with the numbers of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work within the process.
    Internal = 1,
    /// Answers a request.
    Server = 2,
    /// Makes a request.
    Client = 3,
    /// Sends messages that carry its context.
    Producer = 4,
    /// Handles a message.
    Consumer = 5,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(u64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

/// An operation that has ended. Attributes have no payload and no secret.
#[derive(Clone, Debug)]
pub struct Span {
    pub(crate) context: SpanContext,
    pub(crate) parent: Option<SpanContext>,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) started: SystemTime,
    pub(crate) ended: SystemTime,
    pub(crate) attributes: Vec<(&'static str, Value)>,
    pub(crate) links: Vec<SpanContext>,
    pub(crate) links_dropped: u32,
    pub(crate) is_error: bool,
}

impl Span {
    pub(crate) fn new(
        context: SpanContext,
        parent: Option<SpanContext>,
        name: String,
        kind: Kind,
        started: SystemTime,
    ) -> Self {
        // The wall clock may have been set back.
        let ended = SystemTime::now().max(started);
        let (attributes, links) = (Vec::new(), Vec::new());
        Self { context, parent, name, kind, started, ended, attributes, links, links_dropped: 0, is_error: false }
    }

    /// Adds an attribute. The name comes from the semantic conventions of OpenTelemetry.
    #[must_use]
    pub fn attribute(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.attributes.push((name, value.into()));
        self
    }

    /// Adds an attribute if it has a value.
    #[must_use]
    pub fn attribute_if(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.attribute(name, value),
            None => self,
        }
    }

    /// Links spans of other traces.
    #[must_use]
    pub fn links(mut self, others: impl IntoIterator<Item = SpanContext>) -> Self {
        for other in others {
            if self.links.len() < LINKS_MAX {
                self.links.push(other);
            } else {
                self.links_dropped = self.links_dropped.saturating_add(1);
            }
        }
        self
    }

    /// Returns whether the span is recorded.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.context.is_sampled()
    }

    /// Sets the status to an error, with `error.type` if there is one.
    #[must_use]
    pub fn failed(mut self, error_type: Option<&str>) -> Self {
        self.is_error |= error_type.is_some();
        self.attribute_if("error.type", error_type)
    }
}
