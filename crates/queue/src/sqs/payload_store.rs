//! [`PayloadStore`]: the bucket of the payloads that are larger than the queue accepts.

use std::sync::Arc;

use sluicegate_aws_client::{AwsEnvironment, CallError, S3Client, S3Error};
use sluicegate_envelope::fresh_id;
use tokio::time::Instant;

use super::pointer::{OBJECT_BYTES_MAX, Pointer};
use crate::SendError;

/// The start of every key.
const PREFIX: &str = "payloads/";

/// A bucket for payloads. Clones share its connections.
#[derive(Clone, Debug)]
pub struct PayloadStore(Arc<S3Client>);

impl PayloadStore {
    /// Creates a store in this bucket without calling S3. See [`S3Client::new`].
    #[must_use]
    pub fn new(environment: &AwsEnvironment, bucket: &str) -> Self {
        Self(Arc::new(S3Client::new(environment, bucket)))
    }

    /// Reads the body of a message, not past `deadline`.
    ///
    /// # Errors
    /// That of the last attempt, or the object is larger than [`OBJECT_BYTES_MAX`].
    pub async fn get(&self, key: &str, deadline: Instant) -> Result<Vec<u8>, S3Error> {
        Ok(self.0.get(key, OBJECT_BYTES_MAX, deadline).await?.into())
    }

    /// Stores the body of a message under a new key, not past `deadline`; returns the pointer to it.
    ///
    /// # Errors
    /// The message is not on the queue. Its object may be in the bucket, which deletes it in time.
    pub async fn put(&self, body: String, deadline: Instant) -> Result<Pointer, SendError> {
        let key = format!("{PREFIX}{}", fresh_id());
        match self.0.put(&key, body.into(), deadline).await {
            Ok(()) => Ok(Pointer { bucket: self.0.bucket().to_owned(), key }),
            Err(error) => {
                let reason = format!("the payload was not stored in bucket {}: {error}", self.0.bucket());
                Err(match error {
                    // An operator must fix the bucket or the permission.
                    CallError::Answered { status: 403 | 404, .. } => {
                        SendError::Refused { reason, message_at_fault: false }
                    }
                    _ => SendError::PayloadNotStored { reason },
                })
            }
        }
    }
}
