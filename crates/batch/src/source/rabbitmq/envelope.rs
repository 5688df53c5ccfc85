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

use serde_json::Value;
use sluicegate_envelope::Envelope;
use sluicegate_queue::rabbitmq::header::{self, ATTRIBUTE_PREFIXES};
use sluicegate_queue::rabbitmq::types::AMQPValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::event::EventMessage;
pub(crate) use crate::source::cloud_event::Undecodable;
use crate::source::cloud_event::{allowed, in_message, segment, sound_trace};

/// The type of a raw message without one.
const RAW_TYPE: &str = "rabbitmq.message";

/// Returns the envelope of the message, with `id` for a raw message.
pub(super) fn envelope(message: &EventMessage, id: &str) -> Result<Envelope, Undecodable> {
    let data = message.data.as_deref().map_err(|unreadable| Undecodable::Unreadable(unreadable.reason))?;
    let content_type = message.properties.content_type().as_ref().map_or("", |text| text.as_str());
    let headers = message.properties.headers().iter().flat_map(|headers| headers.inner());
    let attributes = headers.filter_map(|(name, value)| Some((attribute(name.as_str())?, json(value))));
    match in_message(content_type, attributes, data)? {
        Some(envelope) => Ok(envelope),
        None => raw(message, id, content_type, data),
    }
}

fn attribute(header: &str) -> Option<&str> {
    ATTRIBUTE_PREFIXES.iter().find_map(|prefix| header.strip_prefix(prefix))
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
    if let Some(trace) = message.header("traceparent").and_then(header::text).and_then(sound_trace) {
        builder = builder.traceparent(trace);
    }
    Ok(builder.build()?)
}
