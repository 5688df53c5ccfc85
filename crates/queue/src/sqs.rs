//! Amazon SQS, standard and FIFO. A receipt is given only when the answer names a message id and the MD5 of our body.
//!
//! On a FIFO queue the envelope's id is the deduplication id, so a repeated send is stored once for five minutes. SQS then answers
//! with the MD5 of what was sent, not of what is stored: two messages that differ must not share an id. On a standard queue a repeated send may be stored twice, under one envelope id. A group is passed on to both kinds: order on
//! FIFO, fair sharing on standard. A FIFO message without a group is a group of its own, because nobody asked for an order
//! and a shared group would make all such messages wait for each other.

mod attempts;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::{ErrorMetadata, SdkError};
use aws_sdk_sqs::operation::send_message::{SendMessageError, SendMessageOutput};
use aws_sdk_sqs::types::{MessageSystemAttributeNameForSends, MessageSystemAttributeValue};
use md5::{Digest, Md5};
use tokio::time::Instant;

use self::attempts::Attempts;
use crate::{Message, Producer, Receipt, SendError, chain};

pub use self::attempts::is_throttled;
pub use self::limits::{DELAY_S_MAX, MESSAGE_BYTES_MAX, TOKEN_CHARS_MAX, is_sendable};
pub use crate::aws::{ConfigError, SdkConfig, sdk_config};

/// Sends to one queue.
#[derive(Clone, Debug)]
pub struct SqsProducer {
    client: Client,
    queue_url: String,
    fifo: bool,
}

impl SqsProducer {
    /// A producer for the queue at `queue_url`; it is a FIFO queue if the URL ends in `.fifo`.
    #[must_use]
    pub fn new(config: &SdkConfig, queue_url: impl Into<String>) -> Self {
        Self::with_client(Client::new(config), queue_url.into())
    }

    /// A producer for another queue of the same account, on the same client. Making a client parses every root certificate.
    #[must_use]
    pub fn for_queue(&self, queue_url: impl Into<String>) -> Self {
        Self::with_client(self.client.clone(), queue_url.into())
    }

    fn with_client(client: Client, queue_url: String) -> Self {
        let fifo = queue_url.ends_with(".fifo");
        Self { client, queue_url, fifo }
    }

    /// Everything that can be refused without asking.
    fn delay_s(&self, message: &Message<'_>, body: &str) -> Result<Option<u16>, SendError> {
        if body.len() > MESSAGE_BYTES_MAX {
            return Err(unfit(format!("the envelope has {} bytes, more than {MESSAGE_BYTES_MAX}", body.len())));
        }
        if !limits::is_sendable(body) {
            return Err(unfit("the envelope holds characters that SQS does not carry".to_owned()));
        }
        match limits::delay_s(message.delay) {
            Some(0) => Ok(None),
            Some(_) if self.fifo => Err(misconfigured("a FIFO queue takes no delay per message".to_owned())),
            Some(seconds) => Ok(Some(seconds)),
            None => Err(misconfigured(format!("the delay {:?} is longer than {DELAY_S_MAX} s", message.delay))),
        }
    }
}

impl Producer for SqsProducer {
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        let body = message.envelope.encode();
        let delay_s = self.delay_s(message, &body)?;
        let digest = body_md5(&body);
        let id = message.envelope.id();
        let group = message.group.filter(|group| !group.is_empty()).or(self.fifo.then_some(id));

        if Instant::now() >= deadline {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let attempts = Attempts::default();
        let request = self
            .client
            .send_message()
            .queue_url(&self.queue_url)
            .message_body(body)
            .set_delay_seconds(delay_s.map(i32::from))
            .set_message_group_id(group.map(limits::token))
            .set_message_deduplication_id(self.fifo.then(|| limits::token(id)))
            .set_message_system_attributes(message.trace_header.and_then(trace_attribute))
            .customize()
            .interceptor(attempts.clone())
            .send();
        match tokio::time::timeout_at(deadline, request).await {
            Ok(Ok(answer)) => receipt(id, &digest, answer),
            Ok(Err(error)) if attempts.may_have_arrived() => Err(SendError::Unknown { reason: chain(&error) }),
            Ok(Err(error)) => Err(conclude(&error)),
            Err(_) if attempts.may_have_arrived() => {
                Err(SendError::Unknown { reason: "no answer before the deadline".to_owned() })
            }
            Err(_) => Err(SendError::NotSent { reason: "no connection before the deadline".to_owned() }),
        }
    }
}

/// The MD5 of a body as SQS writes it, to compare with the `MD5OfMessageBody` of an answer: the SDK does not.
#[must_use]
pub fn body_md5(body: &str) -> String {
    limits::hex(&Md5::digest(body.as_bytes()))
}

/// What the answer proves.
fn receipt(id: &str, digest: &str, answer: SendMessageOutput) -> Result<Receipt, SendError> {
    let stored = answer.md5_of_message_body.as_deref().unwrap_or_default();
    if !stored.eq_ignore_ascii_case(digest) {
        return Err(SendError::Unknown { reason: format!("sent a body with MD5 {digest}, stored was {stored:?}") });
    }
    match answer.message_id {
        Some(broker_id) if !broker_id.is_empty() => Ok(Receipt { id: id.to_owned(), broker_id }),
        _ => Err(SendError::Unknown { reason: "the answer names no message id".to_owned() }),
    }
}

/// Reads the last error, given that no attempt can have stored the message.
fn conclude(error: &SdkError<SendMessageError>) -> SendError {
    let reason = chain(error);
    match error.as_service_error() {
        None => SendError::NotSent { reason },
        Some(service) if is_throttled(service) => SendError::NotSent { reason },
        Some(service) => SendError::Refused {
            reason,
            message_at_fault: service.is_invalid_message_contents() || is_too_large(service.meta()),
        },
    }
}

/// Whether SQS refuses the message for its size, which happens here only when the queue's own maximum is lower than
/// that of SQS.
///
/// SQS has no error of its own for it: every parameter is an `InvalidParameterValue`; the text names the cause:
/// "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes." A wrong endpoint, queue or
/// attribute is an operator's to correct.
fn is_too_large(error: &ErrorMetadata) -> bool {
    let is_parameter = error.code().is_some_and(|code| code.starts_with("InvalidParameterValue"));
    is_parameter && error.message().is_some_and(|text| text.contains("shorter than") && text.contains("bytes"))
}

fn unfit(reason: String) -> SendError {
    SendError::Refused { reason, message_at_fault: true }
}

/// The delay is the route's and not the message's.
fn misconfigured(reason: String) -> SendError {
    SendError::Refused { reason, message_at_fault: false }
}

/// The trace header as a system attribute, which does not count towards the message's size. One that SQS would refuse is
/// left out: a trace must not cost the message.
fn trace_attribute(header: &str) -> Option<HashMap<MessageSystemAttributeNameForSends, MessageSystemAttributeValue>> {
    if header.is_empty() || !limits::is_sendable(header) {
        return None;
    }
    let value = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build().ok()?;
    Some([(MessageSystemAttributeNameForSends::AwsTraceHeader, value)].into())
}
