//! CloudEvents in messages with headers, and the parts of an envelope that is created for a raw message.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sluicegate_envelope::{DecodeError, Envelope, EnvelopeBuildError};

/// <https://www.w3.org/TR/trace-context/#traceparent-header>
const TRACEPARENT_BYTES: usize = 55;

/// A message that is not an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Undecodable {
    #[error("{0}")]
    Unreadable(&'static str),
    #[error("not UTF-8")]
    NotUtf8,
    #[error("a CloudEvent in the format {0} cannot be read")]
    Format(String),
    #[error("{0:?} is not the name of an attribute")]
    AttributeName(String),
    #[error(transparent)]
    Event(#[from] DecodeError),
    #[error(transparent)]
    Raw(#[from] EnvelopeBuildError),
}

/// Returns the event in a message with these attributes in its headers; `None` for a raw message.
///
/// A message of a media type of CloudEvents, or with an attribute, claims to be one and is read strictly. Any other is
/// one if its content is JSON, or of no media type, and can be read.
pub(crate) fn in_message<'a>(
    content_type: &str,
    attributes: impl Iterator<Item = (&'a str, Value)>,
    data: &[u8],
) -> Result<Option<Envelope>, Undecodable> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if media_type == "application/cloudevents+json" {
        return decode(data).map(Some);
    }
    if media_type.starts_with("application/cloudevents") {
        return Err(Undecodable::Format(media_type));
    }
    let mut attributes = attributes.peekable();
    if attributes.peek().is_some() {
        return binary(attributes, content_type, data).map(Some);
    }
    let may_be_event = media_type.is_empty() || is_json(&media_type);
    Ok(may_be_event.then(|| decode(data).ok()).flatten())
}

fn decode(data: &[u8]) -> Result<Envelope, Undecodable> {
    let text = std::str::from_utf8(data).map_err(|_| Undecodable::NotUtf8)?;
    Ok(Envelope::decode(text)?)
}

fn is_json(media_type: &str) -> bool {
    media_type.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Writes the event as JSON and decodes that, so that both modes have the same rules.
fn binary<'a>(
    attributes: impl Iterator<Item = (&'a str, Value)>,
    content_type: &str,
    data: &[u8],
) -> Result<Envelope, Undecodable> {
    let mut event = Map::new();
    for (name, value) in attributes {
        if ["data", "data_base64"].contains(&name) {
            return Err(Undecodable::AttributeName(name.to_owned()));
        }
        event.insert(name.to_owned(), value);
    }
    if !content_type.is_empty() {
        event.insert("datacontenttype".to_owned(), content_type.into());
    }
    if !data.is_empty() {
        event.insert("data_base64".to_owned(), STANDARD.encode(data).into());
    }
    decode(Value::Object(event).to_string().as_bytes())
}

/// Returns a trace header if it is sound: a tracing fault must not make the message fail.
pub(crate) fn sound_trace(text: &str) -> Option<&str> {
    Some(text).filter(|text| text.len() == TRACEPARENT_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Percent-encodes the characters that an attribute may not hold: control characters and noncharacters.
pub(crate) fn allowed(text: &str) -> String {
    let refused = |c: char| c.is_control() || u32::from(c) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
    encoded(text, |c| !refused(c))
}

/// Encodes a segment of a URI's path.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>
pub(crate) fn segment(text: &str) -> String {
    encoded(text, |c| c.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(c))
}

fn encoded(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if stays(c) {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}
