//! Header values of the Lambda event, converted back to AMQP values.
//!
//! In the event, a string is `{"bytes":[…]}` with Java's signed bytes, a table is an object, an array or byte array is
//! an array, and a time is a text. Types that the event does not distinguish become the nearest one: integers have 32
//! bits, or 64 if necessary, and decimals become doubles.

use std::collections::BTreeMap;

use serde_json::Value;
use sluicegate_queue::rabbitmq::types::{AMQPValue, FieldTable, ShortString};

use super::timestamp;
use crate::source::raw;

/// Returns the headers of an object. Names that are too long for AMQP are left out.
pub(super) fn table(members: impl IntoIterator<Item = (String, Value)>) -> FieldTable {
    let member = |(name, value)| Some((ShortString::try_new(name).ok()?, amqp(value)));
    members.into_iter().filter_map(member).collect::<BTreeMap<_, _>>().into()
}

/// Returns the AMQP value.
pub(super) fn amqp(value: Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(value),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => i32::try_from(integer).map_or(AMQPValue::LongLongInt(integer), AMQPValue::LongInt),
            None => AMQPValue::Double(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => match timestamp::unix_s(&text) {
            Some(unix_s) => AMQPValue::Timestamp(unix_s),
            None => AMQPValue::LongString(text.into()),
        },
        Value::Array(values) => AMQPValue::FieldArray(values.into_iter().map(amqp).collect::<Vec<_>>().into()),
        Value::Object(members) => match bytes(&members) {
            Some(bytes) => AMQPValue::LongString(bytes.into()),
            None => AMQPValue::FieldTable(table(members)),
        },
    }
}

/// Returns the bytes of a string.
fn bytes(members: &serde_json::Map<String, Value>) -> Option<Vec<u8>> {
    let (Some(Value::Array(bytes)), 1) = (members.get("bytes"), members.len()) else { return None };
    bytes.iter().map(|byte| byte.as_i64().and_then(raw::byte)).collect()
}

/// Returns the size of the value on the wire, in bytes.
pub(super) fn size_bytes(value: &AMQPValue) -> usize {
    let content_bytes = match value {
        AMQPValue::LongString(text) => 4 + text.len(),
        AMQPValue::FieldArray(values) => 4 + values.as_slice().iter().map(size_bytes).sum::<usize>(),
        AMQPValue::FieldTable(table) => 4 + table_bytes(table),
        // No other value that is created here is longer.
        _ => 8,
    };
    1 + content_bytes
}

/// Returns the size of the members of a table on the wire, in bytes.
pub(super) fn table_bytes(table: &FieldTable) -> usize {
    table.into_iter().map(|(name, value)| 1 + name.as_str().len() + size_bytes(value)).sum()
}
