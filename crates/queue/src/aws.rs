//! AWS as a function sees it: Region, credentials and endpoint from the environment, TLS on ring, short timeouts.
//!
//! [`AwsEnvironment`] is for the calls of the ingress, which are on the path of every request and go past the SDK's
//! orchestrator (`service`). [`sdk_config`] configures the clients of the SDK for everything else.

mod environment;
mod retry;
mod secrets_manager;
pub(crate) mod service;
pub(crate) mod signer;
#[cfg(test)]
mod tests;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use aws_config::SdkConfig;

use crate::http_client::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT};

pub use self::environment::AwsEnvironment;
pub use self::secrets_manager::{SecretsManagerClient, SecretsManagerError};

/// Longest attempt, connection and answer included. A socket that died while the function was frozen costs at most
/// this, which leaves time for another attempt within API Gateway's 30 seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

const ATTEMPTS_MAX: u32 = 3;
const BACKOFF_INITIAL: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// Builds the SDK's configuration from `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ACCESS_KEY_ID`,
/// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, and `AWS_ENDPOINT_URL_SQS` (or `AWS_ENDPOINT_URL`), as Lambda sets
/// them. Profile files, the metadata service and STS are not consulted: a function does not need them, and they cost
/// start-up time. TLS is rustls on ring, because AWS-LC gathers CPU jitter for up to half a second at a small memory
/// size (<https://github.com/smithy-lang/smithy-rs/discussions/4541>).
///
/// Clients of one configuration share its connections. The SDK reads the system's root certificates when the first
/// client is created, so create it at init, where Lambda provides a full CPU.
///
/// # Errors
/// Variables are missing, or the endpoint is not an http(s) URL.
pub fn sdk_config(lookup: impl Fn(&str) -> Option<String>) -> Result<SdkConfig, AwsConfigError> {
    Ok(AwsEnvironment::read(lookup)?.sdk_config())
}

impl AwsEnvironment {
    /// Returns the SDK's configuration for this environment. Its endpoint is that of SQS.
    #[must_use]
    pub fn sdk_config(&self) -> SdkConfig {
        let http_client = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build_https();
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(ATTEMPTS_MAX)
            .with_initial_backoff(BACKOFF_INITIAL)
            .with_max_backoff(BACKOFF_MAX);
        let mut config = SdkConfig::builder()
            // Pinned: `latest()` would change timeouts and retries with an update of the lock file.
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new(self.region.clone()))
            .credentials_provider(SharedCredentialsProvider::new(self.credentials.clone()))
            .http_client(http_client)
            .timeout_config(timeouts)
            .retry_config(retries);
        config.set_endpoint_url(self.sqs_endpoint.clone());
        config.build()
    }
}

/// An incomplete or invalid AWS environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsConfigError {
    /// These variables are not set or empty.
    #[error("not set: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// The endpoint override, in this variable or the common one, is not a URL.
    #[error("{0} or AWS_ENDPOINT_URL is not an http:// or https:// URL")]
    Endpoint(&'static str),
}

/// Codes of throttling, by SQS or KMS on its behalf.
const THROTTLING_CODES: [&str; 6] = [
    "RequestThrottled",
    "KMS.ThrottlingException",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
];

/// Returns whether an error code means that a service throttled the request: nothing was done, and a later attempt may
/// succeed.
pub(crate) fn is_throttling(code: &str) -> bool {
    THROTTLING_CODES.contains(&code)
}
