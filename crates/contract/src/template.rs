//! Text with placeholders for values of a request: `github.{header.x-github-event}`.
//!
//! A placeholder is `{header.NAME}`, `{path.NAME}`, `{query.NAME}`, `{body#/json/pointer}` (`{body#}` is the whole
//! body, or the item of a batch), `{form.NAME}` (a field of a form), `{form.NAME#/json/pointer}` (a value of the JSON
//! text in that field), `{event.NAME}` (an attribute of the sender's CloudEvent), `{principal}` (the authenticated
//! caller) or `{claims#/json/pointer}` (a claim of the caller's token).
//! Several with `|` between them stand for the first that the request has: `{body#/type | form.command}`. Everything
//! else is literal. Braces have no escape: neither a literal nor a placeholder can contain `{` or `}`; nor has `|` one.
//! Rendering fails only when the request lacks a value.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sluicegate_webhook::is_header_name;

/// A parsed template; serialised as its text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ValueTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The first of these that the request has.
    Value(Vec<ValueSource>),
}

/// Where a placeholder's value comes from. Displayed as it is written, without the braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueSource {
    /// A header field, by its lower-case name.
    Header(String),
    /// A parameter of the path, decoded.
    Path(String),
    /// A parameter of the query string.
    Query(String),
    /// A JSON pointer (RFC 6901) into the body.
    Body(String),
    /// A field of a form ([`sluicegate_webhook::FORM_MEDIA_TYPE`]), decoded.
    Form {
        /// The field.
        name: String,
        /// A JSON pointer (RFC 6901) into the text of the field; `None` is the text itself.
        pointer: Option<String>,
    },
    /// An attribute of the CloudEvent that the sender made.
    Event(String),
    /// The principal of the authenticated caller.
    Principal,
    /// A JSON pointer (RFC 6901) into the claims of the caller's token.
    Claims(String),
}

/// The reason why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is empty.
    #[error("a template cannot be empty")]
    Empty,
    /// `{` without `}`, `}` without `{`, or one `{` inside another.
    #[error(
        "unbalanced braces; a placeholder is {{header.NAME}}, {{path.NAME}}, {{query.NAME}}, {{body#/pointer}}, {{form.NAME}}, {{principal}} or {{claims#/pointer}}"
    )]
    Unbalanced,
    /// A placeholder that names no known source.
    #[error(
        "unknown placeholder {{{0}}}; known are {{header.NAME}}, {{path.NAME}}, {{query.NAME}}, {{body#/pointer}}, {{form.NAME}}, {{principal}} and {{claims#/pointer}}"
    )]
    UnknownSource(String),
    /// A header name with characters that are not allowed in one.
    #[error("`{0}` is not a header name")]
    BadHeader(String),
    /// Not RFC 6901.
    #[error("`{0}` is not a JSON pointer: it is empty or starts with `/`, and `~` is followed by 0 or 1")]
    BadPointer(String),
}

/// The request has no value for this placeholder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the request has no {0}")]
pub struct Missing(pub ValueSource);

impl ValueTemplate {
    /// Fills in every placeholder with what `lookup` finds.
    ///
    /// # Errors
    /// [`Missing`] has the first source of the first placeholder for which `lookup` found nothing.
    pub fn render<'v>(&self, lookup: impl Fn(&ValueSource) -> Option<Cow<'v, str>>) -> Result<String, Missing> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(sources) => {
                    let value = sources.iter().find_map(&lookup);
                    text.push_str(&value.ok_or_else(|| Missing(sources[0].clone()))?);
                }
            }
        }
        Ok(text)
    }

    /// Returns the value's source, if the template is a single placeholder with a single source.
    #[must_use]
    pub fn as_source(&self) -> Option<&ValueSource> {
        match self.parts.as_slice() {
            [Part::Value(sources)] if sources.len() == 1 => sources.first(),
            _ => None,
        }
    }

    /// Returns the sources of each placeholder, in order. The first that the request has is used.
    pub fn placeholders(&self) -> impl Iterator<Item = &[ValueSource]> {
        self.parts.iter().filter_map(|part| match part {
            Part::Literal(_) => None,
            Part::Value(sources) => Some(sources.as_slice()),
        })
    }

    /// Returns the sources of all placeholders, in order.
    pub fn sources(&self) -> impl Iterator<Item = &ValueSource> {
        self.placeholders().flatten()
    }
}

