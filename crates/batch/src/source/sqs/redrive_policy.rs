//! [`RedrivePolicies`]: the dead-letter queue and the `maxReceiveCount` of each queue, fetched once and cached.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate_queue::SendError;
use sluicegate_queue::sqs::SqsError;
use tokio::time::Instant;

/// How long a redrive policy that could not be read is not read again. A batch may have 10,000 failing messages, and
/// each would make a call.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// The redrive policy of a queue.
#[derive(Clone)]
pub(super) struct RedrivePolicy {
    pub(super) dead_letter_url: String,
    /// `maxReceiveCount`, if it can be read.
    pub(super) receive_count_max: Option<u32>,
}

/// A queue whose redrive policy is not known. Nothing was sent.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum RedrivePolicyError {
    #[error("{0:?} is not the ARN of a queue")]
    Arn(String),
    #[error("the redrive policy cannot be read: {0}")]
    Unavailable(String),
    #[error("the queue has no dead-letter queue")]
    NoDeadLetterQueue,
    #[error("the redrive policy is not JSON")]
    NotJson,
    #[error("the redrive policy has no dead-letter queue ARN")]
    NoTarget,
}

impl From<RedrivePolicyError> for SendError {
    fn from(error: RedrivePolicyError) -> Self {
        let reason = error.to_string();
        match error {
            RedrivePolicyError::Unavailable(_) => Self::NotSent { reason },
            _ => Self::Refused { reason, message_at_fault: false },
        }
    }
}

/// The redrive policies read so far, by the ARN of the source queue.
#[derive(Default)]
pub(super) struct RedrivePolicies {
    read: Mutex<HashMap<String, Read>>,
    /// Held while a policy is read, so that the messages of a batch make one call.
    reading: tokio::sync::Mutex<()>,
}

/// The result of a call, and its time.
type Read = (Result<RedrivePolicy, RedrivePolicyError>, Instant);

impl RedrivePolicies {
    /// Returns the redrive policy of the queue with the ARN `source_arn`. If it is not known, `read` reads the text of
    /// the queue with a URL.
    pub(super) async fn get(
        &self,
        endpoint: Option<&str>,
        source_arn: &str,
        read: impl AsyncFnOnce(&str) -> Result<Option<String>, SqsError>,
    ) -> Result<RedrivePolicy, RedrivePolicyError> {
        if let Some(known) = self.known(source_arn) {
            return known;
        }
        let _reading = self.reading.lock().await;
        if let Some(known) = self.known(source_arn) {
            return known;
        }
        let policy = async {
            let text = read(&queue_url(endpoint, source_arn)?).await;
            let text = text.map_err(|error| RedrivePolicyError::Unavailable(error.to_string()))?;
            parse(&text.ok_or(RedrivePolicyError::NoDeadLetterQueue)?, endpoint)
        };
        let policy = policy.await;
        if let Err(error) = &policy {
            tracing::warn!(queue = source_arn, reason = %error, "no redrive policy");
        }
        self.lock().insert(source_arn.to_owned(), (policy.clone(), Instant::now()));
        policy
    }

    fn known(&self, source_arn: &str) -> Option<Result<RedrivePolicy, RedrivePolicyError>> {
        let read = self.lock();
        let (policy, at) = read.get(source_arn)?;
        (policy.is_ok() || at.elapsed() < READ_AGAIN_AFTER).then(|| policy.clone())
    }

    /// Removes the policy of a queue from the cache, because it may have been replaced.
    pub(super) fn forget(&self, source_arn: &str) {
        self.lock().remove(source_arn);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Read>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(policy: &str, endpoint: Option<&str>) -> Result<RedrivePolicy, RedrivePolicyError> {
    let policy: serde_json::Value = serde_json::from_str(policy).map_err(|_| RedrivePolicyError::NotJson)?;
    let arn = policy["deadLetterTargetArn"].as_str().ok_or(RedrivePolicyError::NoTarget)?;
    // SQS returns the value as it was set: a number, or a string from some tools.
    let receives = &policy["maxReceiveCount"];
    let receives = receives.as_u64().or_else(|| receives.as_str()?.parse().ok());
    let receive_count_max = receives.and_then(|receives| receives.try_into().ok());
    Ok(RedrivePolicy { dead_letter_url: queue_url(endpoint, arn)?, receive_count_max })
}

/// Returns the URL of the queue with this ARN. The URL is composed locally, because `GetQueueUrl` needs a call and a
/// permission that SAM's policies for pollers and senders do not grant. SQS takes the account and the name from the
/// path alone.
pub(super) fn queue_url(endpoint: Option<&str>, arn: &str) -> Result<String, RedrivePolicyError> {
    let mut parts = arn.splitn(6, ':');
    let mut part = || parts.next().filter(|part| !part.is_empty());
    let (Some("arn"), Some(partition), Some("sqs"), Some(region), Some(account), Some(name)) =
        (part(), part(), part(), part(), part(), part())
    else {
        return Err(RedrivePolicyError::Arn(arn.to_owned()));
    };
    let domain = match partition {
        "aws-cn" => "amazonaws.com.cn",
        _ => "amazonaws.com",
    };
    match endpoint {
        Some(endpoint) => Ok(format!("{}/{account}/{name}", endpoint.trim_end_matches('/'))),
        None => Ok(format!("https://sqs.{region}.{domain}/{account}/{name}")),
    }
}
