//! [`Sqs`]: SendMessage as AWS JSON 1.0, without the SDK's orchestrator.
//!
//! The request is written into one buffer, in which the body is escaped once. The answer is read into the SDK's type,
//! so the proof and the conclusions are those of [`store()`](super::store()).

use std::borrow::Cow;
use std::sync::Arc;

use aws_sdk_sqs::error::ErrorMetadata;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use serde::{Deserialize, Serialize};
use sluicegate_aws_client::{AwsEnvironment, AwsService, CallError, Progress, Service};
use tokio::time::Instant;

use super::limits;
use super::proof::{body_md5, conclude, proof};
use crate::SendError;

/// Bytes of a request beside its body: an estimate for the size of the buffer.
const FIELDS_BYTES: usize = 512;

/// A client of SQS. Clones share its connections.
#[derive(Clone, Debug)]
pub(super) struct Sqs(pub(super) Arc<AwsService>);

/// A message to send, within the limits of SQS.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SendMessage<'a> {
    pub(super) queue_url: &'a str,
    pub(super) message_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay_seconds: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_deduplication_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_system_attributes: Option<SystemAttributes<'a>>,
    /// The marker of a pointer.
    #[cfg(feature = "s3")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_attributes: Option<Marker<'a>>,
}

/// The message attribute of a pointer.
#[cfg(feature = "s3")]
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Marker<'a> {
    #[serde(rename = "ExtendedPayloadSize")]
    bytes: Text<'a>,
}

#[cfg(feature = "s3")]
impl<'a> Marker<'a> {
    /// Returns the marker for a body of so many bytes.
    pub(super) fn new(bytes: &'a str) -> Self {
        Self { bytes: Text { data_type: "Number", string_value: bytes } }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct SystemAttributes<'a> {
    #[serde(rename = "AWSTraceHeader")]
    trace_header: Text<'a>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Text<'a> {
    data_type: &'static str,
    string_value: &'a str,
}

impl<'a> SystemAttributes<'a> {
    /// Returns the attribute of an X-Ray trace header, which does not count towards the size of the message. `None` for
    /// an invalid one, which SQS would refuse: a tracing fault must not prevent the send.
    pub(super) fn trace(header: &'a str) -> Option<Self> {
        let fits = !header.is_empty() && limits::is_sendable(header);
        fits.then_some(Self { trace_header: Text { data_type: "String", string_value: header } })
    }
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "MD5OfMessageBody")]
    md5: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "MessageId")]
    id: Option<Cow<'a, str>>,
}

impl Sqs {
    /// Creates a client without calling SQS. See [`AwsService::new`].
    pub(super) fn new(environment: &AwsEnvironment) -> Self {
        Self(Arc::new(AwsService::new(environment, Service::Sqs)))
    }

    /// Sends a message, retrying what may pass, but not past `deadline`. Returns the message id that SQS assigned.
    ///
    /// # Errors
    /// What the caller may conclude, considering every attempt.
    pub(super) async fn send(
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
