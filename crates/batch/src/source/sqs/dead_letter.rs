//! [`DeadLetter`]: the copy of a rejected message in the dead-letter queue.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluicegate_envelope::Envelope;
use sluicegate_queue::SendError;
use sluicegate_queue::dead_letter::{
    CODE, MESSAGE_ID, OF_DEAD_LETTER, REASON, REASON_CHARS_MAX, RECEIVE_COUNT, SOURCE,
};
use sluicegate_queue::sqs::{
    ATTRIBUTES_MAX, AttributeValue, MARKERS, MESSAGE_BYTES_MAX, STATUS_ID, SendMessage, SqsClient, SystemAttributes,
    is_sendable,
};
use tokio::time::Instant;

use super::event::{Attribute, Record};
use crate::Rejection;

/// A rejected message.
pub(super) struct DeadLetter<'a> {
    /// The URL of the dead-letter queue.
    pub(super) url: &'a str,
    pub(super) record: &'a Record<'a>,
    /// The ARN of the queue that it was received from.
    pub(super) source: &'a str,
    pub(super) rejection: &'a Rejection,
}

impl DeadLetter<'_> {
    /// Stores the copy. `trace_header` is that of the call; the copy has that of the message.
    ///
    /// # Errors
    /// The copy is not stored, or may not be.
    pub(super) async fn send(
        &self,
        client: &SqsClient,
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Result<(), SendError> {
        let Self { url, record, .. } = *self;
        let Some(body) = record.body.as_deref().filter(|body| !body.is_empty()) else {
            let reason = "the message has no body".to_owned();
            return Err(SendError::Refused { reason, message_at_fault: true });
        };
        let fifo = url.ends_with(".fifo");
        // Unique for each delivery: a repeat of this send is stored once, and a later reject of the same message is
        // stored again.
        let deduplication_id = fifo.then(|| format!("{}-{}", record.message_id, record.receive_count));
        let attributes = self.attributes(body);
        let attributes: Vec<_> =
            attributes.iter().filter_map(|(name, attribute)| Some((name.as_str(), value(attribute)?))).collect();
        let copy = SendMessage {
            queue_url: url,
            message_body: body,
            delay_seconds: None,
            message_group_id: record.group.as_deref().or(fifo.then_some(record.message_id.as_ref())),
            message_deduplication_id: deduplication_id.as_deref(),
            message_system_attributes: record.trace_header.as_deref().and_then(SystemAttributes::trace),
            message_attributes: &attributes,
        };
        client.send(&copy, trace_header, deadline).await.map(drop)
    }

    /// Returns the message's own attributes and those that describe the dead letter. Of the latter the code comes last,
    /// and the others first; own attributes that exceed the limits are left out, the last names first.
    fn attributes(&self, body: &str) -> Vec<(String, Attribute)> {
        let Self { record, source, rejection, .. } = *self;
        let mut copy = Attributes { bytes: body.len(), kept: Vec::new() };
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
        // Without its marker, the body of the copy would not be read as a pointer; then comes what its status needs.
        own.sort_by_key(|(name, _)| (!MARKERS.contains(&name.as_str()), name != STATUS_ID));
        for (name, attribute) in own {
            if let Err(name) = copy.keep(name, attribute) {
                dropped.push(name);
            }
        }
        copy.describe(CODE, "String", rejection.code().to_owned());
        if !dropped.is_empty() {
            tracing::warn!(broker_id = %record.message_id, ?dropped, "message attributes not copied to the dead-letter queue");
        }
        copy.kept
    }
}

/// The attributes of a copy, within the limits of SQS.
struct Attributes {
    /// The bytes of the copy so far.
    bytes: usize,
    kept: Vec<(String, Attribute)>,
}

impl Attributes {
    /// Adds an attribute.
    ///
    /// # Errors
    /// Its name, if SQS would refuse it, or if there is no room for it.
    fn keep(&mut self, name: String, attribute: Attribute) -> Result<(), String> {
        let Some(size) = size(&attribute) else { return Err(name) };
        let bytes = self.bytes + name.len() + size;
        if self.kept.len() >= ATTRIBUTES_MAX || bytes > MESSAGE_BYTES_MAX {
            return Err(name);
        }
        self.bytes = bytes;
        self.kept.push((name, attribute));
        Ok(())
    }

    /// Adds an attribute that describes the dead letter, if there is room for it.
    fn describe(&mut self, name: &str, data_type: &str, text: String) {
        let data_type = Some(data_type.to_owned());
        let _ = self.keep(name.to_owned(), Attribute { string_value: Some(text), binary_value: None, data_type });
    }
}

/// Returns the attribute as it is sent.
fn value(attribute: &Attribute) -> Option<AttributeValue<'_>> {
    let data_type = attribute.data_type.as_deref()?;
    match (attribute.string_value.as_deref(), attribute.binary_value.as_deref()) {
        (_, Some(binary_value)) if data_type.starts_with("Binary") => {
            Some(AttributeValue::Binary { data_type, binary_value })
        }
        (Some(string_value), _) => Some(AttributeValue::Text { data_type, string_value }),
        _ => None,
    }
}

/// Returns the bytes of an attribute that count towards the size of a message, without those of its name.
fn size(attribute: &Attribute) -> Option<usize> {
    Some(match value(attribute)? {
        AttributeValue::Text { data_type, string_value } => data_type.len() + string_value.len(),
        AttributeValue::Binary { data_type, binary_value } => {
            data_type.len() + STANDARD.decode(binary_value).ok()?.len()
        }
    })
}

/// Returns the reason shortened to the limit and without characters that SQS refuses.
fn shown(reason: &str) -> String {
    let sendable = |c: char| if is_sendable(c.encode_utf8(&mut [0; 4])) { c } else { '\u{FFFD}' };
    reason.chars().take(REASON_CHARS_MAX).map(sendable).collect()
}
