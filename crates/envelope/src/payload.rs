//! The payload: JSON text that can stand in the event as it is, or bytes that need base64. Either way no byte changes.

use std::fmt;

use serde_json::value::{RawValue, Value};

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Written verbatim as `data`. Holds one JSON value without outer white space, other than `null`, inside the
    /// alphabet of SQS.
    Json(String),
    /// Written as `data_base64`.
    Bytes(Vec<u8>),
}

impl Payload {
    /// A payload as it arrived.
    pub(crate) fn new(content_type: &str, bytes: Vec<u8>) -> Self {
        if !is_json(content_type) {
            return Self::Bytes(bytes);
        }
        match String::from_utf8(bytes) {
            Ok(text) if is_bare_json(&text) => Self::from_json(text),
            Ok(text) => Self::Bytes(text.into_bytes()),
            Err(error) => Self::Bytes(error.into_bytes()),
        }
    }

    /// `text` is one valid JSON value without outer white space.
    pub(crate) fn from_json(text: String) -> Self {
        // `null` as `data` reads as "no payload" in many CloudEvents libraries. The two noncharacters are all that valid
        // JSON can hold and SQS refuses (InvalidMessageContents); `is_ascii` is there for speed.
        if text == "null" || !text.is_ascii() && text.contains(['\u{FFFE}', '\u{FFFF}']) {
            return Self::Bytes(text.into_bytes());
        }
        Self::Json(text)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Whether a media type declares JSON by the rule of the CloudEvents JSON format, section 3.1: its subtype is `json` or
/// ends in `+json`.
pub(crate) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii();
    let Some((_, subtype)) = media_type.split_once('/') else { return false };
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    suffix.eq_ignore_ascii_case("json")
}

/// The largest float up to which every integer has one of its own: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The document with every number that is an integer written as one. To JSON Schema `1.0` and `1e2` are integers (2020-12,
/// Validation, section 6.1.1); serde gives neither to a `u32`. `None` if there is no such number, or the payload is not JSON.
#[must_use]
pub fn with_integers(payload: &[u8]) -> Option<Value> {
    fn rewrite(value: &mut Value) -> bool {
        match value {
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| rewrite(item) | changed),
            Value::Object(members) => members.values_mut().fold(false, |changed, member| rewrite(member) | changed),
            Value::Number(number) if number.is_f64() => {
                let integer = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX);
                // Within 2^53 nothing is cut.
                #[allow(clippy::cast_possible_truncation)]
                let integer = integer.map(|float| Value::from(float as i64));
                integer.is_some_and(|integer| {
                    *value = integer;
                    true
                })
            }
            _ => false,
        }
    }
    let mut document = serde_json::from_slice(payload).ok()?;
    rewrite(&mut document).then_some(document)
}

/// Scans without recursion, so nesting of any depth is safe.
fn is_bare_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().len() == text.len())
}

/// The payload is not JSON, or does not have the shape the caller asked for. Shown and logged it tells only where, as the
/// underlying message may quote the payload; [`PayloadError::detail`] has that.
pub struct PayloadError(pub(crate) serde_json::Error);

impl PayloadError {
    /// What serde_json said. It may quote the payload: keep it out of logs and answers.
    pub fn detail(&self) -> &serde_json::Error {
        &self.0
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.0.is_data() { "has another shape than the one asked for" } else { "is not JSON" };
        write!(f, "the payload {what} (line {}, column {})", self.0.line(), self.0.column())
    }
}

impl fmt::Debug for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadError({self})")
    }
}

impl std::error::Error for PayloadError {}
