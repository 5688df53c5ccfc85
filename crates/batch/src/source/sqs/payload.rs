//! Payloads in S3: a message attribute marks the body of a message as a pointer to its payload, in the format of the
//! SQS Extended Client Libraries.
//!
//! A payload is fetched before its handler is called, for that delivery only, and at any size: the libraries may be set
//! to send every payload through S3. How many are in memory at a time depends on the memory of the function. Only the
//! buckets in `PAYLOAD_BUCKET` are read, so a message cannot name another one. Objects are not deleted, because a
//! message may be delivered again; the lifecycle rule of the bucket does that.

use std::sync::OnceLock;
use std::time::Duration;

use sluicegate_aws_client::{AwsEnvironment, CallError, S3Client, S3Error};
use sluicegate_envelope::Envelope;
use sluicegate_queue::sqs::{OBJECT_BYTES_MAX, Pointer};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::config::PAYLOAD_BUCKET;
use super::envelope::envelope;
use super::event::Record;
use crate::source::adapter::FetchError;

/// Memory of the function for each payload that is in memory, in MB: four times [`OBJECT_BYTES_MAX`], for the parts as
/// they arrive, the object, its event, and what the handler makes of it.
const MEMORY_MB_PER_PAYLOAD: usize = 64;

/// The variable with the memory of the function in MB, which Lambda sets.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html>
const MEMORY_MB: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// The memory of the smallest function, for a runtime that does not set [`MEMORY_MB`].
const MEMORY_MB_MIN: usize = 128;

/// Longest wait for a payload, which is also never past the deadline of the handlers.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The buckets that payloads are read from.
pub(crate) struct Payloads {
    buckets: Vec<Bucket>,
    /// A permit for each payload that may be in memory.
    room: Semaphore,
}

impl Default for Payloads {
    fn default() -> Self {
        Self { buckets: Vec::new(), room: Semaphore::new(at_once(None)) }
    }
}

struct Bucket {
    name: String,
    environment: AwsEnvironment,
    /// Created on first use, because a client reads the system's root certificates.
    client: OnceLock<S3Client>,
}

impl Payloads {
    /// Reads `PAYLOAD_BUCKET`.
    pub(super) fn from_env(environment: &AwsEnvironment, lookup: impl Fn(&str) -> Option<String>) -> Self {
        Self::new(environment, lookup(PAYLOAD_BUCKET).unwrap_or_default().split_whitespace())
    }

    pub(crate) fn new(environment: &AwsEnvironment, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let bucket = |name: String| Bucket { name, environment: environment.clone(), client: OnceLock::new() };
        Self { buckets: names.into_iter().map(Into::into).map(bucket).collect(), ..Self::default() }
    }

    /// Reads [`MEMORY_MB`], which limits how many payloads are in memory.
    pub(super) fn with_memory(self, lookup: impl Fn(&str) -> Option<String>) -> Self {
        let memory_mb = lookup(MEMORY_MB).and_then(|text| text.parse().ok());
        Self { room: Semaphore::new(at_once(memory_mb)), ..self }
    }

    /// Waits until there is room for a payload, not past `until`. The room is free again when the permit is dropped.
    pub(super) async fn room(&self, until: Instant) -> Option<SemaphorePermit<'_>> {
        timeout_at(until, self.room.acquire()).await.ok()?.ok()
    }

    /// Fetches the payload of a message that has a pointer, and decodes it.
    ///
    /// # Errors
    /// A retry if the payload may be there later, otherwise a rejection. A missing permission can be granted, and is
    /// also what S3 answers for a missing object without the permission to list the bucket.
    pub(super) async fn fetch(
        &self,
        record: &Record<'_>,
        accepts_raw: bool,
        until: Instant,
    ) -> Result<Envelope, FetchError> {
        let reject = |reason: String| Err(FetchError::Reject(reason));
        let pointer = match Pointer::parse(record.body.as_deref().unwrap_or_default()) {
            Ok(pointer) => pointer,
            Err(error) => return reject(error.to_string()),
        };
        let Some(bucket) = self.buckets.iter().find(|bucket| bucket.name == pointer.bucket) else {
            return reject(format!("{PAYLOAD_BUCKET} does not name its bucket {:?}", shown(&pointer.bucket)));
        };
        let client = bucket.client.get_or_init(|| S3Client::new(&bucket.environment, &bucket.name));
        let deadline = until.min(Instant::now() + FETCH_TIMEOUT);
        let object = match client.get(&pointer.key, OBJECT_BYTES_MAX, deadline).await {
            Ok(object) => object,
            Err(error) => {
                let reason = format!("{:?} in bucket {}: {error}", shown(&pointer.key), bucket.name);
                return Err(match error {
                    S3Error::TooLarge { .. } | S3Error::Call(CallError::Request(_)) => FetchError::Reject(reason),
                    S3Error::Call(CallError::Answered { status: 404, .. }) => FetchError::Reject(reason),
                    S3Error::Call(_) => FetchError::Retry(reason),
                });
            }
        };
        let Ok(text) = std::str::from_utf8(&object) else { return reject("it is not UTF-8".to_owned()) };
        envelope(record, text, accepts_raw).or_else(|error| reject(format!("it is not an event: {error}")))
    }
}

/// Returns how many payloads may be in memory.
fn at_once(memory_mb: Option<usize>) -> usize {
    (memory_mb.unwrap_or(MEMORY_MB_MIN) / MEMORY_MB_PER_PAYLOAD).clamp(1, Semaphore::MAX_PERMITS)
}

/// Returns the start of a text from a message.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(256)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_function_limits_how_many_payloads_are_in_it() {
        for (memory_mb, expected) in
            [(None, 2), (Some("128"), 2), (Some("256"), 4), (Some("10240"), 160), (Some("1"), 1), (Some("x"), 2)]
        {
            let lookup = |name: &str| memory_mb.filter(|_| name == MEMORY_MB).map(str::to_owned);
            let room = Payloads::default().with_memory(lookup).room.available_permits();
            assert_eq!(room, expected, "{memory_mb:?}");
        }
    }
}
