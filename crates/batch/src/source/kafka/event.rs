//! The Kafka event of Lambda, read so that one record cannot make another fail.
//!
//! Every field is optional and may have any type; unknown fields are ignored. A record that cannot be read keeps the
//! reason and its remaining bytes, so that it can be dead-lettered. The invocation fails only if the records cannot be
//! distinguished.
//!
//! The format: <https://docs.aws.amazon.com/lambda/latest/dg/with-msk.html> and
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-kafka.html>. `records` has a list for each partition, under
//! `<topic>-<partition>`. Key and value are in base64, and the value of a header is a list of its bytes, which are
//! signed or not.

use std::sync::Arc;

use base64::Engine;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::record::KafkaRecord;
use crate::source::raw::{BASE64, Unreadable, byte, from_base64, object, string};

/// Values of `eventSource`: of Amazon MSK, and of a self-managed cluster in today's and in earlier documentation.
const EVENT_SOURCES: [&str; 3] = ["aws:kafka", "SelfManagedKafka", "aws:SelfManagedKafka"];

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "eventSource")]
    event_source: Option<&'a RawValue>,
    #[serde(borrow)]
    records: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    topic: Option<&'a RawValue>,
    #[serde(borrow)]
    partition: Option<&'a RawValue>,
    #[serde(borrow)]
    offset: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
}

/// A record of the batch.
#[derive(Debug)]
pub(super) struct EventRecord {
    pub(super) record: Arc<KafkaRecord>,
    /// The partition as the event names it, in which the response must name it.
    pub(super) partition_key: Arc<str>,
    /// `None` without a value.
    pub(super) value: Result<Option<Vec<u8>>, Unreadable>,
}

/// An event whose records cannot be distinguished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the Kafka event has no object records")]
    NoRecords,
    #[error("the records of {partition:?} are not a list")]
    NotAList { partition: String },
}

/// Reads the batch; `None` if the event is not from Kafka.
pub(super) fn records(event: &str) -> Option<Result<Vec<EventRecord>, EventError>> {
    let event: Event<'_> = serde_json::from_str(event).ok()?;
    let has_records = event.records.is_some_and(|raw| raw.get().starts_with('{'));
    let is_kafka = string(event.event_source).is_some_and(|source| EVENT_SOURCES.contains(&&*source));
    if !has_records && !is_kafka {
        return None;
    }
    Some(if has_records { by_partition(event.records) } else { Err(EventError::NoRecords) })
}

fn by_partition(partitions: Option<&RawValue>) -> Result<Vec<EventRecord>, EventError> {
    let mut records = Vec::new();
    for (key, list) in object(partitions) {
        let list: Option<Vec<&RawValue>> = serde_json::from_str(list.get())
            .map_err(|_| EventError::NotAList { partition: key.clone().into_owned() })?;
        let key: Arc<str> = key.into();
        records.extend(list.unwrap_or_default().into_iter().map(|raw| record(&key, raw)));
    }
    Ok(records)
}

fn record(partition_key: &Arc<str>, raw: &RawValue) -> EventRecord {
    let fields = serde_json::from_str::<Fields<'_>>(raw.get()).unwrap_or_default();
    let of_key = partition_key.rsplit_once('-');
    let topic = string(fields.topic).filter(|topic| !topic.is_empty());
    let partition = number(fields.partition).or_else(|| of_key?.1.parse().ok()).and_then(|of| i32::try_from(of).ok());
    let record = KafkaRecord {
        topic: topic.map_or_else(|| of_key.map_or(&**partition_key, |(topic, _)| topic).to_owned(), Into::into),
        partition: partition.unwrap_or(-1),
        offset: number(fields.offset).unwrap_or(-1),
        timestamp_unix_ms: number(fields.timestamp).and_then(|ms| u64::try_from(ms).ok()),
        key: fields.key.and_then(key),
        headers: headers(fields.headers),
    };
    let value = if record.offset < 0 {
        Err(Unreadable { reason: "no offset", kept: raw.get().into() })
    } else {
        let value = fields.value.filter(|raw| raw.get() != "null");
        value.map(|raw| from_base64(raw, ["value is not text", "value is not base64"])).transpose()
    };
    EventRecord { record: Arc::new(record), partition_key: Arc::clone(partition_key), value }
}

/// Returns a whole number, which may be text.
fn number(raw: Option<&RawValue>) -> Option<i64> {
    string(raw).map_or_else(|| raw?.get().parse().ok(), |text| text.parse().ok())
}

/// Returns the key, or the bytes that the event has in its place.
fn key(raw: &RawValue) -> Option<Vec<u8>> {
    if raw.get() == "null" {
        return None;
    }
    let text = string(Some(raw));
    let bytes = text.as_ref().and_then(|text| BASE64.decode(text.as_bytes()).ok());
    Some(bytes.unwrap_or_else(|| text.map_or_else(|| raw.get().into(), |text| text.into_owned().into())))
}

/// Reads the headers, a list of objects. A header that cannot be read is left out.
fn headers(raw: Option<&RawValue>) -> Vec<(String, Vec<u8>)> {
    let list: Option<Vec<&RawValue>> = raw.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let members = list.unwrap_or_default().into_iter().flat_map(|each| object(Some(each)));
    members.filter_map(|(name, value)| Some((name.into_owned(), bytes(value)?))).collect()
}

fn bytes(raw: &RawValue) -> Option<Vec<u8>> {
    let numbers: Vec<i64> = serde_json::from_str(raw.get()).ok()?;
    numbers.into_iter().map(byte).collect()
}
