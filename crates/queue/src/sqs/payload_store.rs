//! [`PayloadStore`]: the bucket of the payloads that are larger than the queue accepts.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use sluicegate_aws_client::{AwsEnvironment, CallError, S3Client, S3Error};
use sluicegate_envelope::fresh_id;
use tokio::time::Instant;

use super::pointer::{OBJECT_BYTES_MAX, Pointer};
use crate::{SendError, chain};

/// The start of every key.
const PREFIX: &str = "payloads/";

/// The lengths of a bucket's name.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
const BUCKET_CHARS: std::ops::RangeInclusive<usize> = 3..=63;

/// A store that cannot be used, or a payload that was not read.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// The name is part of a URL, so others are not asked for.
    #[error("{0:?} is not the name of a bucket")]
    Bucket(String),
    /// There are no credentials.
    #[error("no credentials: {}", chain(.0))]
    Credentials(#[source] CredentialsError),
    /// S3 refused, or was not reached.
    #[error(transparent)]
    S3(#[from] S3Error),
}

/// A bucket for payloads. Clones share its connections.
#[derive(Clone, Debug)]
pub struct PayloadStore(Arc<S3Client>);

impl PayloadStore {
    /// Creates a store in this bucket without calling S3. See [`S3Client::new`].
    #[must_use]
    pub fn new(environment: &AwsEnvironment, bucket: &str) -> Self {
        Self(Arc::new(S3Client::new(environment, bucket)))
    }

    /// Creates a store in the bucket that a message names, with the Region, the endpoint and the present credentials of
    /// a configuration.
    ///
    /// # Errors
    /// The name is not that of a bucket, or there are no credentials.
    pub async fn of(config: &SdkConfig, bucket: &str) -> Result<Self, PayloadError> {
        let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        if !BUCKET_CHARS.contains(&bucket.len()) || !bucket.bytes().all(is_legal) {
            return Err(PayloadError::Bucket(bucket.chars().take(*BUCKET_CHARS.end()).collect()));
        }
        let none = || CredentialsError::not_loaded("the configuration has no source of credentials");
        let credentials = match config.credentials_provider() {
            Some(provider) => provider.provide_credentials().await,
            None => Err(none()),
        };
        let credentials = credentials.map_err(PayloadError::Credentials)?;
        let environment = AwsEnvironment::read(|name| {
            let value = match name {
                "AWS_REGION" => config.region().map(AsRef::as_ref),
                "AWS_ACCESS_KEY_ID" => Some(credentials.access_key_id()),
                "AWS_SECRET_ACCESS_KEY" => Some(credentials.secret_access_key()),
                "AWS_SESSION_TOKEN" => credentials.session_token(),
                "AWS_ENDPOINT_URL" => config.endpoint_url(),
                _ => None,
            };
            value.map(str::to_owned)
        });
        let environment =
            environment.map_err(|error| PayloadError::Credentials(CredentialsError::not_loaded(error)))?;
        Ok(Self::new(&environment, bucket))
    }

    /// Reads the body of a message, not past `deadline`.
    ///
    /// # Errors
    /// That of the last attempt, or the object is larger than [`OBJECT_BYTES_MAX`].
    pub async fn get(&self, key: &str, deadline: Instant) -> Result<Vec<u8>, PayloadError> {
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