impl FromStr for ValueTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (literal, placeholder) = rest.split_once('{').map_or((rest, None), |(l, p)| (l, Some(p)));
            if literal.contains('}') {
                return Err(TemplateError::Unbalanced);
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            let Some(placeholder) = placeholder else { break };
            let (source, after) = placeholder.split_once('}').ok_or(TemplateError::Unbalanced)?;
            if source.contains('{') {
                return Err(TemplateError::Unbalanced);
            }
            parts.push(Part::Value(source.split('|').map(|source| source.trim().parse()).collect::<Result<_, _>>()?));
            rest = after;
        }
        Ok(Self { parts })
    }
}

impl FromStr for ValueSource {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let pointer_of = |pointer: &str, source: fn(String) -> Self| match is_pointer(pointer) {
            true => Ok(source(pointer.to_owned())),
            false => Err(TemplateError::BadPointer(pointer.to_owned())),
        };
        match text.split_once('#') {
            Some(("body", pointer)) => return pointer_of(pointer, Self::Body),
            Some(("claims", pointer)) => return pointer_of(pointer, Self::Claims),
            _ if text == "principal" => return Ok(Self::Principal),
            _ => {}
        }
        match text.split_once('.') {
            Some(("header", name)) if is_header_name(name) => Ok(Self::Header(name.to_ascii_lowercase())),
            Some(("header", name)) => Err(TemplateError::BadHeader(name.to_owned())),
            Some(("path", name)) if !name.is_empty() => Ok(Self::Path(name.to_owned())),
            Some(("query", name)) if !name.is_empty() => Ok(Self::Query(name.to_owned())),
            Some(("event", name)) if is_attribute(name) => Ok(Self::Event(name.to_owned())),
            Some(("form", field)) if !field.is_empty() && !field.starts_with('#') => {
                let (name, pointer) = field.split_once('#').map_or((field, None), |(name, at)| (name, Some(at)));
                match pointer {
                    Some(pointer) if !is_pointer(pointer) => Err(TemplateError::BadPointer(pointer.to_owned())),
                    _ => Ok(Self::Form { name: name.to_owned(), pointer: pointer.map(str::to_owned) }),
                }
            }
            _ => Err(TemplateError::UnknownSource(text.to_owned())),
        }
    }
}

/// Returns whether this is the name of a CloudEvents attribute.
fn is_attribute(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Returns whether a text is a JSON pointer (RFC 6901).
pub(crate) fn is_pointer(text: &str) -> bool {
    (text.is_empty() || text.starts_with('/'))
        && text.split('~').skip(1).all(|after| after.starts_with('0') || after.starts_with('1'))
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Body(pointer) => write!(f, "body#{pointer}"),
            Self::Event(name) => write!(f, "event.{name}"),
            Self::Form { name, pointer: None } => write!(f, "form.{name}"),
            Self::Form { name, pointer: Some(pointer) } => write!(f, "form.{name}#{pointer}"),
            Self::Principal => f.write_str("principal"),
            Self::Claims(pointer) => write!(f, "claims#{pointer}"),
        }
    }
}

impl fmt::Display for ValueTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(literal) => f.write_str(literal),
            Part::Value(sources) => {
                let texts: Vec<String> = sources.iter().map(ToString::to_string).collect();
                write!(f, "{{{}}}", texts.join(" | "))
            }
        })
    }
}

impl TryFrom<String> for ValueTemplate {
    type Error = TemplateError;

    fn try_from(text: String) -> Result<Self, TemplateError> {
        text.parse()
    }
}

impl From<ValueTemplate> for String {
    fn from(template: ValueTemplate) -> Self {
        template.to_string()
    }
}
