//! The queue of a mapping: receive, delete, visibility timeout.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::record::Delivery;
use crate::sqs_client::SqsClient;
use sqs_emulator::ApiError;

/// Largest number of messages of one receive and of one batch delete.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html>
pub(super) const RECEIVE_MESSAGES_MAX: usize = 10;

/// The wait of a long poll, in seconds: the longest that SQS allows. Same page.
pub(super) const LONG_POLL_S: u64 = 20;

/// Attempts of a delete that fails on the service's side.
const DELETE_ATTEMPTS: u32 = 4;

/// The pause before the second attempt. It doubles.
const DELETE_PAUSE: Duration = Duration::from_millis(100);

/// The visibility timeout of a queue created without one.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const VISIBILITY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// The part of the SQS API that a mapping needs: input and answer as in AWS JSON 1.0.
pub trait SqsApi: Clone + Send + Sync + 'static {
    /// Calls `action`. Dropping the future of a waiting `ReceiveMessage` must not lose a message.
    fn call(&self, action: &str, input: Value) -> impl Future<Output = Result<Value, ApiError>> + Send;
}

impl SqsApi for SqsClient {
    async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        SqsClient::call(self, action, input).await
    }
}

pub(super) struct PolledQueue<Q> {
    queue: Q,
    url: String,
}

impl<Q: SqsApi> PolledQueue<Q> {
    pub(super) fn new(queue: Q, url: String) -> PolledQueue<Q> {
        PolledQueue { queue, url }
    }

    /// Receives up to `count` messages.
    pub(super) async fn receive(&self, count: usize, wait_s: u64) -> Result<Vec<Value>, ApiError> {
        let input = json!({
            "QueueUrl": self.url,
            "MaxNumberOfMessages": count.min(RECEIVE_MESSAGES_MAX),
            "WaitTimeSeconds": wait_s,
            "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"],
        });
        let mut answer = self.queue.call("ReceiveMessage", input).await?;
        match answer["Messages"].take() {
            Value::Array(messages) => Ok(messages),
            _ => Ok(Vec::new()),
        }
    }

    /// Deletes the messages. Returns those that could not be deleted by position, with the reason.
    pub(super) async fn delete(&self, deliveries: &[&Delivery]) -> BTreeMap<usize, String> {
        let mut left: BTreeMap<usize, String> = (0..deliveries.len()).map(|index| (index, String::new())).collect();
        let mut refused = BTreeMap::new();
        let mut pause = DELETE_PAUSE;
        for attempt in 1..=DELETE_ATTEMPTS {
            let indexes: Vec<usize> = left.keys().copied().collect();
            for chunk in indexes.chunks(RECEIVE_MESSAGES_MAX) {
                self.delete_chunk(deliveries, chunk, &mut left, &mut refused).await;
            }
            if left.is_empty() {
                break;
            }
            if attempt < DELETE_ATTEMPTS {
                sleep(pause).await;
                pause *= 2;
            }
        }
        refused.extend(left);
        for (index, reason) in &refused {
            let message_id = deliveries.get(*index).map(|delivery| &*delivery.message_id);
            tracing::warn!(message_id, reason, "a processed message was not deleted: it will be delivered again");
        }
        refused
    }

    /// Deletes one chunk: removes settled messages from `left`; a sender's fault, such as an expired receipt handle,
    /// goes to `refused`.
    async fn delete_chunk(
        &self,
        deliveries: &[&Delivery],
        chunk: &[usize],
        left: &mut BTreeMap<usize, String>,
        refused: &mut BTreeMap<usize, String>,
    ) {
        let entry = |index: &usize| {
            let receipt_handle = deliveries.get(*index).map(|delivery| &delivery.receipt_handle);
            json!({ "Id": index.to_string(), "ReceiptHandle": receipt_handle })
        };
        let entries: Vec<Value> = chunk.iter().map(entry).collect();
        let input = json!({ "QueueUrl": self.url, "Entries": entries });
        let answer = match self.queue.call("DeleteMessageBatch", input).await {
            Ok(answer) => answer,
            Err(error) => {
                left.extend(chunk.iter().map(|index| (*index, error.to_string())));
                return;
            }
        };
        let failed = answer["Failed"].as_array().map(Vec::as_slice).unwrap_or_default();
        let failed: BTreeMap<usize, &Value> =
            failed.iter().filter_map(|failure| Some((failure["Id"].as_str()?.parse().ok()?, failure))).collect();
        for index in chunk {
            match failed.get(index) {
                None => drop(left.remove(index)),
                Some(failure) => {
                    let text = |name: &str| failure[name].as_str().unwrap_or_default().to_owned();
                    let reason = format!("{}: {}", text("Code"), text("Message"));
                    if failure["SenderFault"] == true {
                        left.remove(index);
                        refused.insert(*index, reason);
                    } else {
                        left.insert(*index, reason);
                    }
                }
            }
        }
    }

    /// Returns the queue's visibility timeout.
    pub(super) async fn visibility_timeout(&self) -> Duration {
        let input = json!({ "QueueUrl": self.url, "AttributeNames": ["VisibilityTimeout"] });
        let answer = self.queue.call("GetQueueAttributes", input).await.unwrap_or_default();
        let seconds = answer["Attributes"]["VisibilityTimeout"].as_str().and_then(|text| text.parse().ok());
        seconds.map_or(VISIBILITY_TIMEOUT_DEFAULT, Duration::from_secs)
    }
}
