//! [`SqsClient`]: calls of SQS as AWS JSON 1.0, without the SDK's orchestrator.
//!
//! Each operation has a file: `send_message`, `send_message_batch`, `change_visibility` and `redrive_policy`.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluicegate_aws_client::{AwsEnvironment, AwsService, CallError, Progress, Service};
use tokio::time::Instant;

/// A client of SQS. Clones share its connections.
#[derive(Clone, Debug)]
pub struct SqsClient(pub(super) Arc<AwsService>);

/// A call without a result. A send has a [`SendError`](crate::SendError) instead.
#[derive(Debug, thiserror::Error)]
pub enum SqsError {
    /// The last attempt failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The request cannot be written.
    #[error("the request cannot be written: {0}")]
    Request(#[source] serde_json::Error),
    /// The answer is not that of the operation.
    #[error("the answer of SQS cannot be read: {0}")]
    Answer(#[source] serde_json::Error),
}

impl SqsClient {
    /// Creates a client without calling SQS. See [`AwsService::new`].
    #[must_use]
    pub fn new(environment: &AwsEnvironment) -> Self {
        Self(Arc::new(AwsService::new(environment, Service::Sqs)))
    }

    /// Calls an operation that may be carried out twice, and reads its answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        target: &'static str,
        request: &impl Serialize,
        trace_header: Option<&str>,
        deadline: Instant,
    ) -> Result<T, SqsError> {
        let body = serde_json::to_vec(request).map_err(SqsError::Request)?;
        let answer = self.0.call(target, body, trace_header, deadline, &Progress::default()).await?;
        serde_json::from_slice(&answer).map_err(SqsError::Answer)
    }
}
