//! The event of an Amazon MQ mapping.
//!
//! Records have all the fields that Lambda sends and no others; a property that the publisher did not set is null.
//! Lambda's poller is written in Java: strings in headers are `{"bytes": […]}` with signed bytes, and times have
//! Java's US format.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

/// Returns the record of one message.
pub(super) fn record(properties: &BasicProperties, redelivered: bool, data: &[u8]) -> Value {
    json!({
        "basicProperties": {
            "contentType": properties.content_type().as_ref().map(|text| text.as_str()),
            "contentEncoding": properties.content_encoding().as_ref().map(|text| text.as_str()),
            "headers": properties.headers().as_ref().map(table),
            "deliveryMode": properties.delivery_mode(),
            "priority": properties.priority(),
            "correlationId": properties.correlation_id().as_ref().map(|text| text.as_str()),
            "replyTo": properties.reply_to().as_ref().map(|text| text.as_str()),
            "expiration": properties.expiration().as_ref().map(|text| text.as_str()),
            "messageId": properties.message_id().as_ref().map(|text| text.as_str()),
            "timestamp": properties.timestamp().and_then(human_time),
            "type": properties.kind().as_ref().map(|text| text.as_str()),
            "userId": properties.user_id().as_ref().map(|text| text.as_str()),
            "appId": properties.app_id().as_ref().map(|text| text.as_str()),
            "clusterId": properties.cluster_id().as_ref().map(|text| text.as_str()),
            "bodySize": data.len(),
        },
        "redelivered": redelivered,
        "data": STANDARD.encode(data),
    })
}

/// Returns the event's text before the records of the queue.
pub(super) fn head(broker_arn: &str, queue: &str, vhost: &str) -> String {
    let (arn, key) = (Value::from(broker_arn), Value::from(format!("{queue}::{vhost}")));
    format!("{{\"eventSource\":\"aws:rmq\",\"eventSourceArn\":{arn},\"rmqMessagesByQueue\":{{{key}:[")
}

/// The event's text after the records.
pub(super) const TAIL: &str = "]}}";

fn table(table: &FieldTable) -> Value {
    let entries = table.inner().iter().map(|(name, entry)| (name.as_str().to_owned(), value(entry)));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn value(header: &AMQPValue) -> Value {
    match header {
        AMQPValue::Boolean(flag) => Value::from(*flag),
        AMQPValue::ShortShortInt(number) => Value::from(*number),
        AMQPValue::ShortShortUInt(number) => Value::from(*number),
        AMQPValue::ShortInt(number) => Value::from(*number),
        AMQPValue::ShortUInt(number) => Value::from(*number),
        AMQPValue::LongInt(number) => Value::from(*number),
        AMQPValue::LongUInt(number) => Value::from(*number),
        AMQPValue::LongLongInt(number) => Value::from(*number),
        AMQPValue::Float(number) => Value::from(*number),
        AMQPValue::Double(number) => Value::from(*number),
        AMQPValue::DecimalValue(decimal) => {
            Value::from(f64::from(decimal.value) / 10_f64.powi(i32::from(decimal.scale)))
        }
        AMQPValue::ShortString(text) => json!({ "bytes": signed(text.as_str().as_bytes()) }),
        AMQPValue::LongString(text) => json!({ "bytes": signed(text.as_bytes()) }),
        AMQPValue::ByteArray(bytes) => signed(bytes.as_slice()),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(value).collect(),
        AMQPValue::FieldTable(entries) => table(entries),
        AMQPValue::Timestamp(seconds) => human_time(*seconds).into(),
        AMQPValue::Void => Value::Null,
    }
}

fn signed(bytes: &[u8]) -> Value {
    bytes.iter().map(|byte| Value::from(byte.cast_signed())).collect()
}

/// Formats a time as `Jan 1, 1970, 12:33:41 AM`, in UTC. Returns `None` beyond the year 9999, which is the case for a
/// timestamp in milliseconds.
fn human_time(seconds: u64) -> Option<String> {
    let format = format_description!(
        "[month repr:short] [day padding:none], [year padding:none], [hour repr:12 padding:none]:[minute]:[second] [period]"
    );
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).ok()?).ok()?;
    time.format(&format).ok()
}

