//! The copy of a dead letter for its redrive, checked against the limits of SQS before sending.

use std::collections::HashMap;

use aws_sdk_sqs::error::BuildError;
use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName as System};
use sluicegate_envelope::Envelope;
use sluicegate_queue::dead_letter::{MESSAGE_ID, OF_DEAD_LETTER, REDRIVES};
use sluicegate_queue::sqs::{
    ATTRIBUTES_MAX, MARKERS, MESSAGE_BYTES_MAX, Pointer, RawMessage, STATUS_ID, body_md5, is_sendable,
};

use super::{
    message::{redrives, system},
    queues::SqsQueue,
};

/// Why a dead letter is not sent again.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    /// The received body is damaged: a new take may bring it whole.
    #[error("the body that was received is not the one that SQS announced")]
    Damaged,
    /// The body is not text.
    #[error("SQS carries text only, in UTF-8")]
    NotText,
    /// The body is empty.
    #[error("SQS carries no empty message")]
    Empty,
    /// The body has characters outside the range of SQS.
    #[error("the body holds characters that SQS does not carry")]
    NotSendable,
    /// Body and attributes are larger than SQS allows.
    #[error("with {} it has {bytes} bytes, more than {}", REDRIVES, MESSAGE_BYTES_MAX)]
    TooLarge {
        /// Their size together.
        bytes: usize,
    },
    /// Every attribute that SQS allows is in use.
    #[error("it has {} attributes, and none is left for {}", ATTRIBUTES_MAX, REDRIVES)]
    TooManyAttributes,
    /// The SDK refuses to build an attribute.
    #[error(transparent)]
    Attribute(#[from] BuildError),
}

/// Returns the copy of `message` for `queue`, with `edited` as its body if given, which is not a pointer to a payload.
///
/// # Errors
/// SQS would not carry the copy.
pub(super) fn copy(message: &Message, queue: &SqsQueue, edited: Option<&[u8]>) -> Result<RawMessage, CopyError> {
    let received = message.body.as_deref().unwrap_or_default();
    let announced = message.md5_of_body.as_deref().unwrap_or_default();
    if !announced.eq_ignore_ascii_case(&body_md5(received)) {
        return Err(CopyError::Damaged);
    }
    let body = match edited {
        None => received,
        Some(bytes) => std::str::from_utf8(bytes).map_err(|_| CopyError::NotText)?,
    };
    if body.is_empty() {
        return Err(CopyError::Empty);
    }
    if !is_sendable(body) {
        return Err(CopyError::NotSendable);
    }
    let redrives = redrives(message).saturating_add(1);
    let broker_id = message.message_id.as_deref().unwrap_or_default();
    let mut attributes = attributes(message, redrives)?;
    if edited.is_some() {
        // With another body it is another message.
        attributes.retain(|name, _| !MARKERS.contains(&&**name) && ![MESSAGE_ID, STATUS_ID].contains(&&**name));
    } else if Envelope::decode(body).is_err() && !attributes.contains_key(MESSAGE_ID) {
        let id = MessageAttributeValue::builder().data_type("String").string_value(broker_id).build()?;
        let has_room = bytes(body, &attributes) + MESSAGE_ID.len() + size(&id) <= MESSAGE_BYTES_MAX;
        if has_room && attributes.len() < ATTRIBUTES_MAX {
            attributes.insert(MESSAGE_ID.to_owned(), id);
        }
    }
    let bytes = bytes(body, &attributes);
    if bytes > MESSAGE_BYTES_MAX {
        return Err(CopyError::TooLarge { bytes });
    }
    // The edited body must not count as a repeat of the previous one.
    let edition = edited.map(|_| format!("-{}", body_md5(body))).unwrap_or_default();
    let deduplication_id = queue.is_fifo().then(|| format!("{broker_id}-{redrives}{edition}"));
    let group = system(message, &System::MessageGroupId).or(queue.is_fifo().then_some(broker_id));
    Ok(RawMessage {
        body: body.to_owned(),
        attributes,
        trace_header: system(message, &System::AwsTraceHeader).map(str::to_owned),
        delay_s: None,
        group: group.map(str::to_owned),
        deduplication_id,
    })
}

/// Returns the copy of `message` for `queue`, with a pointer to its edited `body`.
///
/// # Errors
/// SQS would not carry the copy.
pub(super) fn pointing(
    message: &Message,
    queue: &SqsQueue,
    pointer: &Pointer,
    body: &[u8],
) -> Result<RawMessage, CopyError> {
    let mut copy = copy(message, queue, Some(pointer.body().as_bytes()))?;
    let marker = MessageAttributeValue::builder().data_type("Number").string_value(body.len().to_string()).build();
    copy.attributes.insert(MARKERS[0].to_owned(), marker?);
    let event = std::str::from_utf8(body).ok().and_then(|text| Envelope::decode(text).ok());
    if let Some(event) = event.filter(|event| event.has_status() && copy.attributes.len() < ATTRIBUTES_MAX) {
        let id = MessageAttributeValue::builder().data_type("String").string_value(event.id()).build();
        copy.attributes.insert(STATUS_ID.to_owned(), id?);
    }
    Ok(copy)
}

