//! Actions on one message: send, receive, delete, change visibility.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use super::Input;
use super::attributes::is_queue_attribute;
use super::input::{in_range, queue_name, required};
use crate::caller::Caller;
use crate::clock::EpochMs;
use crate::engine::Engine;
use crate::error::{ApiError, ErrorKind};
use crate::event::QueueEvent;
use crate::limits::{ATTEMPT_ID_CHARS_MAX, DELAY_S, RECEIVE_MESSAGES, VISIBILITY_S, WAIT_S};
use crate::message::{Draft, ReceivedMessage, RequestedAttributes, sequence_text};
use crate::message_attribute::{AttributeInput, attributes_md5, check_attributes, check_system_attributes, text_of};
use crate::queue::Receive;
use crate::queue_attributes::unknown;

/// System attributes that a receive can request. API Message.
const SYSTEM_ATTRIBUTES: [&str; 9] = [
    "AWSTraceHeader",
    "ApproximateFirstReceiveTimestamp",
    "ApproximateReceiveCount",
    "DeadLetterQueueSourceArn",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SenderId",
    "SentTimestamp",
    "SequenceNumber",
];

/// `SendMessage`, and one entry of its batch.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendInput {
    pub(super) id: Option<String>,
    queue_url: Option<String>,
    message_body: Option<String>,
    delay_seconds: Option<i64>,
    message_attributes: Option<BTreeMap<String, AttributeInput>>,
    message_system_attributes: Option<BTreeMap<String, AttributeInput>>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

/// A checked send and the digests of its answer.
pub(super) struct SendCall {
    pub(super) draft: Draft,
    attributes_md5: Option<String>,
    system_attributes_md5: Option<String>,
}

/// The answer to a send.
#[derive(Debug, Serialize)]
pub(crate) struct SendAnswer {
    #[serde(rename = "MD5OfMessageAttributes", skip_serializing_if = "Option::is_none")]
    attributes_md5: Option<String>,
    #[serde(rename = "MD5OfMessageBody", serialize_with = "text")]
    body_md5: Arc<str>,
    #[serde(rename = "MD5OfMessageSystemAttributes", skip_serializing_if = "Option::is_none")]
    system_attributes_md5: Option<String>,
    #[serde(rename = "MessageId", serialize_with = "text")]
    message_id: Arc<str>,
    #[serde(rename = "SequenceNumber", skip_serializing_if = "Option::is_none")]
    sequence: Option<String>,
}

fn text<S: Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

impl SendInput {
    pub(super) fn check(self, caller: &Caller) -> Result<SendCall, ApiError> {
        let body = required(self.message_body, "MessageBody")?;
        let attributes = check_attributes(self.message_attributes.unwrap_or_default())?;
        let system = check_system_attributes(self.message_system_attributes.unwrap_or_default())?;
        let delay_s = self.delay_seconds.map(|delay| in_range("DelaySeconds", delay, &DELAY_S)).transpose()?;
        let attributes_digest = (!attributes.is_empty()).then(|| attributes_md5(attributes.iter()));
        let system_digest = system.as_ref().map(|system| attributes_md5(system.iter()));
        let draft = Draft {
            body,
            attributes,
            trace_header: system
                .and_then(|system| text_of(&system, "AWSTraceHeader"))
                .or_else(|| caller.trace_header.clone()),
            group: self.message_group_id,
            deduplication_id: self.message_deduplication_id,
            delay_s,
        };
        Ok(SendCall { draft, attributes_md5: attributes_digest, system_attributes_md5: system_digest })
    }
}

impl SendCall {
    pub(super) fn run(self, engine: &mut Engine, name: &str, now: EpochMs) -> Result<SendAnswer, ApiError> {
        let sent = engine.send(name, self.draft, now)?;
        Ok(SendAnswer {
            attributes_md5: self.attributes_md5,
            body_md5: sent.body_md5,
            system_attributes_md5: self.system_attributes_md5,
            message_id: sent.message_id,
            sequence: sent.sequence.map(sequence_text),
        })
    }
}

pub(super) fn send(
    engine: &mut Engine,
    input: SendInput,
    caller: &Caller,
    now: EpochMs,
) -> Result<SendAnswer, ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    input.check(caller)?.run(engine, &name, now)
}

/// `DeleteMessage`, `ChangeMessageVisibility` and the entries of their batches.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HandleInput {
    pub(super) id: Option<String>,
    queue_url: Option<String>,
    receipt_handle: Option<String>,
    visibility_timeout: Option<i64>,
}

impl HandleInput {
    pub(super) fn delete(self, engine: &mut Engine, name: &str, now: EpochMs) -> Result<(), ApiError> {
        let handle = required(self.receipt_handle, "ReceiptHandle")?;
        let queue = engine.queue(name, now)?;
        let queue_name = queue.name.clone();
        if let Some(message) = queue.delete(&handle)? {
            engine.events.push(QueueEvent::deleted(&queue_name, &message));
        }
        Ok(())
    }

