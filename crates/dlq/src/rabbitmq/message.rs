//! A RabbitMQ message as a [`DeadLetter`]: its event, its source queue and its reason.
//!
//! The source queue is the one that the consumer recorded (`sluicegate-source`), or else the last queue in `x-death`,
//! or else the queue whose dead-letter queue has this name.

use std::collections::BTreeMap;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, ShortString};
use sha2::{Digest, Sha256};
use sluicegate_queue::dead_letter::{CODE, REASON, RECEIVE_COUNT, REDRIVES, SOURCE};
use sluicegate_queue::queue_names::DEAD_LETTER_QUEUE_SUFFIX;
use sluicegate_queue::rabbitmq::header::{self, ATTRIBUTE_PREFIXES};

use super::display::{self, Death};
use crate::DeadLetter;
use crate::dead_letter::NOT_RECORDED;
use crate::event::Event;

/// Bytes of the digest that identifies a message without an id.
const DIGEST_BYTES: usize = 8;

/// The location of a dead letter.
#[derive(Clone, Debug)]
pub(super) struct MessageLocation {
    pub(super) queue: String,
    pub(super) vhost: String,
}

/// Returns the message as a dead letter.
pub(super) fn dead_letter(
    place: &MessageLocation,
    handle: u64,
    properties: &BasicProperties,
    body: Vec<u8>,
) -> DeadLetter {
    let event = event(properties, &body);
    let death = deaths_elsewhere(place, properties).next();
    let reason = match (display::text(properties, REASON), death.as_ref().map(words)) {
        // The consumer's copies have no `x-death`, so RabbitMQ's record is the later one.
        (Some(recorded), Some(later)) => format!("{later}; before that: {recorded}"),
        (Some(recorded), None) => recorded.to_owned(),
        (None, Some(words)) => words,
        (None, None) => NOT_RECORDED.to_owned(),
    };
    let code = display::text(properties, CODE).filter(|_| death.is_none()).map(str::to_owned);
    let own_id = || properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty());
    DeadLetter {
        handle,
        id: event.id.or_else(own_id).unwrap_or_else(|| digest(properties, &body)),
        broker_id: String::new(),
        event_type: event.event_type,
        time: event.time.or_else(|| properties.timestamp().and_then(display::time)),
        // Only RabbitMQ records the time.
        dead_lettered_at: death.and_then(|death| death.at),
        reason,
        code,
        source_queue: source_queue(place, properties).ok(),
        receive_count: display::count(properties, RECEIVE_COUNT),
        redrives: display::count(properties, REDRIVES).unwrap_or_default(),
        group: event.group,
        body,
        pointer: None,
        attributes: attributes(properties),
    }
}

/// Why the queue that a message came from is not known. The user can name one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SourceError {
    /// It is out of reach of this connection.
    #[error("it came from {queue}, which is another virtual host")]
    OtherVirtualHost {
        /// The queue and its virtual host, as the consumer wrote them.
        queue: String,
    },
    /// Neither the message nor the name of the dead-letter queue says it.
    #[error("the queue it came from is not recorded")]
    NotRecorded,
}

/// Returns the queue that the message came from.
///
/// # Errors
/// It is not known, or in another virtual host.
pub(super) fn source_queue(place: &MessageLocation, properties: &BasicProperties) -> Result<String, SourceError> {
    let MessageLocation { queue, vhost } = place;
    if let Some(source) = display::text(properties, SOURCE) {
        let ours = source.strip_suffix(vhost.as_str()).and_then(|rest| rest.strip_suffix("::"));
        return ours.map(str::to_owned).ok_or_else(|| SourceError::OtherVirtualHost { queue: source.to_owned() });
    }
    if let Some(death) = deaths_elsewhere(place, properties).next() {
        return Ok(death.queue.to_owned());
    }
    if let Some(first) = display::text(properties, "x-first-death-queue").filter(|first| first != queue) {
        return Ok(first.to_owned());
    }
    let by_name = queue.strip_suffix(DEAD_LETTER_QUEUE_SUFFIX).filter(|name| !name.is_empty());
    by_name.map(str::to_owned).ok_or(SourceError::NotRecorded)
}

