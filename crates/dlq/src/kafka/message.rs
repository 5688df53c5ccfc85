//! A record of Kafka as a [`DeadLetter`]: its event, its source topic and its reason.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sluicegate_queue::dead_letter::{CODE, MESSAGE_ID, REASON, RECEIVE_COUNT, REDRIVES, SOURCE};
use sluicegate_queue::kafka::{ATTRIBUTE_PREFIX, CONTENT_TYPE_HEADER, FetchedRecord};
use sluicegate_queue::queue_names::DEAD_LETTER_QUEUE_SUFFIX;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::DeadLetter;
use crate::dead_letter::NOT_RECORDED;
use crate::event::Event;

/// Returns a record of this partition of a topic as a dead letter.
pub(super) fn dead_letter(topic: &str, partition: i32, handle: u64, record: &FetchedRecord) -> DeadLetter {
    let body = record.value.clone().unwrap_or_default();
    let attribute = |name: &str| text(record, &format!("{ATTRIBUTE_PREFIX}{name}")).map(str::to_owned);
    let event = Event::read(text(record, CONTENT_TYPE_HEADER).unwrap_or_default(), attribute, &body);
    let place = format!("{topic}:{partition}:{}", record.offset);
    let of_record = || text(record, MESSAGE_ID).or_else(|| text(record, SOURCE)).map(str::to_owned);
    let moment = time(record);
    // Other programs keep the time of the record that they store here.
    let is_of_consumer = record.header(REASON).is_some();
    DeadLetter {
        handle,
        id: event.id.or_else(of_record).unwrap_or_else(|| place.clone()),
        broker_id: place,
        event_type: event.event_type,
        time: event.time.or(moment),
        dead_lettered_at: moment.filter(|_| is_of_consumer || record.is_append_time),
        reason: text(record, REASON).unwrap_or(NOT_RECORDED).to_owned(),
        code: text(record, CODE).map(str::to_owned),
        source_queue: source_topic(topic, record),
        receive_count: count(record, RECEIVE_COUNT),
        redrives: count(record, REDRIVES).unwrap_or_default(),
        group: record.key.as_deref().map(shown).or(event.group),
        body,
        pointer: None,
        attributes: attributes(record),
    }
}

/// Returns the topic that the record came from: the one that the consumer recorded, or else the one whose dead-letter
/// topic has this name.
pub(super) fn source_topic(topic: &str, record: &FetchedRecord) -> Option<String> {
    // A topic contains no colon.
    let recorded = text(record, SOURCE).and_then(|source| source.split(':').next());
    let source = recorded.or_else(|| topic.strip_suffix(DEAD_LETTER_QUEUE_SUFFIX));
    source.filter(|source| !source.is_empty()).map(str::to_owned)
}

/// Returns the last header of this name if it is text.
fn text<'r>(record: &'r FetchedRecord, name: &str) -> Option<&'r str> {
    std::str::from_utf8(record.header(name)?).ok()
}

fn count(record: &FetchedRecord, name: &str) -> Option<u32> {
    text(record, name)?.parse().ok()
}

fn time(record: &FetchedRecord) -> Option<OffsetDateTime> {
    // A record without a time has -1.
    let nanoseconds = u64::try_from(record.timestamp_ms).ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(nanoseconds) * 1_000_000).ok()
}

/// Returns every header by its name, and the key and the time as `record.NAME`.
fn attributes(record: &FetchedRecord) -> BTreeMap<String, String> {
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), shown(value.as_deref().unwrap_or_default())));
    let own = [
        ("record.key", record.key.as_deref().map(shown)),
        ("record.timestamp", time(record).and_then(|time| time.format(&Rfc3339).ok())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    headers.chain(own).collect()
}

/// Returns bytes for display: text unchanged, other bytes in base64.
fn shown(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(|_| STANDARD.encode(bytes), str::to_owned)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Returns a record at offset 7 with these headers.
    pub(in crate::kafka) fn record(headers: &[(&str, &[u8])], value: Option<&[u8]>) -> FetchedRecord {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Some(value.to_vec())));
        FetchedRecord {
            offset: 7,
            timestamp_ms: 1_700_000_000_250,
            is_append_time: false,
            key: Some(b"k".to_vec()),
            value: value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    }

    #[test]
    fn the_consumers_dead_letter_has_its_reason_its_source_and_its_time() {
        let event = br#"{"specversion":"1.0","id":"e-1","source":"/s","type":"t","time":"2026-01-01T00:00:00Z"}"#;
        let headers = [
            (CONTENT_TYPE_HEADER, &b"application/cloudevents+json"[..]),
            (REASON, b"bad card"),
            (CODE, b"card_bad"),
            (RECEIVE_COUNT, b"5"),
            (SOURCE, b"orders:1:42"),
            (REDRIVES, b"2"),
        ];
        let letter = dead_letter("other.dlq", 3, 9, &record(&headers, Some(event)));
        let facts = (letter.id.as_str(), letter.broker_id.as_str(), letter.event_type.as_deref());
        assert_eq!(facts, ("e-1", "other.dlq:3:7", Some("t")));
        assert_eq!((letter.reason.as_str(), letter.code.as_deref()), ("bad card", Some("card_bad")));
        assert_eq!((letter.source_queue.as_deref(), letter.receive_count), (Some("orders"), Some(5)));
        assert_eq!((letter.redrives, letter.group.as_deref(), letter.handle), (2, Some("k"), 9));
        let at = letter.dead_lettered_at.map(|at| at.unix_timestamp_nanos() / 1_000_000);
        assert_eq!((at, letter.time.map(|time| time.year())), (Some(1_700_000_000_250), Some(2026)));
        assert_eq!(letter.attributes["record.timestamp"], "2023-11-14T22:13:20.25Z");
    }

    #[test]
    fn a_record_of_another_program_is_shown_as_it_is() {
        let strange = record(&[("h", b"\xff"), (SOURCE, b"")], Some(b"\xff raw"));
        let letter = dead_letter("orders.dlq", 0, 0, &strange);
        assert_eq!((letter.reason.as_str(), letter.code, letter.dead_lettered_at), (NOT_RECORDED, None, None));
        assert_eq!((letter.event_type, letter.time.is_some(), letter.redrives), (None, true, 0));
        assert_eq!((letter.attributes["h"].as_str(), letter.body.as_slice()), ("/w==", &b"\xff raw"[..]));
        let tombstone = FetchedRecord { timestamp_ms: -1, key: None, ..record(&[], None) };
        let letter = dead_letter("letters", 0, 0, &tombstone);
        assert_eq!((letter.id.as_str(), letter.source_queue, letter.time), ("letters:0:7", None, None));
        assert_eq!((letter.group, letter.body.len()), (None, 0));
    }

    #[test]
    fn a_record_without_an_event_keeps_the_id_of_its_first_place() {
        let moved = record(&[(SOURCE, b"orders:1:50")], Some(b"raw"));
        assert_eq!(dead_letter("orders.dlq", 0, 0, &moved).id, "orders:1:50");
        let again = record(&[(SOURCE, b"orders:1:60"), (MESSAGE_ID, b"orders:1:50")], Some(b"raw"));
        assert_eq!(dead_letter("orders.dlq", 0, 0, &again).id, "orders:1:50");
        let binary = record(&[("ce_id", b"e-2"), ("ce_type", b"t"), (SOURCE, b"orders:1:60")], Some(b"raw"));
        assert_eq!(dead_letter("orders.dlq", 0, 0, &binary).id, "e-2");
    }
}