fn attributes(message: &Message, redrives: u32) -> Result<HashMap<String, MessageAttributeValue>, CopyError> {
    let mut attributes = message.message_attributes.clone().unwrap_or_default();
    for name in OF_DEAD_LETTER {
        attributes.remove(name);
    }
    let count = MessageAttributeValue::builder().data_type("Number").string_value(redrives.to_string()).build();
    attributes.insert(REDRIVES.to_owned(), count?);
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(CopyError::TooManyAttributes);
    }
    Ok(attributes)
}

fn bytes(body: &str, attributes: &HashMap<String, MessageAttributeValue>) -> usize {
    body.len() + attributes.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>()
}

fn size(value: &MessageAttributeValue) -> usize {
    let text = value.string_value.as_ref().map_or(0, String::len);
    let bytes = value.binary_value.as_ref().map_or(0, |bytes| bytes.as_ref().len());
    value.data_type.len() + text + bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(redrives: u32) -> Message {
        let count = MessageAttributeValue::builder().data_type("Number").string_value(redrives.to_string()).build();
        let mut builder = Message::builder().message_id("m").body("body").md5_of_body(body_md5("body"));
        if redrives > 0 {
            builder = builder.message_attributes(REDRIVES, count.expect("a number"));
        }
        builder.build()
    }

    fn queue(name: &str) -> SqsQueue {
        SqsQueue { url: format!("http://h/0/{name}"), arn: format!("arn:aws:sqs:r:0:{name}"), name: name.to_owned() }
    }

    #[test]
    fn a_deduplication_id_is_that_of_the_message_its_redrives_and_its_correction() {
        let id = |redrives, edited: Option<&str>| {
            let sent = copy(&message(redrives), &queue("q.fifo"), edited.map(str::as_bytes)).expect("a copy");
            assert_eq!(sent.group.as_deref(), Some("m"), "a message without a group is one by itself");
            sent.deduplication_id.expect("an id")
        };
        assert_eq!((id(0, None), id(1, None)), ("m-1".to_owned(), "m-2".to_owned()));
        assert_eq!(id(0, None), id(0, None));
        assert_ne!(id(0, Some("x")), id(0, Some("y")));
        assert_ne!(id(0, None), id(0, Some("body")));
        let standard = copy(&message(0), &queue("q"), None).expect("a copy");
        assert_eq!((standard.group, standard.deduplication_id), (None, None));
    }

    #[test]
    fn a_message_that_is_not_an_event_keeps_its_first_id_unless_it_is_edited() {
        let text =
            |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build().expect("");
        let sent = |body: &str, own: &[(&str, &str)], edited: Option<&str>| {
            let own = own.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
            let builder = Message::builder().message_id("m").body(body).md5_of_body(body_md5(body));
            let message = builder.set_message_attributes(Some(own)).build();
            let mut copy = copy(&message, &queue("q"), edited.map(str::as_bytes)).expect("a copy");
            copy.attributes.remove(MESSAGE_ID).and_then(|value| value.string_value)
        };
        let event = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;
        let many: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| (name, "")).into();
        let large = "x".repeat(MESSAGE_BYTES_MAX - REDRIVES.len() - "Number1".len());
        for (body, own, edited, expected) in [
            ("body", &[][..], None, Some("m")),
            ("body", &[(MESSAGE_ID, "first")], None, Some("first")),
            ("body", &[(MESSAGE_ID, "first")], Some("other"), None),
            (event, &[], None, None),
            ("body", &many[1..], None, Some("m")),
            // Without room for it, the message is redriven all the same.
            ("body", &many, None, None),
            (&large, &[], None, None),
        ] {
            assert_eq!(sent(body, own, edited).as_deref(), expected, "{own:?} {edited:?}");
        }
    }

    #[test]
    fn a_pointer_to_an_edited_event_names_that_event_if_it_has_a_status() {
        let id = |has_status: bool| {
            let event = Envelope::builder("edited", "/s", "t").has_status(has_status).expect("an attribute").build();
            let text = |text: &str| MessageAttributeValue::builder().data_type("String").string_value(text).build();
            let builder = Message::builder().message_id("m").body("body").md5_of_body(body_md5("body"));
            let message = builder.message_attributes(STATUS_ID, text("first").expect("a text")).build();
            let pointer = Pointer { bucket: "b".to_owned(), key: "k".to_owned() };
            let body = event.expect("an event").encode();
            let mut copy = pointing(&message, &queue("q"), &pointer, body.as_bytes()).expect("a copy");
            assert!(copy.attributes.contains_key(MARKERS[0]));
            copy.attributes.remove(STATUS_ID).and_then(|value| value.string_value)
        };
        assert_eq!(id(true).as_deref(), Some("edited"));
        assert_eq!(id(false), None);
    }

    #[test]
    fn a_body_that_sqs_does_not_accept_is_refused() {
        for (edited, reason) in
            [(&b"\xff"[..], "text only"), (b"", "no empty message"), (b"a\0", "characters that SQS does not carry")]
        {
            let error = copy(&message(0), &queue("q"), Some(edited)).expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
        let damaged = Message::builder().message_id("m").body("body").md5_of_body(body_md5("other")).build();
        assert!(matches!(copy(&damaged, &queue("q"), None), Err(CopyError::Damaged)));
    }
}
