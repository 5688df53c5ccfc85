//! [`Payload`]: JSON text that is written unchanged into the event, or bytes that are written as base64.

use std::fmt;

use serde_json::value::{RawValue, Value};

#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Written verbatim as `data`: one JSON value other than `null`, without outer white space, in characters that SQS
    /// accepts.
    Json(String),
    /// Written as `data_base64`.
    Bytes(Vec<u8>),
}

impl Payload {
    /// Returns the payload for the bytes that arrived.
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

    /// Returns the payload for `text`, one valid JSON value without outer white space.
    pub(crate) fn from_json(text: String) -> Self {
        // Many CloudEvents libraries read `null` as no payload. The two noncharacters are the only characters of valid
        // JSON that SQS refuses (InvalidMessageContents); `is_ascii` is a fast path.
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

/// Returns whether a media type declares JSON by the rule of the CloudEvents JSON format, section 3.1: its subtype is
/// `json` or ends in `+json`.
pub(crate) fn is_json(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii();
    let Some((_, subtype)) = media_type.split_once('/') else { return false };
    let suffix = subtype.rsplit('+').next().unwrap_or_default();
    suffix.eq_ignore_ascii_case("json")
}

/// The largest float below which floats represent every integer exactly: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Returns the document with every integer in integer notation; `None` if no number changes, or the payload is not
/// JSON. JSON Schema treats `1.0` and `1e2` as integers (2020-12, Validation, section 6.1.1); serde does not accept
/// them for a `u32`.
#[must_use]
pub fn with_integers(payload: &[u8]) -> Option<Value> {
    fn rewrite(value: &mut Value) -> bool {
        match value {
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| rewrite(item) | changed),
            Value::Object(members) => members.values_mut().fold(false, |changed, member| rewrite(member) | changed),
            Value::Number(number) if number.is_f64() => {
                let integer = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT_MAX);
                // Exact within 2^53.
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

/// Scans without recursion, so any depth of nesting is safe.
fn is_bare_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get().len() == text.len())
}

/// A payload that is not JSON, or does not have the expected shape. The text names only the place, because the
/// underlying message may quote the payload; [`PayloadError::detail`] returns that.
pub struct PayloadError(pub(crate) serde_json::Error);

impl PayloadError {
    /// Returns the error of serde_json. It may quote the payload: keep it out of logs and responses.
    pub fn detail(&self) -> &serde_json::Error {
        &self.0
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.0.is_data() { "does not have the expected shape" } else { "is not JSON" };
        write!(f, "the payload {what} (line {}, column {})", self.0.line(), self.0.column())
    }
}

impl fmt::Debug for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PayloadError({self})")
    }
}

impl std::error::Error for PayloadError {}
