//! [`Condition`]: a condition on a member of the payload or on an attribute.

use std::{borrow::Cow, cell::LazyCell, collections::BTreeMap, str::FromStr};

use serde_json::Value;
use sluicegate_envelope::Envelope;

use super::{FilterError, Pattern};

/// `/json/pointer=VALUE` or `/json/pointer~REGEX` on the payload; `name=VALUE` or `name~REGEX` on an attribute of the
/// envelope, or else on one that the broker stores beside the body.
///
/// VALUE is JSON or text: `/total=5` is the number 5 and the text "5", `/total="5"` the text only. `~0` and `~1` in a
/// pointer are escapes, so a regular expression that begins with 0 or 1 is written `~(?:1…)`.
#[derive(Clone, Debug)]
pub struct Condition {
    place: Place,
    test: Test,
}

#[derive(Clone, Debug)]
enum Place {
    Payload(String),
    Attribute(String),
}

#[derive(Clone, Debug)]
enum Test {
    Equals { text: String, json: Option<Value> },
    Matches(Pattern),
}

/// The parts of a message that conditions examine.
pub(super) struct Content<'a, F> {
    pub(super) payload: LazyCell<Option<Value>, F>,
    pub(super) envelope: Option<&'a Envelope>,
    pub(super) attributes: &'a BTreeMap<String, String>,
}

impl Condition {
    pub(super) fn holds<F: FnOnce() -> Option<Value>>(&self, content: &Content<'_, F>) -> bool {
        match &self.place {
            Place::Payload(pointer) => {
                let found = (*content.payload).as_ref().and_then(|payload| payload.pointer(pointer));
                found.is_some_and(|value| self.test.json(value))
            }
            Place::Attribute(name) => {
                let own = content
                    .envelope
                    .and_then(|envelope| envelope.attributes().find(|(each, _)| each == name).map(|(_, value)| value));
                let found = own.or_else(|| content.attributes.get(name).map(|text| Cow::Borrowed(text.as_str())));
                found.is_some_and(|text| self.test.text(&text))
            }
        }
    }
}

impl Test {
    fn json(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Equals { text, json }, Value::String(value)) => {
                value == text || json.as_ref().is_some_and(|json| json.as_str() == Some(value))
            }
            (Self::Equals { json, .. }, value) => json.as_ref() == Some(value),
            (Self::Matches(_), Value::String(value)) => self.text(value),
            (Self::Matches(_), value) => self.text(&value.to_string()),
        }
    }

    fn text(&self, value: &str) -> bool {
        match self {
            Self::Equals { text, .. } => value == text,
            Self::Matches(pattern) => pattern.is_in(value.as_bytes()),
        }
    }
}

impl FromStr for Condition {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let wrong =
            || FilterError("expected /json/pointer=VALUE, /json/pointer~REGEX, name=VALUE or name~REGEX".into());
        let at = operator(text).filter(|at| *at > 0).ok_or_else(wrong)?;
        let (place, rest) = text.split_at(at);
        let place =
            if place.starts_with('/') { Place::Payload(place.to_owned()) } else { Place::Attribute(place.to_owned()) };
        let test = match rest.strip_prefix('=') {
            Some(value) => Test::Equals { text: value.to_owned(), json: serde_json::from_str(value).ok() },
            None => Test::Matches(rest.strip_prefix('~').unwrap_or_default().parse()?),
        };
        Ok(Self { place, test })
    }
}

/// Returns the index of the first `=`, or of a `~` that is not an escape of a JSON pointer (RFC 6901, section 3).
fn operator(text: &str) -> Option<usize> {
    text.char_indices().find_map(|(at, c)| {
        let escapes = || text.starts_with('/') && text[at + 1..].starts_with(['0', '1']);
        (c == '=' || c == '~' && !escapes()).then_some(at)
    })
}
