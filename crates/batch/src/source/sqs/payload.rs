//! Payloads in S3: a message attribute marks the body of a message as a pointer to its payload, in the format of the
//! SQS Extended Client Libraries.
//!
//! A payload is fetched before its handler is called, for that delivery only, and at any size: the libraries may be set
//! to send every payload through S3. Only the buckets in `PAYLOAD_BUCKET` are read, so a message cannot name another
//! one. Objects are not deleted, because a message may be delivered again; the lifecycle rule of the bucket does that.

use std::sync::OnceLock;
use std::time::Duration;

use sluicegate_aws_client::{AwsEnvironment, CallError, S3Client, S3Error};
use sluicegate_envelope::Envelope;
use sluicegate_queue::sqs::Pointer;
use tokio::time::Instant;

use super::config::PAYLOAD_BUCKET;
use super::envelope::envelope;
use super::event::Record;
use crate::source::adapter::FetchError;

/// Largest payload that is fetched, in bytes. The ingress writes at most 6 MiB, in base64 and with its envelope; other
/// senders are limited by the memory of the function, which may fetch one payload for each of its concurrent handlers.
pub(super) const OBJECT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest wait for a payload, which is also never past the deadline of the handlers.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The buckets that payloads are read from.
#[derive(Default)]
pub(crate) struct Payloads {
    buckets: Vec<Bucket>,
}

struct Bucket {
    name: String,
    environment: AwsEnvironment,
    /// Created on first use, because a client reads the system's root certificates.
    client: OnceLock<S3Client>,
}

impl Payloads {
    /// Reads `PAYLOAD_BUCKET`, and adds configuration errors to `mistakes`.
    pub(super) fn from_env(lookup: impl Fn(&str) -> Option<String>, mistakes: &mut Vec<String>) -> Self {
        let names = lookup(PAYLOAD_BUCKET).unwrap_or_default();
        if names.trim().is_empty() {
            return Self::default();
        }
        let environment = match AwsEnvironment::read(lookup) {
            Ok(environment) => environment,
            Err(error) => {
                mistakes.push(format!("{PAYLOAD_BUCKET} is set: {error}"));
                return Self::default();
            }
        };
        Self::new(&environment, names.split_whitespace())
    }

    pub(crate) fn new(environment: &AwsEnvironment, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let bucket = |name: String| Bucket { name, environment: environment.clone(), client: OnceLock::new() };
        Self { buckets: names.into_iter().map(Into::into).map(bucket).collect() }
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

/// Returns the start of a text from a message.
fn shown(text: &str) -> &str {
    &text[..text.floor_char_boundary(256)]
}
