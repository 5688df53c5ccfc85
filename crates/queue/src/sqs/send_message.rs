//! [`SendMessage`]: a message as SQS stores it, and the call that sends it.
//!
//! The request is written into one buffer, in which the body is escaped once. The answer is read into the SDK's type,
//! so the proof and the conclusions are those of [`store()`](super::store()).

use std::borrow::Cow;

use aws_sdk_sqs::error::ErrorMetadata;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use serde::{Deserialize, Serialize, Serializer};
use sluicegate_aws_client::{CallError, Progress};
use tokio::time::Instant;

use super::client::SqsClient;
use super::limits;
use super::proof::{body_md5, conclude, proof};
use crate::SendError;

/// Bytes of a request beside its body: an estimate for the size of the buffer.
const FIELDS_BYTES: usize = 512;

/// A message to send. The caller keeps to the [limits](super::MESSAGE_BYTES_MAX) of SQS.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SendMessage<'a> {
    /// The URL of the queue.
    pub queue_url: &'a str,
    /// The body.
    pub message_body: &'a str,
    /// The delay in seconds; FIFO queues accept none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_seconds: Option<u16>,
    /// The message group, in the characters that SQS allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_group_id: Option<&'a str>,
    /// The deduplication id, for FIFO queues only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_deduplication_id: Option<&'a str>,
    /// The trace header.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_system_attributes: Option<SystemAttributes<'a>>,
    /// The message attributes by name, at most [`ATTRIBUTES_MAX`](super::ATTRIBUTES_MAX).
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "map")]
    pub message_attributes: &'a [(&'a str, AttributeValue<'a>)],
}

/// The value of a message attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum AttributeValue<'a> {
    /// A string or a number.
    #[serde(rename_all = "PascalCase")]
    Text {
        /// `String` or `Number`, which may have a suffix.
        data_type: &'a str,
        /// The text.
        string_value: &'a str,
    },
    /// Bytes.
    #[serde(rename_all = "PascalCase")]
    Binary {
        /// `Binary`, which may have a suffix.
        data_type: &'a str,
        /// The bytes in base64.
        binary_value: &'a str,
    },
}

/// The system attributes of a message.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SystemAttributes<'a> {
    #[serde(rename = "AWSTraceHeader")]
    trace_header: AttributeValue<'a>,
}

impl<'a> SystemAttributes<'a> {
    /// Returns the attribute of an X-Ray trace header, which does not count towards the size of the message. `None` for
    /// an invalid one, which SQS would refuse: a tracing fault must not prevent the send.
    #[must_use]
    pub fn trace(header: &'a str) -> Option<Self> {
        let fits = !header.is_empty() && limits::is_sendable(header);
        fits.then_some(Self { trace_header: AttributeValue::Text { data_type: "String", string_value: header } })
    }
}

fn map<S: Serializer>(attributes: &[(&str, AttributeValue<'_>)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(attributes.iter().copied())
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "MD5OfMessageBody")]
    md5: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "MessageId")]
    id: Option<Cow<'a, str>>,
}

impl SqsClient {
    /// Sends a message, retrying what may pass, but not past `deadline`. Returns the message id that SQS assigned.
    /// `trace_header` is that of the call, which need not be that of the message.
    ///
    /// # Errors
    /// What the caller may conclude, considering every attempt.
    pub async fn send(
        &self,
        message: &SendMessage<'_>,
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Result<String, SendError> {
        if Instant::now() >= deadline {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let text = message.message_body;
        let mut body = Vec::with_capacity(text.len() + text.len() / 8 + FIELDS_BYTES);
        serde_json::to_writer(&mut body, message).map_err(|error| SendError::NotSent { reason: error.to_string() })?;
        let progress = Progress::default();
        match self.0.call("AmazonSQS.SendMessage", body, trace_header, deadline, &progress).await {
            Ok(answer) => proof(&body_md5(text), output(&answer)?),
            Err(error) => Err(not_sent(error, &progress, text.len())),
        }
    }
}

/// Concludes from the error of a call whose bodies have `bytes`, considering every attempt.
pub(super) fn not_sent(error: CallError, progress: &Progress, bytes: usize) -> SendError {
    match error {
        error if progress.may_have_arrived() => SendError::Unknown { reason: error.to_string() },
        CallError::Deadline => SendError::NotSent { reason: "no connection before the deadline".to_owned() },
        error => without_effect(error, bytes),
    }
}

fn output(answer: &[u8]) -> Result<SendMessageOutput, SendError> {
    let unreadable = |error| SendError::Unknown { reason: format!("the answer of SQS cannot be read: {error}") };
    let Answer { md5, id } = serde_json::from_slice(answer).map_err(unreadable)?;
    let output = SendMessageOutput::builder().set_md5_of_message_body(md5.map(Cow::into_owned));
    Ok(output.set_message_id(id.map(Cow::into_owned)).build())
}

/// Concludes from the last error when no attempt can have stored the message, whose body has `bytes`.
fn without_effect(error: CallError, bytes: usize) -> SendError {
    let reason = error.to_string();
    let CallError::Answered { code, message, .. } = error else { return SendError::NotSent { reason } };
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = code {
        metadata = metadata.code(code);
    }
    if let Some(message) = message {
        metadata = metadata.message(message);
    }
    conclude(&metadata.build(), reason, bytes)
}
