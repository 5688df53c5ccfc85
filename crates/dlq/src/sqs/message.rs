//! An SQS message as a [`DeadLetter`].

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use base64::{Engine, engine::general_purpose::STANDARD};
use sluicegate_envelope::Envelope;
use sluicegate_queue::dead_letter::{CODE, REASON, RECEIVE_COUNT, REDRIVES, SOURCE};
use sluicegate_queue::sqs::{MARKERS, Pointer};
use time::OffsetDateTime;

use crate::DeadLetter;
use crate::dead_letter::NOT_RECORDED;

/// The reason for a message that SQS moved by a redrive policy, which records none. The consumer stores every other one
/// in the dead-letter queue itself.
const MOVED_BY_SQS: &str =
    "receives exhausted, no reason recorded: the function crashed, timed out or was throttled in the last one";

/// Returns the message as a dead letter.
pub(super) fn dead_letter(handle: u64, message: &Message) -> DeadLetter {
    let body = message.body.as_deref().unwrap_or_default();
    let envelope = Envelope::decode(body).ok();
    let broker_id = message.message_id.clone().unwrap_or_default();
    let moved_from = system(message, &System::DeadLetterQueueSourceArn);
    let sent_at = system(message, &System::SentTimestamp).and_then(from_ms);
    let reason = match (attribute(message, REASON), moved_from) {
        (Some(reason), None) => reason.to_owned(),
        // The recorded reason is from an earlier dead-lettering, because a consumer that records a reason stores the
        // message in the dead-letter queue itself.
        (Some(reason), Some(_)) => format!("{MOVED_BY_SQS}; before that: {reason}"),
        (None, Some(_)) => MOVED_BY_SQS.to_owned(),
        (None, None) => NOT_RECORDED.to_owned(),
    };
    DeadLetter {
        handle,
        id: envelope.as_ref().map_or_else(|| broker_id.clone(), |envelope| envelope.id().to_owned()),
        broker_id,
        event_type: envelope.as_ref().map(|envelope| envelope.event_type().to_owned()),
        time: envelope.as_ref().and_then(Envelope::time).or(sent_at),
        // A message that SQS moved keeps the time at which it was sent to its first queue.
        dead_lettered_at: sent_at.filter(|_| moved_from.is_none()),
        reason,
        code: attribute(message, CODE).filter(|_| moved_from.is_none()).map(str::to_owned),
        source_queue: attribute(message, SOURCE).or(moved_from).map(str::to_owned),
        receive_count: attribute(message, RECEIVE_COUNT).and_then(|digits| digits.parse().ok()),
        redrives: redrives(message),
        group: system(message, &System::MessageGroupId).map(str::to_owned),
        body: body.as_bytes().to_vec(),
        pointer: pointer(message),
        attributes: attributes(message),
    }
}

/// Returns the pointer of a message whose payload is in S3.
fn pointer(message: &Message) -> Option<Pointer> {
    let attributes = message.message_attributes.as_ref()?;
    let is_marked = MARKERS.iter().any(|marker| attributes.contains_key(*marker));
    is_marked.then(|| Pointer::parse(message.body.as_deref()?).ok()).flatten()
}

/// Returns how often the message was redriven before.
pub(super) fn redrives(message: &Message) -> u32 {
    attribute(message, REDRIVES).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Returns the text of a message attribute.
pub(super) fn attribute<'a>(message: &'a Message, name: &str) -> Option<&'a str> {
    message.message_attributes.as_ref()?.get(name)?.string_value.as_deref()
}

/// Returns a system attribute.
pub(super) fn system<'a>(message: &'a Message, name: &System) -> Option<&'a str> {
    message.attributes.as_ref()?.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

fn attributes(message: &Message) -> std::collections::BTreeMap<String, String> {
    let system = message.attributes.iter().flatten();
    let system = system.map(|(name, value)| (name.as_str().to_owned(), value.clone()));
    let own = message.message_attributes.iter().flatten().map(|(name, value)| (name.clone(), text(value)));
    system.chain(own).collect()
}

fn text(value: &MessageAttributeValue) -> String {
    match (&value.string_value, &value.binary_value) {
        (Some(text), _) => text.clone(),
        (None, Some(bytes)) => STANDARD.encode(bytes.as_ref()),
        (None, None) => String::new(),
    }
}

fn from_ms(digits: &str) -> Option<OffsetDateTime> {
    let ms: i128 = digits.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(ms * 1_000_000).ok()
}
