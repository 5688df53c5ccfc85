//! Payloads in S3, read and written with the credentials of the queue.

use std::time::Duration;

use sluicegate_queue::sqs::{OBJECT_BYTES_MAX, PayloadError, PayloadStore, Pointer, SdkConfig};
use tokio::time::Instant;

use crate::Error;

/// Longest read or write of a payload, all attempts with their pauses.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Returns the body that a pointer names, for the message `id`.
pub(super) async fn read(config: &SdkConfig, id: &str, pointer: &Pointer) -> Result<Vec<u8>, Error> {
    let object = async {
        let store = PayloadStore::of(config, &pointer.bucket).await?;
        store.get(&pointer.key, Instant::now() + TIME_MAX).await
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
    let store = PayloadStore::of(config, bucket).await.map_err(|error| not_written(error.to_string()))?;
    let written = store.put(text.to_owned(), Instant::now() + TIME_MAX).await;
    written.map_err(|error| not_written(error.to_string()))
}
