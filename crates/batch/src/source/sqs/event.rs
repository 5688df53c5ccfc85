//! The SQS event of Lambda, read so that one record cannot make another fail.
//!
//! Every field is optional and may have any type; unknown fields are ignored. Only the needed fields are read, and
//! texts borrow from the event. Two faults fail the whole invocation, because Lambda would otherwise delete messages:
//! an event without `Records`, which is not from SQS, and a record without a `messageId`, which could not be reported
//! as failed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_queue::dead_letter::{MESSAGE_ID, MESSAGE_ID_CHARS_MAX};

use crate::source::adapter::ReceivedMessage;
use crate::source::raw::{object, string};

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<Fields<'a>>>,
}

/// The fields of a record, of any type.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    message_id: Option<&'a RawValue>,
    #[serde(borrow)]
    receipt_handle: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    attributes: Option<&'a RawValue>,
    #[serde(borrow)]
    message_attributes: Option<&'a RawValue>,
    #[serde(borrow, rename = "eventSourceARN")]
    event_source_arn: Option<&'a RawValue>,
}

/// A message of the batch.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) message_id: Cow<'a, str>,
    pub(super) receipt_handle: Option<Cow<'a, str>>,
    pub(super) body: Option<Cow<'a, str>>,
    pub(super) source_arn: Option<Cow<'a, str>>,
    pub(super) receive_count: u32,
    pub(super) sent_unix_ms: Option<u64>,
    pub(super) group: Option<Cow<'a, str>>,
    pub(super) trace_header: Option<Cow<'a, str>>,
    message_attributes: Option<&'a RawValue>,
}

/// A message attribute. SQS does not implement lists, which are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Attribute {
    pub(super) string_value: Option<String>,
    pub(super) binary_value: Option<String>,
    pub(super) data_type: Option<String>,
}

impl Record<'_> {
    /// Returns the message attributes that can be read, and the names of the others.
    pub(super) fn message_attributes(&self) -> (BTreeMap<String, Attribute>, Vec<String>) {
        let (mut readable, mut unreadable) = (BTreeMap::new(), Vec::new());
        for (name, raw) in object(self.message_attributes) {
            match serde_json::from_str(raw.get()) {
                Ok(attribute) => drop(readable.insert(name.into_owned(), attribute)),
                Err(_) => unreadable.push(name.into_owned()),
            }
        }
        (readable, unreadable)
    }

    /// Returns the id that the message had before it was first dead-lettered or redriven.
    pub(super) fn first_message_id(&self) -> String {
        let (mut attributes, _) = self.message_attributes();
        let first = attributes.remove(MESSAGE_ID).and_then(|attribute| attribute.string_value);
        let is_id = |text: &String| !text.is_empty() && text.chars().count() <= MESSAGE_ID_CHARS_MAX;
        first.filter(is_id).unwrap_or_else(|| self.message_id.clone().into_owned())
    }

    /// Returns whether a message attribute marks the body as a pointer to the payload.
    #[cfg(feature = "s3")]
    pub(super) fn has_pointer(&self) -> bool {
        object(self.message_attributes).any(|(name, _)| sluicegate_queue::sqs::MARKERS.contains(&name.as_ref()))
    }

    /// Returns whether the message is from a FIFO queue, whose groups are handled in order.
    pub(super) fn is_ordered(&self) -> bool {
        self.source_arn.as_deref().is_some_and(|arn| arn.ends_with(".fifo"))
    }

    /// Returns the name of the queue.
    pub(super) fn queue(&self) -> &str {
        let arn = self.source_arn.as_deref().unwrap_or_default();
        arn.rsplit(':').next().unwrap_or_default()
    }

    /// Returns the message as a [`ReceivedMessage`].
    pub(super) fn received_message(&self) -> ReceivedMessage<'_> {
        ReceivedMessage {
            id: Cow::Borrowed(&self.message_id),
            queue: self.queue(),
            receive_count: self.receive_count,
            group: self.group.as_deref().map(Cow::Borrowed),
            ordered: self.is_ordered(),
            trace_header: self.trace_header.as_deref().map(Cow::Borrowed),
        }
    }
}

/// An event whose messages cannot be reported. All of them are returned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("the event is not an SQS event")]
    NotSqs,
    #[error("the event has no Records: it is not an SQS event")]
    NoRecords,
    #[error("a record has no messageId, so it cannot be reported")]
    NoMessageId,
}

/// Reads the records of the batch.
pub(super) fn records(event: &RawValue) -> Result<Vec<Record<'_>>, ReadError> {
    let event: Event<'_> = serde_json::from_str(event.get()).map_err(|_| ReadError::NotSqs)?;
    let records = event.records.ok_or(ReadError::NoRecords)?;
    records.into_iter().map(|fields| record(fields).ok_or(ReadError::NoMessageId)).collect()
}

fn record(fields: Fields<'_>) -> Option<Record<'_>> {
    let message_id = string(fields.message_id).filter(|id| !id.is_empty())?;
    let (mut receive_count, mut sent_unix_ms, mut group, mut trace_header) = (None, None, None, None);
    for (name, value) in object(fields.attributes) {
        match name.as_ref() {
            "ApproximateReceiveCount" => receive_count = value.get().trim_matches('"').parse().ok(),
            "SentTimestamp" => sent_unix_ms = value.get().trim_matches('"').parse().ok(),
            "MessageGroupId" => group = string(Some(value)),
            "AWSTraceHeader" => trace_header = string(Some(value)),
            _ => {}
        }
    }
    Some(Record {
        message_id,
        receipt_handle: string(fields.receipt_handle),
        body: string(fields.body),
        source_arn: string(fields.event_source_arn),
        receive_count: receive_count.unwrap_or(1),
        sent_unix_ms,
        group,
        trace_header,
        // Most messages have none, which is not worth reading.
        message_attributes: fields.message_attributes.filter(|attributes| attributes.get() != "{}"),
    })
}
