//! Headers of dead letters: `x-death` as RabbitMQ writes it, and any header as text for display.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;
use sluicegate_queue::rabbitmq::header;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An entry of `x-death`: when and why the message left a queue.
pub(super) struct Death<'a> {
    pub(super) queue: &'a str,
    pub(super) reason: &'a str,
    pub(super) at: Option<OffsetDateTime>,
}

/// Returns the header `name` if it is text.
pub(super) fn text<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a str> {
    header::get(properties, name).and_then(header::text)
}

/// Returns the header `name` if it is an integer.
pub(super) fn count(properties: &BasicProperties, name: &str) -> Option<u32> {
    header::get(properties, name).and_then(header::count)
}

/// Returns the entries of `x-death`, the latest first (<https://www.rabbitmq.com/docs/dlx#effects>).
pub(super) fn deaths(properties: &BasicProperties) -> impl Iterator<Item = Death<'_>> {
    let entries = match header::get(properties, "x-death") {
        Some(AMQPValue::FieldArray(entries)) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().filter_map(|entry| {
        let AMQPValue::FieldTable(entry) = entry else { return None };
        let member = |name| entry.inner().get(name);
        let at = match member("time") {
            Some(AMQPValue::Timestamp(unix_s)) => time(*unix_s),
            _ => None,
        };
        let reason = member("reason").and_then(header::text).unwrap_or_default();
        Some(Death { queue: member("queue").and_then(header::text)?, reason, at })
    })
}

/// Returns a time in seconds since 1970, unless it is beyond the calendar.
pub(super) fn time(unix_s: u64) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(i64::try_from(unix_s).ok()?).ok()
}

/// Returns a header for display: text unchanged, bytes as base64, tables and arrays as JSON.
pub(super) fn shown(value: &AMQPValue) -> String {
    match json(value) {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn json(value: &AMQPValue) -> Value {
    let bytes = |bytes: &[u8]| Value::from(BASE64_STANDARD.encode(bytes));
    match value {
        AMQPValue::Void => Value::Null,
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(number) => (*number).into(),
        AMQPValue::ShortShortUInt(number) => (*number).into(),
        AMQPValue::ShortInt(number) => (*number).into(),
        AMQPValue::ShortUInt(number) => (*number).into(),
        AMQPValue::LongInt(number) => (*number).into(),
        AMQPValue::LongUInt(number) => (*number).into(),
        AMQPValue::LongLongInt(number) => (*number).into(),
        AMQPValue::Float(number) => (*number).into(),
        AMQPValue::Double(number) => (*number).into(),
        AMQPValue::DecimalValue(decimal) => format!("{}e-{}", decimal.value, decimal.scale).into(),
        AMQPValue::Timestamp(unix_s) => {
            let shown = time(*unix_s).and_then(|time| time.format(&Rfc3339).ok());
            shown.map_or_else(|| (*unix_s).into(), Value::from)
        }
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => header::text(value).map_or_else(|| bytes(text.as_bytes()), Value::from),
        AMQPValue::ByteArray(array) => bytes(array.as_slice()),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => members(table).collect::<serde_json::Map<_, _>>().into(),
    }
}

fn members(table: &FieldTable) -> impl Iterator<Item = (String, Value)> {
    table.inner().iter().map(|(name, value)| (name.to_string(), json(value)))
}
