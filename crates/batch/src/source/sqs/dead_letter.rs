//! The copy of a rejected message that goes to the dead-letter queue.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::{MessageAttributeValue, MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluicegate_queue::chain;
use sluicegate_queue::dead_letter::{REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE};
use sluicegate_queue::sqs::{MESSAGE_BYTES_MAX, body_md5, is_sendable};

use super::event::{Attribute, Record};

/// Message attributes of one message. Ours come first; of the message's own, the last in the order of names are left out.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-message-metadata.html>
const ATTRIBUTES_MAX: usize = 10;

/// Sends the copy.
///
/// # Errors
/// Why the copy is not, or perhaps not, stored; for the log.
pub(super) async fn send(
    client: &Client,
    url: &str,
    record: &Record<'_>,
    source: &str,
    reason: &str,
) -> Result<(), String> {
    let body = record.body.as_deref().filter(|body| !body.is_empty()).ok_or("the message has no body to keep")?;
    let fifo = url.ends_with(".fifo");
    // Unique for each delivery: a repeat of this very send is stored once, a later reject of the same message again.
    let deduplication = fifo.then(|| format!("{}-{}", record.message_id, record.receive_count));
    let group = record.group.as_deref().or(fifo.then_some(record.message_id.as_ref()));
    let request = client
        .send_message()
        .queue_url(url)
        .message_body(body)
        .set_message_attributes(Some(attributes(record, body, source, reason)))
        .set_message_system_attributes(trace(record))
        .set_message_group_id(group.map(str::to_owned))
        .set_message_deduplication_id(deduplication);
    let answer = request.send().await.map_err(|error| chain(&error))?;
    let stored = answer.md5_of_message_body.unwrap_or_default();
    match answer.message_id {
        Some(id) if !id.is_empty() && stored.eq_ignore_ascii_case(&body_md5(body)) => Ok(()),
        _ => Err(format!("the answer does not prove that the copy is stored (MD5 {stored:?})")),
    }
}

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
    for (name, attribute) in own {
        if kept.contains_key(&name) {
            // Left by an earlier reject, before the message was redriven.
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

/// The attribute as it is sent, and its size without the name.
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

fn trace(record: &Record<'_>) -> Option<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>> {
    let header = record.trace_header.as_deref().filter(|header| !header.is_empty())?;
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
    Some([(MessageSystemAttributeNameForSends::AwsTraceHeader, value)].into())
}

/// A reason within the length and the alphabet of an attribute, never empty.
fn shown(reason: &str) -> String {
    if reason.is_empty() {
        return "no reason given".to_owned();
    }
    let sendable = |c: char| if is_sendable(c.encode_utf8(&mut [0; 4])) { c } else { '\u{FFFD}' };
    reason.chars().take(REASON_CHARS_MAX).map(sendable).collect()
}
