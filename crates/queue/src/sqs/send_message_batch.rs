//! SendMessageBatch: up to ten messages in one call, each with the proof and the conclusions of a single send.
//!
//! The answer names entries by the ids of the request. An entry that it does not name may be stored.

use std::borrow::Cow;
use std::ops::Range;

use aws_sdk_sqs::error::ErrorMetadata;
use aws_sdk_sqs::operation::send_message::SendMessageOutput;
use serde::{Deserialize, Serialize};
use sluicegate_aws_client::Progress;
use tokio::time::Instant;

use super::batch_entry::{BATCH_ENTRIES_MAX, FailedEntry};
use super::client::SqsClient;
use super::limits::MESSAGE_BYTES_MAX;
use super::proof::{body_md5, conclude, proof};
use super::send_message::{SendMessage, SystemAttributes, not_sent};
use crate::SendError;

/// The largest batch: its bodies together.
pub(super) const BATCH_BYTES_MAX: usize = MESSAGE_BYTES_MAX;

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessageBatch<'a> {
    queue_url: &'a str,
    entries: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    /// The position in the batch.
    id: String,
    message_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_deduplication_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_system_attributes: Option<SystemAttributes<'a>>,
}

impl<'a> Entry<'a> {
    fn new(position: usize, message: &SendMessage<'a>) -> Self {
        Self {
            id: position.to_string(),
            message_body: message.message_body,
            delay_seconds: message.delay_seconds,
            message_group_id: message.message_group_id,
            message_deduplication_id: message.message_deduplication_id,
            message_system_attributes: message.message_system_attributes,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer<'a> {
    #[serde(borrow, default)]
    successful: Option<Vec<Stored<'a>>>,
    failed: Option<Vec<FailedEntry>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stored<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, rename = "MD5OfMessageBody")]
    md5: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message_id: Option<Cow<'a, str>>,
}

/// Returns the batches of messages with these lengths, in order, within the limits of SQS.
fn batches(lengths: &[usize]) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (position, length) in lengths.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_ENTRIES_MAX && bytes + length <= BATCH_BYTES_MAX => {
                (batch.end, bytes) = (position + 1, bytes + length);
            }
            _ => {
                batches.push(position..position + 1);
                bytes = *length;
            }
        }
    }
    batches
}

impl SqsClient {
    /// Sends messages, each within the limits of SQS, in order. Returns the message id that SQS assigned to each, or
    /// what the caller may conclude.
    pub(super) async fn send_all(
        &self,
        messages: &[SendMessage<'_>],
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Vec<Result<String, SendError>> {
        let lengths: Vec<_> = messages.iter().map(|message| message.message_body.len()).collect();
        let mut results = Vec::with_capacity(messages.len());
        for batch in batches(&lengths) {
            let messages = messages.get(batch).unwrap_or_default();
            match self.send_batch(messages, trace_header, deadline).await {
                Ok(sent) => results.extend(sent),
                Err(error) => results.extend(messages.iter().map(|_| Err(error.clone()))),
            }
        }
        results
    }

    /// Sends a batch within the limits of SQS in one call. Returns the result of each message.
    ///
    /// # Errors
    /// What the caller may conclude for every message, if the call failed as a whole.
    pub(super) async fn send_batch(
        &self,
        messages: &[SendMessage<'_>],
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<Result<String, SendError>>, SendError> {
        let Some(first) = messages.first() else { return Ok(Vec::new()) };
        if Instant::now() >= deadline {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let entries = messages.iter().enumerate().map(|(position, message)| Entry::new(position, message)).collect();
        let request = SendMessageBatch { queue_url: first.queue_url, entries };
        let body = serde_json::to_vec(&request).map_err(|error| SendError::NotSent { reason: error.to_string() })?;
        let progress = Progress::default();
        let answer = self.0.call("AmazonSQS.SendMessageBatch", body, trace_header, deadline, &progress).await;
        let bytes = messages.iter().map(|message| message.message_body.len()).sum();
        let answer = answer.map_err(|error| not_sent(error, &progress, bytes))?;
        let unreadable = |error| SendError::Unknown { reason: format!("the answer of SQS cannot be read: {error}") };
        let answer: Answer<'_> = serde_json::from_slice(&answer).map_err(unreadable)?;
        // The answer is that of the last attempt, so only an earlier one can have stored an entry that failed in it.
        progress.ended(|| true);
        let may_be_stored = progress.may_have_arrived();
        let results = messages.iter().enumerate();
        Ok(results.map(|(position, message)| answer.of(position, message, may_be_stored)).collect())
    }
}

impl Answer<'_> {
    /// Returns the result of an entry. `may_be_stored`: by an earlier attempt, whose answer was lost.
    fn of(&self, position: usize, message: &SendMessage<'_>, may_be_stored: bool) -> Result<String, SendError> {
        let id = position.to_string();
        let text = message.message_body;
        if let Some(stored) = self.successful.iter().flatten().find(|stored| stored.id == id) {
            let output = SendMessageOutput::builder().set_md5_of_message_body(stored.md5.as_deref().map(str::to_owned));
            let output = output.set_message_id(stored.message_id.as_deref().map(str::to_owned)).build();
            return proof(&body_md5(text), output);
        }
        let Some(failed) = self.failed.iter().flatten().find(|failed| failed.id == id) else {
            return Err(SendError::Unknown { reason: "the answer does not name the entry".to_owned() });
        };
        let (code, message) = (failed.code.as_deref().unwrap_or_default(), failed.message.as_deref());
        let reason = format!("{code}: {}", message.unwrap_or_default());
        if may_be_stored {
            return Err(SendError::Unknown { reason });
        }
        if !failed.sender_fault {
            // SQS reports a message "that can't be enqueued", for a reason that may pass.
            return Err(SendError::NotSent { reason });
        }
        let mut metadata = ErrorMetadata::builder().code(code);
        if let Some(message) = message {
            metadata = metadata.message(message);
        }
        Err(conclude(&metadata.build(), reason, text.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_has_at_most_ten_entries_and_one_mebibyte() {
        let check = |lengths: &[usize], expected: &[usize]| {
            let batches = batches(lengths);
            assert_eq!(batches.iter().map(Range::len).collect::<Vec<_>>(), expected, "{lengths:?}");
            let positions: Vec<_> = batches.into_iter().flatten().collect();
            assert_eq!(positions, (0..lengths.len()).collect::<Vec<_>>(), "each once, in order");
        };
        check(&[], &[]);
        check(&[1], &[1]);
        check(&[1; 10], &[10]);
        check(&[1; 25], &[10, 10, 5]);
        check(&[BATCH_BYTES_MAX; 3], &[1, 1, 1]);
        check(&[BATCH_BYTES_MAX / 2; 3], &[2, 1]);
        check(&[1, BATCH_BYTES_MAX, 1], &[1, 1, 1]);
        check(&[BATCH_BYTES_MAX - 1, 1, 1], &[2, 1]);
    }
}