/// Returns the queues that the message left before it came here.
fn deaths_elsewhere<'a>(place: &MessageLocation, properties: &'a BasicProperties) -> impl Iterator<Item = Death<'a>> {
    display::deaths(properties).filter(move |death| death.queue != place.queue)
}

/// Returns the reason in `x-death` for display (<https://www.rabbitmq.com/docs/dlx#effects>).
fn words(death: &Death<'_>) -> String {
    let queue = death.queue;
    match death.reason {
        "rejected" => format!("rejected by the consumer of {queue}"),
        "expired" => format!("expired in {queue}"),
        "maxlen" => format!("{queue} was full"),
        "delivery_limit" => format!("delivered more often than {queue} allows"),
        other => format!("{other} in {queue}"),
    }
}

/// Returns the event of a message.
fn event(properties: &BasicProperties, body: &[u8]) -> Event {
    let attribute = |name: &str| {
        let value = ATTRIBUTE_PREFIXES.iter().find_map(|prefix| header::get(properties, &format!("{prefix}{name}")))?;
        match value {
            AMQPValue::Timestamp(_) => Some(display::shown(value)),
            value => header::text(value).map(str::to_owned),
        }
    };
    Event::read(properties.content_type().as_ref().map_or("", ShortString::as_str), attribute, body)
}

