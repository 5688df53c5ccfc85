//! ChangeMessageVisibilityBatch: hides received messages for a time.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::batch_entry::FailedEntry;
use super::client::{SqsClient, SqsError};

/// A received message to hide.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct VisibilityEntry<'a> {
    /// An id that is unique in the batch.
    pub id: String,
    /// The receipt handle of this receive.
    pub receipt_handle: &'a str,
    /// How long the message is hidden from now on, in seconds.
    #[serde(rename = "VisibilityTimeout")]
    pub visibility_timeout_s: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeMessageVisibilityBatch<'a> {
    queue_url: &'a str,
    entries: &'a [VisibilityEntry<'a>],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    failed: Option<Vec<FailedEntry>>,
}

impl SqsClient {
    /// Hides at most [`BATCH_ENTRIES_MAX`](super::BATCH_ENTRIES_MAX) messages of a queue. Returns the entries that SQS
    /// refused.
    ///
    /// # Errors
    /// No entry is known to be hidden.
    pub async fn change_visibility(
        &self,
        queue_url: &str,
        entries: &[VisibilityEntry<'_>],
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Result<Vec<FailedEntry>, SqsError> {
        let request = ChangeMessageVisibilityBatch { queue_url, entries };
        let target = "AmazonSQS.ChangeMessageVisibilityBatch";
        let answer: Answer = self.call(target, &request, trace_header, deadline).await?;
        Ok(answer.failed.unwrap_or_default())
    }
}
