//! Signed requests to AWS's JSON services on hyper, without the SDK's orchestrator.
//!
//! [`AwsService`] calls one service: it signs, times out, retries and corrects a wrong clock as the SDK's standard mode
//! does. [`AwsEnvironment`] has Region, credentials and endpoints as Lambda sets them. [`SecretsManagerClient`] reads
//! secrets, and `S3Client` (feature `s3`) writes, reads and lists the objects of a bucket. [`http_client`] is the
//! HTTP/1.1 client below them, which other GETs use too.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use sluicegate_aws_client::{AwsEnvironment, AwsService, Progress, Service};
//! use tokio::time::Instant;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let environment = AwsEnvironment::read(|name| std::env::var(name).ok())?;
//! let dynamodb = AwsService::new(&environment, Service::DynamoDb);
//! let deadline = Instant::now() + Duration::from_secs(5);
//! let answer = dynamodb.call("DynamoDB_20120810.ListTables", "{}", None, deadline, &Progress::default()).await?;
//! println!("{}", String::from_utf8_lossy(&answer));
//! # Ok(())
//! # }
//! ```
//!
//! It is for functions, where the SDK's orchestrator is most of the cost of a call. The command uses the SDK.

mod clock;
mod endpoint;
mod environment;
pub mod http_client;
mod presigned;
mod progress;
mod retry;
#[cfg(feature = "s3")]
mod s3;
mod secrets_manager;
mod service;
mod signer;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

pub use self::environment::{AwsConfigError, AwsEnvironment, Service};
pub use self::presigned::PresignedGet;
pub use self::progress::Progress;
pub use self::retry::is_throttling;
#[cfg(feature = "s3")]
pub use self::s3::{Listing, OBJECT_ATTEMPT_TIMEOUT, S3Client, S3Error};
pub use self::secrets_manager::{SecretsManagerClient, SecretsManagerError};
pub use self::service::{AwsService, CallError};
pub use self::signer::push_hex;

/// Longest attempt, connection and answer included. A socket that died while the function was frozen costs at most
/// this, which leaves time for another attempt within API Gateway's 30 seconds.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The most attempts of a call.
pub const ATTEMPTS_MAX: u32 = 3;

/// Longest wait before the second attempt.
pub const BACKOFF_INITIAL: Duration = Duration::from_millis(50);

/// Longest wait between attempts.
pub const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Returns an error with its causes, which the `Display` of most errors omits.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
