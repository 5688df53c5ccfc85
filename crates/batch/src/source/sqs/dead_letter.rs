//! The copy of a rejected message in the dead-letter queue.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluicegate_queue::SendError;
use sluicegate_queue::dead_letter::{REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE};
use sluicegate_queue::sqs::{ATTRIBUTES_MAX, MARKERS, MESSAGE_BYTES_MAX, RawMessage, is_sendable, store};
use tokio::time::Instant;

use super::event::{Attribute, Record};

/// Stores the copy in the dead-letter queue at `url`.
///
/// # Errors
/// The copy is not stored, or may not be.
pub(super) async fn send(
    client: &Client,
    url: &str,
    record: &Record<'_>,
    source: &str,
    reason: &str,
    deadline: Instant,
) -> Result<(), SendError> {
    let Some(body) = record.body.as_deref().filter(|body| !body.is_empty()) else {
        let reason = "the message has no body".to_owned();
        return Err(SendError::Refused { reason, message_at_fault: true });
    };
    let fifo = url.ends_with(".fifo");
    let group = record.group.as_deref().or(fifo.then_some(record.message_id.as_ref()));
    let copy = RawMessage {
        body: body.to_owned(),
        attributes: attributes(record, body, source, reason),
        group: group.map(str::to_owned),
        // Unique for each delivery: a repeat of this send is stored once, and a later reject of the same message is
        // stored again.
        deduplication_id: fifo.then(|| format!("{}-{}", record.message_id, record.receive_count)),
        trace_header: record.trace_header.as_deref().map(str::to_owned),
        delay_s: None,
    };
    store(client, url, copy, deadline).await.map(drop)
}

/// Returns the message's own attributes and those that describe the dead letter. The latter come first; own attributes
/// that exceed the limits are left out, the last names first.
fn attributes(record: &Record<'_>, body: &str, source: &str, reason: &str) -> HashMap<String, MessageAttributeValue> {
    let receive_count = record.receive_count.to_string();
    let ours = [
        (REASON, "String", shown(reason)),
        (RECEIVE_COUNT, "Number", receive_count),
        (SOURCE, "String", source.to_owned()),
    ];
    let mut bytes = body.len();
    let mut kept = HashMap::new();
    for (name, data_type, text) in ours {
        bytes += name.len() + data_type.len() + text.len();
        if bytes <= MESSAGE_BYTES_MAX {
            let value = MessageAttributeValue::builder().data_type(data_type).string_value(text).build();
            kept.extend(value.ok().map(|value| (name.to_owned(), value)));
        }
    }
    let (own, mut dropped) = record.message_attributes();
    let mut own: Vec<_> = own.into_iter().collect();
    // Without its marker, the body of the copy would not be read as a pointer.
    own.sort_by_key(|(name, _)| !MARKERS.contains(&name.as_str()));
    for (name, attribute) in own {
        if kept.contains_key(&name) {
            // From an earlier reject, before the message was redriven.
            continue;
        }
        let (value, size) = match value(&attribute) {
            Some((value, size)) => (value, size + name.len()),
            None => {
                dropped.push(name);
                continue;
            }
        };
        if kept.len() < ATTRIBUTES_MAX && bytes + size <= MESSAGE_BYTES_MAX {
            bytes += size;
            kept.insert(name, value);
        } else {
            dropped.push(name);
        }
    }
    if !dropped.is_empty() {
        tracing::warn!(broker_id = %record.message_id, ?dropped, "message attributes not copied to the dead-letter queue");
    }
    kept
}

/// Returns the attribute as it is sent, and its size without the name.
fn value(attribute: &Attribute) -> Option<(MessageAttributeValue, usize)> {
    let data_type = attribute.data_type.as_deref()?;
    let builder = MessageAttributeValue::builder().data_type(data_type);
    let (builder, size) = match (&attribute.string_value, &attribute.binary_value) {
        (_, Some(base64)) if data_type.starts_with("Binary") => {
            let bytes = STANDARD.decode(base64).ok()?;
            let size = bytes.len();
            (builder.binary_value(Blob::new(bytes)), size)
        }
        (Some(text), _) => (builder.string_value(text), text.len()),
        _ => return None,
    };
    Some((builder.build().ok()?, size + data_type.len()))
}

/// Returns the reason shortened to the limit and without characters that SQS refuses; never empty.
fn shown(reason: &str) -> String {
    if reason.is_empty() {
        return "no reason given".to_owned();
    }
    let sendable = |c: char| if is_sendable(c.encode_utf8(&mut [0; 4])) { c } else { '\u{FFFD}' };
    reason.chars().take(REASON_CHARS_MAX).map(sendable).collect()
}
