//! The event of a Kafka mapping, and the record that Lambda keeps of a batch that is given up.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-on-failure.html>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sluicegate_queue::kafka::FetchedRecord;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::KafkaMappingSpec;

/// The event's text after the records.
pub(super) const TAIL: &str = "]}}";

/// Returns the key of a partition in events and answers.
pub(super) fn partition_key(topic: &str, partition: i32) -> String {
    format!("{topic}-{partition}")
}

/// Returns the event's text before the records of a partition.
pub(super) fn head(spec: &KafkaMappingSpec, partition: i32) -> String {
    let key = Value::from(partition_key(&spec.topic, partition));
    let source = match &spec.cluster_arn {
        Some(arn) => format!("\"eventSource\":\"aws:kafka\",\"eventSourceArn\":{}", Value::from(arn.as_str())),
        None => "\"eventSource\":\"SelfManagedKafka\"".to_owned(),
    };
    let servers = Value::from(spec.bootstrap_servers.as_str());
    format!("{{{source},\"bootstrapServers\":{servers},\"records\":{{{key}:[")
}

/// Returns one record.
pub(super) fn record(topic: &str, partition: i32, record: &FetchedRecord) -> Value {
    let encoded = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| STANDARD.encode(bytes));
    // The bytes of Java are signed.
    let signed = |bytes: &[u8]| bytes.iter().map(|byte| Value::from(byte.cast_signed())).collect::<Value>();
    let header = |(name, value): &(String, Option<Vec<u8>>)| {
        Value::Object(Map::from_iter([(name.clone(), value.as_deref().map_or(Value::Null, signed))]))
    };
    json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "timestampType": if record.is_append_time { "LOG_APPEND_TIME" } else { "CREATE_TIME" },
        "key": encoded(&record.key),
        "value": encoded(&record.value),
        "headers": record.headers.iter().map(header).collect::<Value>(),
    })
}

/// Why records are given up, as the record of it names the condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    RetryAttemptsExhausted,
    MaximumRecordAgeExceeded,
    MaximumPayloadSizeExceeded,
}

/// Returns the record of records that are given up, the first and the last of which have these offsets and times.
pub(super) fn given_up(
    spec: &KafkaMappingSpec,
    partition: i32,
    condition: Condition,
    invocations: u32,
    (first, last): ((i64, i64), (i64, i64)),
    (count, event_bytes): (usize, usize),
) -> Value {
    // Without an invocation there is no response.
    let response = (condition == Condition::RetryAttemptsExhausted)
        .then(|| json!({ "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" }));
    json!({
        "requestContext": {
            "requestId": uuid::Uuid::now_v7().to_string(),
            "functionArn": spec.function_arn,
            "condition": format!("{condition:?}"),
            "approximateInvokeCount": invocations,
        },
        "responseContext": response,
        "version": "1.0",
        "timestamp": time_text(now_ms()),
        "KafkaBatchInfo": {
            "batchSize": count,
            "eventSourceArn": spec.cluster_arn,
            "bootstrapServers": spec.bootstrap_servers,
            "payloadSize": event_bytes,
            "recordsInfo": {
                partition_key(&spec.topic, partition): {
                    "firstRecordOffset": first.0.to_string(),
                    "lastRecordOffset": last.0.to_string(),
                    "firstRecordTimestamp": time_text(first.1),
                    "lastRecordTimestamp": time_text(last.1),
                },
            },
        },
    })
}

/// Returns the time in milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

fn time_text(milliseconds: i64) -> Option<String> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()?.format(&Rfc3339).ok()
}
