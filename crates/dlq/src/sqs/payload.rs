//! Payloads in S3, read and written with the credentials of the queue.

use std::time::Duration;

use sluicegate_queue::sqs::{OBJECT_BYTES_MAX, PayloadStore, Pointer, S3Error, SdkConfig};
use tokio::time::Instant;

use super::environment::{self, EnvironmentError};
use crate::Error;

/// Longest read or write of a payload, all attempts with their pauses.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The lengths of a bucket's name.
///
/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>
const BUCKET_CHARS: std::ops::RangeInclusive<usize> = 3..=63;

/// A bucket that cannot be used, or a payload that was not read.
#[derive(Debug, thiserror::Error)]
enum PayloadError {
    /// The name is part of a URL, so others are not asked for.
    #[error("{0:?} is not the name of a bucket")]
    Bucket(String),
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// S3 refused, or was not reached.
    #[error(transparent)]
    S3(#[from] S3Error),
}

/// Returns the body that a pointer names, for the message `id`.
pub(super) async fn read(config: &SdkConfig, id: &str, pointer: &Pointer) -> Result<Vec<u8>, Error> {
    let object = async {
        let store = store(config, &pointer.bucket).await?;
        Ok(store.get(&pointer.key, Instant::now() + TIME_MAX).await?)
    };
    let not_read = |error: PayloadError| {
        Error::not_sent(id, format!("its payload is in {pointer}, and could not be read: {error}"))
    };
    object.await.map_err(not_read)
}

/// Writes a body to a bucket, for the message `id`; returns the pointer to it.
pub(super) async fn write(config: &SdkConfig, id: &str, bucket: &str, body: &[u8]) -> Result<Pointer, Error> {
    let not_written = |reason: String| Error::not_sent(id, format!("its payload was not written to S3: {reason}"));
    if body.len() > OBJECT_BYTES_MAX {
        let bytes = body.len();
        return Err(not_written(format!(
            "it has {bytes} bytes, more than the {OBJECT_BYTES_MAX} that a consumer reads"
        )));
    }
    let text = std::str::from_utf8(body).map_err(|error| not_written(error.to_string()))?;
    let store = store(config, bucket).await.map_err(|error| not_written(error.to_string()))?;
    let written = store.put(text.to_owned(), Instant::now() + TIME_MAX).await;
    written.map_err(|error| not_written(error.to_string()))
}

/// Returns the bucket that a message names.
async fn store(config: &SdkConfig, bucket: &str) -> Result<PayloadStore, PayloadError> {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
    if !BUCKET_CHARS.contains(&bucket.len()) || !bucket.bytes().all(is_legal) {
        return Err(PayloadError::Bucket(bucket.chars().take(*BUCKET_CHARS.end()).collect()));
    }
    Ok(PayloadStore::new(&environment::read(config).await?, bucket))
}
