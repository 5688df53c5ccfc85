//! [`store`]: sends one raw message through the SDK and proves from the answer that SQS stored it.
//!
//! The dead-letter tool redrives with it, with the credentials of a person, which the SDK finds. The functions send
//! past the SDK's orchestrator: `send_message`. Both need the same [proof](super::proof).

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sqs::types::{
    MessageAttributeValue, MessageSystemAttributeNameForSends as SystemAttribute, MessageSystemAttributeValue,
};
use sluicegate_aws_client::Progress;
use tokio::time::Instant;

use super::limits;
use super::progress::RecordProgress;
use super::proof::{body_md5, conclude, proof};
use crate::{SendError, chain};

/// A message as SQS stores it. The caller keeps to the [limits](super::MESSAGE_BYTES_MAX).
#[derive(Clone, Debug, Default)]
pub struct RawMessage {
    /// The body.
    pub body: String,
    /// The message attributes, at most [`ATTRIBUTES_MAX`](super::ATTRIBUTES_MAX).
    pub attributes: HashMap<String, MessageAttributeValue>,
    /// The delay in seconds; FIFO queues accept none.
    pub delay_s: Option<u16>,
    /// The message group, in the characters that SQS allows.
    pub group: Option<String>,
    /// The deduplication id, for FIFO queues only.
    pub deduplication_id: Option<String>,
    /// An X-Ray trace header. An invalid header, which SQS would refuse, is left out: a tracing fault must not prevent
    /// the send.
    pub trace_header: Option<String>,
}

/// Sends `message` to the queue at `queue_url`, retrying as the client is configured, but not past `deadline`. Returns
/// the message id that SQS assigned.
///
/// # Errors
/// What the caller may conclude, considering every attempt.
pub async fn store(
    client: &Client,
    queue_url: &str,
    message: RawMessage,
    deadline: Instant,
) -> Result<String, SendError> {
    if Instant::now() >= deadline {
        return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
    }
    let (digest, bytes) = (body_md5(&message.body), message.body.len());
    let progress = Arc::new(Progress::default());
    let request = client
        .send_message()
        .queue_url(queue_url)
        .message_body(message.body)
        .set_message_attributes(Some(message.attributes).filter(|attributes| !attributes.is_empty()))
        .set_delay_seconds(message.delay_s.map(i32::from))
        .set_message_group_id(message.group)
        .set_message_deduplication_id(message.deduplication_id)
        .set_message_system_attributes(message.trace_header.as_deref().and_then(trace_attribute))
        .customize()
        .interceptor(RecordProgress(Arc::clone(&progress)))
        .send();
    match tokio::time::timeout_at(deadline, request).await {
        Ok(Ok(answer)) => proof(&digest, answer),
        Ok(Err(error)) if progress.may_have_arrived() => Err(SendError::Unknown { reason: error_text(&error) }),
        Ok(Err(error)) => Err(match error.as_service_error() {
            None => SendError::NotSent { reason: error_text(&error) },
            Some(service) => conclude(service.meta(), error_text(&error), bytes),
        }),
        Err(_) if progress.may_have_arrived() => {
            Err(SendError::Unknown { reason: "no answer before the deadline".to_owned() })
        }
        Err(_) => Err(SendError::NotSent { reason: "no connection before the deadline".to_owned() }),
    }
}

/// Returns the code and message of SQS, or the causes of an error without them.
#[must_use]
pub fn error_text<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => chain(error),
    }
}

/// Returns the trace header as a system attribute, which does not count towards the size of the message.
fn trace_attribute(header: &str) -> Option<HashMap<SystemAttribute, MessageSystemAttributeValue>> {
    if header.is_empty() || !limits::is_sendable(header) {
        return None;
    }
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
    Some([(SystemAttribute::AwsTraceHeader, value)].into())
}