/// Returns an identifier for a message without an id. It is the same on each read, and equal for identical messages.
fn digest(properties: &BasicProperties, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    // Headers that the queue updates on each delivery are left out.
    for (name, value) in attributes(properties).iter().filter(|(name, _)| !name.starts_with("x-")) {
        for part in [name, value] {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
    }
    hash.update(body);
    let hash = hash.finalize();
    hash.iter().take(DIGEST_BYTES).fold("raw-".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

/// Returns every header by its name, and every property as `property.NAME`.
fn attributes(properties: &BasicProperties) -> BTreeMap<String, String> {
    let headers = properties.headers().iter().flat_map(|headers| headers.inner());
    let headers = headers.map(|(name, value)| (name.to_string(), display::shown(value)));
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let number = |number: &Option<u8>| number.map(|number| number.to_string());
    let time = properties.timestamp().map(|unix_s| display::shown(&AMQPValue::Timestamp(unix_s)));
    let own = [
        ("content-type", text(properties.content_type())),
        ("content-encoding", text(properties.content_encoding())),
        ("delivery-mode", number(properties.delivery_mode())),
        ("priority", number(properties.priority())),
        ("correlation-id", text(properties.correlation_id())),
        ("reply-to", text(properties.reply_to())),
        ("expiration", text(properties.expiration())),
        ("message-id", text(properties.message_id())),
        ("timestamp", time),
        ("type", text(properties.kind())),
        ("user-id", text(properties.user_id())),
        ("app-id", text(properties.app_id())),
        ("cluster-id", text(properties.cluster_id())),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((format!("property.{name}"), value?)));
    headers.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use lapin::types::{FieldArray, FieldTable};

    use super::*;

    fn table(members: &[(&str, AMQPValue)]) -> FieldTable {
        let members = members.iter().map(|(name, value)| (ShortString::from(*name), value.clone()));
        members.collect::<BTreeMap<_, _>>().into()
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    fn with(headers: &[(&str, AMQPValue)]) -> BasicProperties {
        BasicProperties::default().with_headers(table(headers))
    }

    fn deaths(entries: &[(&str, &str)]) -> AMQPValue {
        let entry = |(queue, reason): &(&str, &str)| {
            let time = AMQPValue::Timestamp(1_700_000_000);
            AMQPValue::FieldTable(table(&[("queue", long(queue)), ("reason", long(reason)), ("time", time)]))
        };
        AMQPValue::FieldArray(FieldArray::from(entries.iter().map(entry).collect::<Vec<_>>()))
    }

    fn place(queue: &str) -> MessageLocation {
        MessageLocation { queue: queue.into(), vhost: "/a::b".into() }
    }

    #[test]
    fn the_source_queue_is_read_from_the_consumers_header_then_x_death_then_the_queue_name() {
        let died = deaths(&[("here.dlq", "expired"), ("orders", "delivery_limit"), ("orders.retry.1s", "expired")]);
        for (headers, expected) in [
            (vec![(SOURCE, long("a::q::/a::b")), ("x-death", died.clone())], Ok("a::q")),
            (vec![(SOURCE, long("q::/"))], Err("it came from q::/, which is another virtual host")),
            (vec![("x-death", died), ("x-first-death-queue", long("orders.retry.1s"))], Ok("orders")),
            (vec![("x-first-death-queue", long("first"))], Ok("first")),
            (vec![("x-first-death-queue", long("here.dlq"))], Ok("here")),
            (vec![("x-death", long("nonsense"))], Ok("here")),
        ] {
            let source = source_queue(&place("here.dlq"), &with(&headers));
            assert_eq!(source.map_err(|error| error.to_string()), expected.map(str::to_owned).map_err(str::to_owned));
        }
        for nameless in [".dlq", "letters"] {
            let error = source_queue(&place(nameless), &BasicProperties::default()).unwrap_err();
            assert_eq!(error, SourceError::NotRecorded, "{nameless}");
        }
    }

    #[test]
    fn the_reason_names_why_a_message_was_dead_lettered() {
        let death = deaths(&[("q", "delivery_limit")]);
        let shown = dead_letter(&place("q.dlq"), 1, &with(&[("x-death", death.clone())]), Vec::new());
        assert_eq!(shown.reason, "delivered more often than q allows");
        assert_eq!(shown.dead_lettered_at, display::time(1_700_000_000));
        let headers = [
            ("x-death", death),
            (REASON, long("bad card")),
            (CODE, long("card_bad")),
            (RECEIVE_COUNT, AMQPValue::LongInt(5)),
        ];
        let shown = dead_letter(&place("q.dlq"), 1, &with(&headers), Vec::new());
        assert_eq!(shown.reason, "delivered more often than q allows; before that: bad card");
        assert_eq!((shown.code, shown.receive_count), (None, Some(5)), "the code is that of the earlier one");
        let shown = dead_letter(&place("q.dlq"), 1, &with(&headers[1..]), Vec::new());
        assert_eq!((shown.reason.as_str(), shown.dead_lettered_at), ("bad card", None));
        assert_eq!(shown.code.as_deref(), Some("card_bad"));
        assert_eq!(dead_letter(&place("q.dlq"), 1, &with(&[]), Vec::new()).reason, NOT_RECORDED);
    }

    #[test]
    fn an_event_is_found_in_the_body_or_in_headers_and_a_raw_message_keeps_one_name() {
        let event = br#"{"specversion":"1.0","id":"e-1","source":"/s","type":"t","partitionkey":"g"}"#;
        let headers = [("cloudEvents:id", long("e-2")), ("cloudEvents:type", long("u"))];
        let structured = with(&headers).with_content_type("application/cloudevents+json; charset=utf-8".into());
        let shown =
            |properties: &BasicProperties, body: &[u8]| dead_letter(&place("q.dlq"), 1, properties, body.to_vec());
        for (properties, body, id, event_type) in [
            (&structured, &event[..], "e-1", Some("t")),
            (&structured, b"broken", "e-2", Some("u")),
            (&with(&headers), event, "e-2", Some("u")),
            (&BasicProperties::default(), event, "e-1", Some("t")),
            (&BasicProperties::default().with_message_id("m-1".into()), b"{", "m-1", None),
        ] {
            let shown = shown(properties, body);
            assert_eq!((shown.id.as_str(), shown.event_type.as_deref()), (id, event_type));
        }
        let counted = with(&[("x-delivery-count", AMQPValue::LongLongInt(7))]);
        let raw = shown(&counted, b"\xff");
        assert_eq!(raw.id, shown(&BasicProperties::default(), b"\xff").id);
        assert_ne!(raw.id, shown(&BasicProperties::default(), b"\xfe").id);
        assert_eq!(raw.attributes["x-delivery-count"], "7");
    }
}
