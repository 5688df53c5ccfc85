//! The SQS event of Lambda, read so that one record cannot make another fail.
//!
//! Every field is optional and may have any type; unknown fields are ignored. Only the needed fields are read, and
//! texts borrow from the event. Two faults fail the whole invocation, because Lambda would otherwise delete messages:
//! an event without `Records`, which is not from SQS, and a record without a `messageId`, which could not be reported
//! as failed.
//!
//! An event is read in one pass if each field has the type that SQS gives it. Any other event, such as one whose body
//! has half a surrogate pair, is read once more, with each field as JSON that is parsed by itself.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_queue::dead_letter::{MESSAGE_ID, MESSAGE_ID_CHARS_MAX};

use crate::source::adapter::ReceivedMessage;
use crate::source::raw::{object, string};

/// An event whose records have texts of type `T` and attributes of type `A`.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>, A: Deserialize<'de>"))]
struct Event<'a, T, A> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<Fields<'a, T, A>>>,
}

/// The fields of a record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "T: Deserialize<'de>, A: Deserialize<'de>"))]
struct Fields<'a, T, A> {
    message_id: Option<T>,
    receipt_handle: Option<T>,
    body: Option<T>,
    attributes: Option<A>,
    #[serde(borrow)]
    message_attributes: Option<&'a RawValue>,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: Option<T>,
}

/// A text. `Option<Cow<str>>` alone would not borrow.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// The attributes of a record.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attributes<'a> {
    #[serde(borrow)]
    approximate_receive_count: Option<Text<'a>>,
    #[serde(borrow)]
    sent_timestamp: Option<Text<'a>>,
    #[serde(borrow)]
    message_group_id: Option<Text<'a>>,
    #[serde(borrow, rename = "AWSTraceHeader")]
    trace_header: Option<Text<'a>>,
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

    /// Returns the id of the event, if the message is a pointer to it and it has a status.
    #[cfg(feature = "s3")]
    pub(super) fn status_id(&self) -> Option<String> {
        let (mut attributes, _) = self.message_attributes();
        attributes.remove(sluicegate_queue::sqs::STATUS_ID).filter(|_| self.has_pointer())?.string_value
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
pub(super) fn records(event: &str) -> Result<Vec<Record<'_>>, ReadError> {
    let as_written = || read(event, |Text(text)| Some(text), |attributes| attributes);
    let of_any_type = |_| read(event, |text| string(Some(text)), attributes);
    as_written().or_else(of_any_type).map_err(|_| ReadError::NotSqs)?
}

/// Reads the records with these readers of a text and of attributes.
fn read<'a, T: Deserialize<'a>, A: Deserialize<'a>>(
    event: &'a str,
    text: fn(T) -> Option<Cow<'a, str>>,
    attributes: fn(A) -> Attributes<'a>,
) -> serde_json::Result<Result<Vec<Record<'a>>, ReadError>> {
    let event: Event<'a, T, A> = serde_json::from_str(event)?;
    let record = |fields: Fields<'a, T, A>| {
        let message_id = fields.message_id.and_then(text).filter(|id| !id.is_empty()).ok_or(ReadError::NoMessageId)?;
        let attributes = fields.attributes.map(attributes).unwrap_or_default();
        Ok(Record {
            message_id,
            receipt_handle: fields.receipt_handle.and_then(text),
            body: fields.body.and_then(text),
            source_arn: fields.event_source_arn.and_then(text),
            receive_count: attributes.approximate_receive_count.and_then(|Text(text)| text.parse().ok()).unwrap_or(1),
            sent_unix_ms: attributes.sent_timestamp.and_then(|Text(text)| text.parse().ok()),
            group: attributes.message_group_id.map(|Text(text)| text),
            trace_header: attributes.trace_header.map(|Text(text)| text),
            // Most messages have none, which is not worth reading.
            message_attributes: fields.message_attributes.filter(|attributes| attributes.get() != "{}"),
        })
    };
    let records = event.records.ok_or(ReadError::NoRecords);
    Ok(records.and_then(|records| records.into_iter().map(record).collect()))
}

/// Returns the attributes in JSON of any type.
fn attributes(raw: &RawValue) -> Attributes<'_> {
    let mut attributes = Attributes::default();
    for (name, value) in object(Some(raw)) {
        let number = || Some(Text(Cow::Borrowed(value.get().trim_matches('"'))));
        match name.as_ref() {
            "ApproximateReceiveCount" => attributes.approximate_receive_count = number(),
            "SentTimestamp" => attributes.sent_timestamp = number(),
            "MessageGroupId" => attributes.message_group_id = string(Some(value)).map(Text),
            "AWSTraceHeader" => attributes.trace_header = string(Some(value)).map(Text),
            _ => {}
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_the_same_in_one_pass_and_field_by_field() {
        for event in [
            include_str!("../../../../../tests/events/orders-placed.json"),
            include_str!("../../../../../tests/events/sqs-fifo.json"),
            include_str!("../../../../../tests/events/sqs-standard.json"),
        ] {
            let as_written = read(event, |Text(text)| Some(text), |attributes| attributes).unwrap().unwrap();
            let of_any_type = read(event, |text| string(Some(text)), attributes).unwrap().unwrap();
            assert_eq!(format!("{as_written:?}"), format!("{of_any_type:?}"));
        }
    }
}
