//! The envelope of a RabbitMQ message: decoded from the event it contains, or created for a raw message.
//!
//! | message | envelope |
//! |---|---|
//! | content type `application/cloudevents+json` | its body, read strictly |
//! | headers `cloudEvents:…` (or `cloudEvents_…`) | of the headers, with the body as payload, strictly (binary mode) |
//! | JSON or no content type, and the body is a CloudEvent | its body |
//! | anything else: a raw message | created here, with the body as payload |
//!
//! A message that claims to be a CloudEvent and is not one is undecodable. The envelope of a raw message has the id of
//! the message, its type (or `rabbitmq.message`), the source `/rabbitmq/<vhost>/<queue>`, its content type and time,
//! and the header `traceparent`. A message without an id gets a new one, not one derived from its bytes: two equal
//! messages are two events.
//!
//! The modes:
//! <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md#3-amqp-message-mapping>.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sluicegate_envelope::{DecodeError, Envelope, EnvelopeBuildError};
use sluicegate_queue::rabbitmq::header::{self, ATTRIBUTE_PREFIXES};
use sluicegate_queue::rabbitmq::types::AMQPValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::event::EventMessage;

/// The type of a raw message without one.
const RAW_TYPE: &str = "rabbitmq.message";

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

/// Returns the envelope of the message, with `id` for a raw message.
pub(super) fn envelope(message: &EventMessage, id: &str) -> Result<Envelope, Undecodable> {
    let data = message.data.as_deref().map_err(|unreadable| Undecodable::Unreadable(unreadable.reason))?;
    let content_type = message.properties.content_type().as_ref().map_or("", |text| text.as_str());
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if media_type == "application/cloudevents+json" {
        return decode(data);
    }
    if media_type.starts_with("application/cloudevents") {
        return Err(Undecodable::Format(media_type));
    }
    let headers = message.properties.headers().iter().flat_map(|headers| headers.inner());
    let attributes: Vec<_> = headers.filter_map(|(name, value)| Some((attribute(name.as_str())?, value))).collect();
    if !attributes.is_empty() {
        return binary(&attributes, content_type, data);
    }
    if (media_type.is_empty() || is_json(&media_type))
        && let Ok(envelope) = decode(data)
    {
        return Ok(envelope);
    }
    raw(message, id, content_type, data)
}

fn decode(data: &[u8]) -> Result<Envelope, Undecodable> {
    let text = std::str::from_utf8(data).map_err(|_| Undecodable::NotUtf8)?;
    Ok(Envelope::decode(text)?)
}

fn attribute(header: &str) -> Option<&str> {
    ATTRIBUTE_PREFIXES.iter().find_map(|prefix| header.strip_prefix(prefix))
}

fn is_json(media_type: &str) -> bool {
    media_type.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Writes the event as JSON and decodes that, so that both modes have the same rules.
fn binary(attributes: &[(&str, &AMQPValue)], content_type: &str, data: &[u8]) -> Result<Envelope, Undecodable> {
    let mut event = Map::new();
    for &(name, value) in attributes {
        if ["data", "data_base64"].contains(&name) {
            return Err(Undecodable::AttributeName(name.to_owned()));
        }
        event.insert(name.to_owned(), json(value));
    }
    if !content_type.is_empty() {
        event.insert("datacontenttype".to_owned(), content_type.into());
    }
    if !data.is_empty() {
        event.insert("data_base64".to_owned(), STANDARD.encode(data).into());
    }
    decode(Value::Object(event).to_string().as_bytes())
}

/// Returns the value as JSON. A value of a type that attributes do not have becomes a list, which decoding refuses.
fn json(value: &AMQPValue) -> Value {
    let time = |unix_s| OffsetDateTime::from_unix_timestamp(i64::try_from(unix_s).ok()?).ok()?.format(&Rfc3339).ok();
    match *value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(value) => value.into(),
        AMQPValue::LongInt(value) => value.into(),
        AMQPValue::LongLongInt(value) => value.into(),
        AMQPValue::Timestamp(unix_s) => time(unix_s).into(),
        _ => header::text(value).map_or(Value::Array(Vec::new()), Value::from),
    }
}

fn raw(message: &EventMessage, id: &str, content_type: &str, data: &[u8]) -> Result<Envelope, Undecodable> {
    let properties = &message.properties;
    let (vhost, queue) = (message.queue.vhost.as_deref().unwrap_or("/"), &message.queue.name);
    let source = format!("/rabbitmq/{}/{}", segment(vhost), segment(queue));
    let event_type = properties.kind().as_ref().map(|text| text.as_str()).filter(|text| !text.is_empty());
    let content_type = Some(content_type).filter(|text| !text.is_empty()).map(allowed);
    let mut builder = Envelope::builder(allowed(id), source, allowed(event_type.unwrap_or(RAW_TYPE)))
        .payload(content_type.as_deref(), data);
    let time = properties.timestamp().and_then(|unix_s| i64::try_from(unix_s).ok());
    if let Some(time) = time.and_then(|unix_s| OffsetDateTime::from_unix_timestamp(unix_s).ok()) {
        builder = builder.time(time);
    }
    // An invalid trace header is left out: a tracing fault must not make the message fail.
    let trace = message.header("traceparent").and_then(header::text).filter(|text| text.len() == TRACEPARENT_BYTES);
    if let Some(trace) = trace.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic())) {
        builder = builder.traceparent(trace);
    }
    Ok(builder.build()?)
}

/// Percent-encodes the characters that an attribute may not hold: control characters and noncharacters.
fn allowed(text: &str) -> String {
    let refused = |c: char| c.is_control() || u32::from(c) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
    encoded(text, |c| !refused(c))
}

/// Encodes a segment of a URI's path.
///
/// <https://www.rfc-editor.org/rfc/rfc3986#section-3.3>
fn segment(text: &str) -> String {
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
