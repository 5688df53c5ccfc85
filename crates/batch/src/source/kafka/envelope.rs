//! The envelope of a record: decoded from the event it contains, or created for a raw record.
//!
//! | record | envelope |
//! |---|---|
//! | content type `application/cloudevents+json` | its value, read strictly |
//! | headers `ce_…` | of the headers, with the value as payload, strictly (binary mode) |
//! | no value and no header `ce_…`: a tombstone | created here, without a payload |
//! | JSON or no content type, and the value is a CloudEvent | its value |
//! | anything else: a raw record | created here, with the value as payload |
//!
//! A record that claims to be a CloudEvent and is not one is undecodable.
//!
//! The modes: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>.

use serde_json::Value;
use sluicegate_envelope::Envelope;
use sluicegate_queue::kafka::{ATTRIBUTE_PREFIX, CONTENT_TYPE_HEADER};
use time::OffsetDateTime;

use super::event::EventRecord;
use crate::source::cloud_event::{Undecodable, allowed, in_message, segment, sound_trace};

/// The type of a raw record.
const RAW_TYPE: &str = "kafka.message";

/// The type of a tombstone.
pub(crate) const TOMBSTONE_TYPE: &str = "kafka.tombstone";

/// Returns whether the record marks its key as deleted: it has neither a value nor an attribute of an event.
pub(super) fn is_tombstone(message: &EventRecord) -> bool {
    matches!(message.value, Ok(None)) && attributes(message).next().is_none()
}

/// Returns the envelope of the record.
pub(super) fn envelope(message: &EventRecord) -> Result<Envelope, Undecodable> {
    let value = message.value.as_ref().map_err(|unreadable| Undecodable::Unreadable(unreadable.reason))?;
    if is_tombstone(message) {
        return created(message, TOMBSTONE_TYPE, None);
    }
    let content_type = message.record.header_text(CONTENT_TYPE_HEADER).unwrap_or_default();
    let value = value.as_deref().unwrap_or_default();
    match in_message(content_type, attributes(message), value)? {
        Some(envelope) => Ok(envelope),
        None => created(message, RAW_TYPE, Some((content_type, value))),
    }
}

/// Returns the attributes in the headers. One that is not text becomes a list, which decoding refuses.
fn attributes(message: &EventRecord) -> impl Iterator<Item = (&str, Value)> {
    message.record.headers.iter().filter_map(|(name, value)| {
        let text = std::str::from_utf8(value).map_or(Value::Array(Vec::new()), Value::from);
        Some((name.strip_prefix(ATTRIBUTE_PREFIX)?, text))
    })
}

fn created(message: &EventRecord, event_type: &str, payload: Option<(&str, &[u8])>) -> Result<Envelope, Undecodable> {
    let record = &message.record;
    let source = format!("/kafka/{}", segment(&record.topic));
    let mut builder = Envelope::builder(allowed(&record.first_place()), source, event_type);
    if let Some((content_type, value)) = payload {
        let content_type = Some(content_type).filter(|text| !text.is_empty()).map(allowed);
        builder = builder.payload(content_type.as_deref(), value);
    }
    let time = record.timestamp_unix_ms.and_then(|ms| i64::try_from(ms / 1_000).ok());
    if let Some(time) = time.and_then(|unix_s| OffsetDateTime::from_unix_timestamp(unix_s).ok()) {
        builder = builder.time(time);
    }
    if let Some(trace) = record.header_text("traceparent").and_then(sound_trace) {
        builder = builder.traceparent(trace);
    }
    Ok(builder.build()?)
}
