//! Which messages are events, and the envelope of those that are not.
//!
//! | message | envelope |
//! |---|---|
//! | content type `application/cloudevents+json` | its body, read strictly |
//! | headers `cloudEvents:…` (or `cloudEvents_…`) | of the headers, with the body as payload, strictly (binary mode) |
//! | JSON or no content type, and the body is a CloudEvent | its body |
//! | anything else: a raw message | made here, with the body as payload |
//!
//! What says that it is a CloudEvent and is none is undecodable. The envelope of a raw message has the id of the message, its type
//! (or `rabbitmq.message`), the source `/rabbitmq/<vhost>/<queue>`, its content type and time, and the header
//! `traceparent`. A message without an id is given a new one, never one that follows from its bytes: two equal orders are two.
//!
//! The modes: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md#3-amqp-message-mapping>.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use sluicegate_envelope::Envelope;
use sluicegate_queue::rabbitmq::header::{self, ATTRIBUTE_PREFIXES};
use sluicegate_queue::rabbitmq::types::AMQPValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::event::Message;

/// The type of a raw message that names none.
const RAW_TYPE: &str = "rabbitmq.message";

/// <https://www.w3.org/TR/trace-context/#traceparent-header>
const TRACEPARENT_BYTES: usize = 55;

/// The envelope of the message; `id` is the one for a raw message.
///
/// # Errors
/// Why it is undecodable.
pub(super) fn envelope(message: &Message, id: &str) -> Result<Envelope, String> {
    let data = message.data.as_deref().map_err(|unreadable| unreadable.reason.to_owned())?;
    let content_type = message.properties.content_type().as_ref().map_or("", |text| text.as_str());
    let media_type = content_type.split(';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    if media_type == "application/cloudevents+json" {
        return decode(data);
    }
    if media_type.starts_with("application/cloudevents") {
        return Err(format!("a CloudEvent in the format {media_type} cannot be read"));
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

fn decode(data: &[u8]) -> Result<Envelope, String> {
    let text = std::str::from_utf8(data).map_err(|_| "not UTF-8")?;
    Envelope::decode(text).map_err(|error| error.to_string())
}

fn attribute(header: &str) -> Option<&str> {
    ATTRIBUTE_PREFIXES.iter().find_map(|prefix| header.strip_prefix(prefix))
}

fn is_json(media_type: &str) -> bool {
    media_type.split_once('/').is_some_and(|(_, subtype)| subtype == "json" || subtype.ends_with("+json"))
}

/// Written as JSON and read by the one reader there is, so that both modes have the same rules.
fn binary(attributes: &[(&str, &AMQPValue)], content_type: &str, data: &[u8]) -> Result<Envelope, String> {
    let mut event = Map::new();
    for &(name, value) in attributes {
        if ["data", "data_base64"].contains(&name) {
            return Err(format!("{name:?} is not the name of an attribute"));
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

/// What an attribute cannot be becomes a list, which no attribute is.
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

fn raw(message: &Message, id: &str, content_type: &str, data: &[u8]) -> Result<Envelope, String> {
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
    // It is there for tracing only: one that no event may carry is left out.
    let trace = message.header("traceparent").and_then(header::text).filter(|text| text.len() == TRACEPARENT_BYTES);
    if let Some(trace) = trace.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic())) {
        builder = builder.traceparent(trace);
    }
    builder.build().map_err(|error| error.to_string())
}

/// The text with what no attribute may hold (control characters, noncharacters) percent-encoded.
fn allowed(text: &str) -> String {
    let refused = |c: char| c.is_control() || u32::from(c) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
    encoded(text, |c| !refused(c))
}

/// One segment of a URI's path.
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
