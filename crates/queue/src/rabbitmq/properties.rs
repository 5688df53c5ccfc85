//! AMQP properties of an envelope: the CloudEvents attributes as headers beside the structured body, so that consumers
//! and exchanges can route without parsing it.
//!
//! The body is the event as JSON (structured mode). Each context attribute is a header too, under `cloudEvents:`, as
//! the AMQP binding names them
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>).

use std::time::{SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sluicegate_envelope::Envelope;

use super::header::ATTRIBUTE_PREFIXES;
use super::republish::PERSISTENT;

/// The media type of the body.
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The `app-id` of every message.
const APP_ID: &str = "sluicegate";

/// The longest AMQP short string, in bytes (AMQP 0-9-1, section 4.2.5.3).
pub(crate) const SHORT_BYTES_MAX: usize = 255;

/// Returns the properties of an envelope. A value that is too long for a short string is left out of the properties;
/// the headers and the body contain it.
pub(crate) fn of(envelope: &Envelope) -> BasicProperties {
    let sent_at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs());
    let seconds = envelope.time().and_then(|time| u64::try_from(time.unix_timestamp()).ok()).unwrap_or(sent_at);
    let correlation = envelope.traceparent().and_then(trace_id).unwrap_or(envelope.id());
    let mut properties = BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_headers(headers(envelope))
        .with_delivery_mode(PERSISTENT)
        .with_priority(0)
        .with_timestamp(seconds)
        .with_app_id(APP_ID.into());
    if envelope.id().len() <= SHORT_BYTES_MAX {
        properties = properties.with_message_id(envelope.id().into());
    }
    if correlation.len() <= SHORT_BYTES_MAX {
        properties = properties.with_correlation_id(correlation.into());
    }
    if envelope.event_type().len() <= SHORT_BYTES_MAX {
        properties = properties.with_type(envelope.event_type().into());
    }
    properties
}

/// The frames of a connection that carries events only, in bytes. The properties of one fit into a frame; bodies are
/// split.
pub(super) const EVENT_FRAME_BYTES: u32 = 16_384;

/// Longest headers of an event together, in bytes: three quarters of a frame, because the other properties have less
/// than 1 KiB. Attributes beyond that are in the body only. Those from the headers of a request fit, because API
/// Gateway accepts 10 KiB of them
/// (<https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>).
const HEADERS_BYTES_MAX: usize = 12_288;

/// The bytes of a header beside its name and its text: the lengths of both and the type of the value (AMQP 0-9-1,
/// section 4.2.5.5).
const HEADER_OVERHEAD: usize = 6;

/// The prefix that is written. Consumers read both prefixes.
const ATTRIBUTE_PREFIX: &str = ATTRIBUTE_PREFIXES[0];

fn headers(envelope: &Envelope) -> FieldTable {
    let mut headers = FieldTable::default();
    let mut left = HEADERS_BYTES_MAX;
    let mut insert = |name: &str, value: &str| {
        if let Some(rest) = left.checked_sub(name.len() + value.len() + HEADER_OVERHEAD) {
            left = rest;
            headers.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    };
    for (name, value) in [("traceparent", envelope.traceparent()), ("tracestate", envelope.tracestate())] {
        if let Some(value) = value {
            insert(name, value);
        }
    }
    for (name, value) in envelope.attributes() {
        insert(&format!("{ATTRIBUTE_PREFIX}{name}"), &value);
    }
    headers
}

/// Returns the trace id of a `traceparent`, the second of its four fields.
fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1).filter(|id| id.len() == 32)
}
