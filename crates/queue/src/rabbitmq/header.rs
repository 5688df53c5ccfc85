//! Headers of an AMQP message.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};

/// The prefixes of a header that holds a CloudEvents attribute. The underscore is for brokers that do not allow the
/// colon (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md>).
pub const ATTRIBUTE_PREFIXES: [&str; 2] = ["cloudEvents:", "cloudEvents_"];

/// Returns the header `name`.
#[must_use]
pub fn get<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// Returns the value if it is text in UTF-8.
#[must_use]
pub fn text(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

/// Returns the value if it is an integer, limited to the range of `u32`.
#[must_use]
pub fn count(value: &AMQPValue) -> Option<u32> {
    let number = match *value {
        AMQPValue::ShortShortInt(number) => number.into(),
        AMQPValue::ShortShortUInt(number) => number.into(),
        AMQPValue::ShortInt(number) => number.into(),
        AMQPValue::ShortUInt(number) => number.into(),
        AMQPValue::LongInt(number) => number.into(),
        AMQPValue::LongUInt(number) => number.into(),
        AMQPValue::LongLongInt(number) => number,
        _ => return None,
    };
    Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

/// Returns the count as a header value. It is signed, because every client reads that integer type.
#[must_use]
pub fn from_count(count: u32) -> AMQPValue {
    AMQPValue::LongInt(i32::try_from(count).unwrap_or(i32::MAX))
}

/// Sets the header `name`. A name that is too long for AMQP is ignored.
#[must_use]
pub fn with(properties: BasicProperties, name: &str, value: AMQPValue) -> BasicProperties {
    let Ok(name) = ShortString::try_new(name) else { return properties };
    let mut headers = properties.headers().clone().unwrap_or_default();
    headers.insert(name, value);
    properties.with_headers(headers)
}
