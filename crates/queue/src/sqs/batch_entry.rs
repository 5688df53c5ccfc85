//! The entries of batch requests: how many, and one that SQS did not carry out.

use serde::Deserialize;

/// The most entries of one batch request.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-batch-api-actions.html>
pub const BATCH_ENTRIES_MAX: usize = 10;

/// An entry of a batch that failed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct FailedEntry {
    /// The id of the entry in the request.
    pub id: String,
    /// The code of the error.
    pub code: Option<String>,
    /// The text of SQS.
    pub message: Option<String>,
    /// Whether the request is at fault.
    #[serde(default)]
    pub sender_fault: bool,
}
