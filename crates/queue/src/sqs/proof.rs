//! What an answer of SQS shows about a sent message. A stored message has a message id, and the MD5 of the body that
//! was sent.

use aws_sdk_sqs::error::ErrorMetadata;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use md5::{Digest, Md5};
use sluicegate_aws_client::is_throttling;

use super::limits;
use crate::SendError;

/// Returns the MD5 of a body in the form of `MD5OfMessageBody`. The SDK does not check it.
#[must_use]
pub fn body_md5(body: &str) -> String {
    limits::hex(&Md5::digest(body.as_bytes()))
}

/// Returns the message id if the answer proves that the body with this MD5 is stored.
pub(super) fn proof(digest: &str, answer: SendMessageOutput) -> Result<String, SendError> {
    let stored = answer.md5_of_message_body.as_deref().unwrap_or_default();
    if !stored.eq_ignore_ascii_case(digest) {
        return Err(SendError::Unknown { reason: format!("sent a body with MD5 {digest}, stored was {stored:?}") });
    }
    match answer.message_id {
        Some(id) if !id.is_empty() => Ok(id),
        _ => Err(SendError::Unknown { reason: "the answer has no message id".to_owned() }),
    }
}

/// Concludes from the error of SQS when no attempt can have stored the message, whose body has `bytes`.
pub(super) fn conclude(error: &ErrorMetadata, reason: String, bytes: usize) -> SendError {
    if error.code().is_some_and(is_throttling) {
        return SendError::NotSent { reason };
    }
    match bytes_max(error) {
        Some(bytes_max) => SendError::TooLarge { bytes, bytes_max },
        None => SendError::Refused { reason, message_at_fault: error.code() == Some("InvalidMessageContents") },
    }
}

/// Returns the largest message of the queue if SQS refuses the message for its size. That occurs only when the queue's
/// own maximum is lower than that of SQS.
///
/// SQS reports every invalid parameter as `InvalidParameterValue`, and only the text names the cause: "One or more
/// parameters are invalid. Reason: Message must be shorter than 262144 bytes." An operator must fix the other causes
/// (endpoint, queue, attribute).
fn bytes_max(error: &ErrorMetadata) -> Option<usize> {
    error.code().filter(|code| code.starts_with("InvalidParameterValue"))?;
    let (_, limit) = error.message()?.split_once("shorter than ")?;
    limit.split_once(" bytes")?.0.parse().ok()
}