    pub(super) fn change_visibility(self, engine: &mut Engine, name: &str, now: EpochMs) -> Result<(), ApiError> {
        let handle = required(self.receipt_handle, "ReceiptHandle")?;
        let timeout = required(self.visibility_timeout, "VisibilityTimeout")?;
        let timeout_s = in_range("VisibilityTimeout", timeout, &VISIBILITY_S)?;
        let queue = engine.queue(name, now)?;
        let queue_name = queue.name.clone();
        if let Some(message) = queue.change_visibility(&handle, timeout_s, now)? {
            engine.events.push(QueueEvent::visibility_changed(&queue_name, &message, timeout_s));
        }
        Ok(())
    }
}

pub(super) fn delete(engine: &mut Engine, input: HandleInput, now: EpochMs) -> Result<(), ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    input.delete(engine, &name, now)
}

pub(super) fn change_visibility(engine: &mut Engine, input: HandleInput, now: EpochMs) -> Result<(), ApiError> {
    let name = queue_name(engine, input.queue_url.as_deref())?;
    input.change_visibility(engine, &name, now)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveInput {
    queue_url: Option<String>,
    attribute_names: Option<Vec<String>>,
    message_system_attribute_names: Option<Vec<String>>,
    message_attribute_names: Option<Vec<String>>,
    max_number_of_messages: Option<i64>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    receive_request_attempt_id: Option<String>,
}

/// A checked `ReceiveMessage`, which can run repeatedly until it returns messages.
#[derive(Debug)]
pub(crate) struct ReceiveCall {
    pub(crate) name: String,
    pub(crate) wait_s: u32,
    receive: Receive,
    wanted: RequestedAttributes,
}

impl ReceiveCall {
    pub(crate) fn check(engine: &mut Engine, input: Input<'_>, now: EpochMs) -> Result<Self, ApiError> {
        let input: ReceiveInput = input.parse()?;
        let name = queue_name(engine, input.queue_url.as_deref())?;
        let queue = &engine.queue(&name, now)?.attributes;
        let messages_max =
            in_range("MaxNumberOfMessages", input.max_number_of_messages.unwrap_or(1), &RECEIVE_MESSAGES)?;
        let wait_s = match input.wait_time_seconds {
            Some(wait) => in_range("WaitTimeSeconds", wait, &WAIT_S)?,
            None => queue.wait_s,
        };
        let visibility_s = input.visibility_timeout;
        let visibility_s =
            visibility_s.map(|timeout| in_range("VisibilityTimeout", timeout, &VISIBILITY_S)).transpose()?;
        if let Some(id) = &input.receive_request_attempt_id
            && (id.is_empty() || id.len() > ATTEMPT_ID_CHARS_MAX || !id.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(ApiError::invalid_parameter(format!(
                "Value {id} for parameter ReceiveRequestAttemptId is invalid. Reason: Can only include alphanumeric and \
                 punctuation characters. 1 to 128 in length."
            )));
        }
        let mut system = input.message_system_attribute_names.unwrap_or_default();
        // The older parameter's model lists queue attributes too; SQS accepts and ignores them.
        let legacy = input.attribute_names.unwrap_or_default();
        system.extend(legacy.into_iter().filter(|name| !is_queue_attribute(name)));
        if let Some(name) = system.iter().find(|name| *name != "All" && !SYSTEM_ATTRIBUTES.contains(&name.as_str())) {
            return Err(unknown(name));
        }
        let messages_max = usize::try_from(messages_max).unwrap_or(1);
        Ok(Self {
            name,
            wait_s,
            receive: Receive { messages_max, visibility_s, attempt_id: input.receive_request_attempt_id },
            wanted: RequestedAttributes { system, user: input.message_attribute_names.unwrap_or_default() },
        })
    }

    /// Tries once; returns `None` if there is no message now. A long poll waits instead of failing with `OverLimit`.
    /// API ReceiveMessage.
    pub(crate) fn run(&self, engine: &mut Engine, now: EpochMs) -> Result<Option<Vec<ReceivedMessage>>, ApiError> {
        let received = match engine.receive(&self.name, &self.receive, now) {
            Err(error) if self.wait_s > 0 && error.is(ErrorKind::OverLimit) => return Ok(None),
            received => received?,
        };
        let sender_id = &engine.config.account;
        let received = received.into_iter();
        let messages: Vec<_> =
            received.map(|(message, handle)| ReceivedMessage::new(message, handle, &self.wanted, sender_id)).collect();
        Ok((!messages.is_empty()).then_some(messages))
    }
}
