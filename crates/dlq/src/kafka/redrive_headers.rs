//! The headers of a dead letter that is redriven.
//!
//! A redriven record starts again: the headers of the consumer about the failure are removed, and [`REDRIVES`] is
//! incremented. One that is not an event keeps the id that its first place gave it, in [`MESSAGE_ID`].

use sluicegate_envelope::Envelope;
use sluicegate_queue::dead_letter::{MESSAGE_ID, OF_DEAD_LETTER, REDRIVES};
use sluicegate_queue::kafka::{ATTRIBUTE_PREFIX, CONTENT_TYPE_HEADER, FetchedRecord, event_headers};

use crate::DeadLetter;
use crate::event::is_structured;

/// The headers of a trace, which are attributes of an event too.
const OF_TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// The headers of a record: names and values.
pub(super) type Headers = Vec<(String, Option<Vec<u8>>)>;

/// Returns the headers for a redrive of `record`, which is `letter`; `edited` is its body if that was edited.
pub(super) fn headers(record: &FetchedRecord, letter: &DeadLetter, edited: Option<&[u8]>) -> Headers {
    let own = |name: &str| !OF_DEAD_LETTER.contains(&name) && name != REDRIVES;
    let mut headers: Headers = record.headers.iter().filter(|(name, _)| own(name)).cloned().collect();
    if let Some(envelope) = edited.and_then(|body| edited_event(record, body)) {
        let is_of_event =
            |name: &str| name.starts_with(ATTRIBUTE_PREFIX) || name == CONTENT_TYPE_HEADER || OF_TRACE.contains(&name);
        headers.retain(|(name, _)| !is_of_event(name));
        headers.extend(event_headers(&envelope).into_iter().map(|(name, value)| (name, Some(value.into_bytes()))));
    }
    if letter.event_type.is_none() {
        headers.retain(|(name, _)| name != MESSAGE_ID);
        // Another body is another message.
        if edited.is_none() {
            headers.push((MESSAGE_ID.to_owned(), Some(letter.id.clone().into_bytes())));
        }
    }
    let redrives = letter.redrives.saturating_add(1).to_string();
    headers.push((REDRIVES.to_owned(), Some(redrives.into_bytes())));
    headers
}

/// Returns the event of an edited body, if the headers of the record repeat its attributes.
fn edited_event(record: &FetchedRecord, body: &[u8]) -> Option<Envelope> {
    let content_type = std::str::from_utf8(record.header(CONTENT_TYPE_HEADER)?).ok()?;
    let body = std::str::from_utf8(body).ok().filter(|_| is_structured(content_type))?;
    Envelope::decode(body).ok()
}

#[cfg(test)]
mod tests {
    use sluicegate_queue::dead_letter::{CODE, REASON, RECEIVE_COUNT, SOURCE};

    use super::super::message::{dead_letter, tests::record};
    use super::*;

    fn check(own: &[(&str, &[u8])], body: &[u8], edited: Option<&[u8]>, expected: &[(&str, &[u8])]) {
        let record = record(own, Some(body));
        let headers = headers(&record, &dead_letter("q.dlq", 0, 0, &record), edited);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref().unwrap())).collect();
        assert_eq!(headers, expected);
    }

    #[test]
    fn dead_letter_headers_are_removed_and_redrives_count_up() {
        let event = br#"{"specversion":"1.0","id":"e-1","source":"/s","type":"t"}"#;
        let failed: [(&str, &[u8]); 4] =
            [(REASON, b"bad"), (CODE, b"bad"), (RECEIVE_COUNT, b"5"), (SOURCE, b"orders:0:1")];
        check(&failed, event, None, &[(REDRIVES, b"1")]);
        let own: [(&str, &[u8]); 2] = [("h", b"1"), ("h", b"\xff")];
        check(
            &[&own[..1], &failed, &[(REDRIVES, b"2")], &own[1..]].concat(),
            event,
            None,
            &[&own[..], &[(REDRIVES, b"3")]].concat(),
        );
    }

    #[test]
    fn a_record_that_is_not_an_event_has_the_id_of_its_first_place_until_it_is_edited() {
        let first: (&str, &[u8]) = (MESSAGE_ID, b"orders:0:1");
        check(&[(SOURCE, b"orders:0:1")], b"raw", None, &[first, (REDRIVES, b"1")]);
        check(&[(SOURCE, b"orders:0:9"), first], b"raw", None, &[first, (REDRIVES, b"1")]);
        check(&[(SOURCE, b"orders:0:9"), first], b"raw", Some(b"other"), &[(REDRIVES, b"1")]);
        check(&[], b"raw", None, &[(MESSAGE_ID, b"q.dlq:0:7"), (REDRIVES, b"1")]);
    }

    #[test]
    fn the_headers_of_an_edited_event_are_those_of_its_attributes() {
        let old = br#"{"specversion":"1.0","id":"e-1","source":"/s","type":"t","gone":"x"}"#;
        let new = br#"{"specversion":"1.0","id":"e-1","source":"/s","type":"u"}"#;
        let structured: (&str, &[u8]) = (CONTENT_TYPE_HEADER, b"application/cloudevents+json; charset=UTF-8");
        let of_old: [(&str, &[u8]); 4] = [structured, ("ce_type", b"t"), ("ce_gone", b"x"), ("own", b"1")];
        let expected: [(&str, &[u8]); 7] = [
            ("own", b"1"),
            structured,
            ("ce_specversion", b"1.0"),
            ("ce_id", b"e-1"),
            ("ce_source", b"/s"),
            ("ce_type", b"u"),
            (REDRIVES, b"1"),
        ];
        check(&of_old, old, Some(new), &expected);
        check(&of_old, old, None, &[&of_old[..], &[(REDRIVES, b"1")]].concat());
        // In binary mode the attributes are in the headers alone, and the body is the payload.
        let binary: [(&str, &[u8]); 3] =
            [(CONTENT_TYPE_HEADER, b"application/json"), ("ce_id", b"1"), ("ce_type", b"t")];
        check(&binary, b"{}", Some(new), &[&binary[..], &[(REDRIVES, b"1")]].concat());
    }
}