#[cfg(test)]
mod tests {
    use lapin::types::{DecimalValue, FieldArray};

    use super::*;

    #[test]
    fn a_message_with_every_property_matches_the_developer_guide() {
        let guide: Value = serde_json::from_str(include_str!("../../../../tests/events/rabbitmq-guide.json")).unwrap();
        let mut headers = FieldTable::default();
        headers.insert("header1".into(), AMQPValue::LongString("value1".into()));
        headers.insert("header2".into(), AMQPValue::LongString("value2".into()));
        headers.insert("numberInHeader".into(), AMQPValue::LongInt(10));
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_headers(headers)
            .with_delivery_mode(1)
            .with_priority(34)
            .with_expiration("60000".into())
            .with_timestamp(2_021)
            .with_user_id("AIDACKCEVSQ6C2EXAMPLE".into());
        let mut expected = guide["rmqMessagesByQueue"]["pizzaQueue::/"][0].clone();
        let data = STANDARD.decode(expected["data"].as_str().unwrap()).unwrap();
        // The guide's sample has a size that differs from its data.
        expected["basicProperties"]["bodySize"] = data.len().into();
        assert_eq!(record(&properties, false, &data), expected);
        let event = format!("{}{TAIL}", head("arn:b", "a\"::b", "v"));
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(
            event,
            json!({ "eventSource": "aws:rmq", "eventSourceArn": "arn:b", "rmqMessagesByQueue": { "a\"::b::v": [] } })
        );
    }

    #[test]
    fn unset_properties_are_null() {
        let record = record(&BasicProperties::default(), true, b"Order ID: 12345");
        assert_eq!((&record["redelivered"], &record["data"]), (&true.into(), &"T3JkZXIgSUQ6IDEyMzQ1".into()));
        let properties = record["basicProperties"].as_object().unwrap();
        assert_eq!(properties.len(), 15);
        let set: Vec<_> = properties.iter().filter(|(_, value)| !value.is_null()).collect();
        assert_eq!(set, [(&"bodySize".to_owned(), &Value::from(15))]);
    }

    #[test]
    fn headers_of_every_kind_have_their_form() {
        let mut death = FieldTable::default();
        death.insert("count".into(), AMQPValue::LongLongInt(3));
        death.insert("reason".into(), AMQPValue::LongString("expired".into()));
        death.insert("time".into(), AMQPValue::Timestamp(1_795_000_000));
        death.insert("routing-keys".into(), {
            AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::LongString("k".into())]))
        });
        let bytes = |text: &str| json!({ "bytes": text.as_bytes() });
        for (header, expected) in [
            (AMQPValue::Boolean(true), json!(true)),
            (AMQPValue::ShortShortInt(-1), json!(-1)),
            (AMQPValue::LongUInt(u32::MAX), json!(u32::MAX)),
            (AMQPValue::Double(1.5), json!(1.5)),
            (AMQPValue::Double(f64::NAN), json!(null)),
            (AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 275 }), json!(2.75)),
            (AMQPValue::LongString("é".into()), json!({ "bytes": [-61, -87] })),
            (AMQPValue::ByteArray(vec![1, 255].into()), json!([1, -1])),
            (AMQPValue::Timestamp(0), json!("Jan 1, 1970, 12:00:00 AM")),
            (AMQPValue::Timestamp(1_795_000_000_000), json!(null)),
            (AMQPValue::Void, json!(null)),
            (
                AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)])),
                json!([{
                    "count": 3, "reason": bytes("expired"), "time": "Nov 18, 2026, 11:06:40 AM",
                    "routing-keys": [bytes("k")],
                }]),
            ),
        ] {
            assert_eq!(value(&header), expected, "{header:?}");
        }
    }
}
