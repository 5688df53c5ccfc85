//! The copy of a rejected message in the dead-letter queue.

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::primitives::Blob;
use aws_sdk_sqs::types::MessageAttributeValue;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluicegate_envelope::Envelope;
use sluicegate_queue::SendError;
use sluicegate_queue::dead_letter::{
    CODE, MESSAGE_ID, OF_DEAD_LETTER, REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE,
};
use sluicegate_queue::sqs::{ATTRIBUTES_MAX, MARKERS, MESSAGE_BYTES_MAX, RawMessage, is_sendable, store};
use tokio::time::Instant;

use super::event::{Attribute, Record};
use crate::Rejection;

/// Stores the copy in the dead-letter queue at `url`.
///
/// # Errors
/// The copy is not stored, or may not be.
pub(super) async fn send(
    client: &Client,
    url: &str,
    record: &Record<'_>,
    source: &str,
    rejection: &Rejection,
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
        attributes: attributes(record, body, source, rejection),
        group: group.map(str::to_owned),
        // Unique for each delivery: a repeat of this send is stored once, and a later reject of the same message is
        // stored again.
        deduplication_id: fifo.then(|| format!("{}-{}", record.message_id, record.receive_count)),
        trace_header: record.trace_header.as_deref().map(str::to_owned),
        delay_s: None,
    };
    store(client, url, copy, deadline).await.map(drop)
}

/// Returns the message's own attributes and those that describe the dead letter. Of the latter the code comes last, and
/// the others first; own attributes that exceed the limits are left out, the last names first.
fn attributes(
    record: &Record<'_>,
    body: &str,
    source: &str,
    rejection: &Rejection,
) -> HashMap<String, MessageAttributeValue> {
    let mut copy = Attributes { bytes: body.len(), kept: HashMap::new() };
    copy.describe(REASON, "String", shown(rejection.detail()));
    copy.describe(RECEIVE_COUNT, "Number", record.receive_count.to_string());
    copy.describe(SOURCE, "String", source.to_owned());
    let (mut own, mut dropped) = record.message_attributes();
    // Those of an earlier reject stay on a message that was redriven by another program.
    own.retain(|name, _| !OF_DEAD_LETTER.contains(&name.as_str()));
    // An event that a pointer names is not known here.
    if Envelope::decode(body).is_err() {
        own.remove(MESSAGE_ID);
        copy.describe(MESSAGE_ID, "String", record.first_message_id());
    }
    let mut own: Vec<_> = own.into_iter().collect();
    // Without its marker, the body of the copy would not be read as a pointer.
    own.sort_by_key(|(name, _)| !MARKERS.contains(&name.as_str()));
    for (name, attribute) in own {
        let is_kept = value(&attribute).is_some_and(|(value, size)| copy.keep(&name, value, size));
        if !is_kept {
            dropped.push(name);
        }
    }
    copy.describe(CODE, "String", rejection.code().to_owned());
    if !dropped.is_empty() {
        tracing::warn!(broker_id = %record.message_id, ?dropped, "message attributes not copied to the dead-letter queue");
    }
    copy.kept
}

/// The attributes of a copy, within the limits of SQS.
struct Attributes {
    /// The bytes of the copy so far.
    bytes: usize,
    kept: HashMap<String, MessageAttributeValue>,
}

impl Attributes {
    /// Adds an attribute if there is room for it, and returns whether there is. `size` is that of type and value.
    fn keep(&mut self, name: &str, value: MessageAttributeValue, size: usize) -> bool {
        let bytes = self.bytes + name.len() + size;
        let has_room = self.kept.len() < ATTRIBUTES_MAX && bytes <= MESSAGE_BYTES_MAX;
        if has_room {
            self.bytes = bytes;
            self.kept.insert(name.to_owned(), value);
        }
        has_room
    }

    /// Adds an attribute that describes the dead letter, if there is room for it.
    fn describe(&mut self, name: &str, data_type: &str, text: String) {
        let size = data_type.len() + text.len();
        // Fails only without a type, which is set.
        if let Ok(value) = MessageAttributeValue::builder().data_type(data_type).string_value(text).build() {
            self.keep(name, value, size);
        }
    }
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

/// Returns the reason shortened to the limit and without characters that SQS refuses.
fn shown(reason: &str) -> String {
    let sendable = |c: char| if is_sendable(c.encode_utf8(&mut [0; 4])) { c } else { '\u{FFFD}' };
    reason.chars().take(REASON_CHARS_MAX).map(sendable).collect()
}
