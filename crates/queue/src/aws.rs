//! The SDK's configuration from the environment: Region, credentials and endpoint, TLS on ring, short timeouts.
//!
//! It is for the command. The calls of the functions go past the SDK's orchestrator (`sluicegate-aws-client`), with the
//! same timeouts and retries.

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use sluicegate_aws_client::http_client::{CONNECT_TIMEOUT, POOL_IDLE_TIMEOUT};
use sluicegate_aws_client::{ATTEMPT_TIMEOUT, ATTEMPTS_MAX, BACKOFF_INITIAL, BACKOFF_MAX, Service};

pub use aws_config::SdkConfig;
pub use sluicegate_aws_client::{AwsConfigError, AwsEnvironment};

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
    let environment = AwsEnvironment::read(lookup)?;
    let http_client = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build_https();
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(BACKOFF_INITIAL)
        .with_max_backoff(BACKOFF_MAX);
    let mut config = SdkConfig::builder()
        // Pinned: `latest()` would change timeouts and retries with an update of the lock file.
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(environment.region().to_owned()))
        .credentials_provider(SharedCredentialsProvider::new(environment.credentials().clone()))
        .http_client(http_client)
        .timeout_config(timeouts)
        .retry_config(retries);
    config.set_endpoint_url(environment.endpoint(Service::Sqs).map(str::to_owned));
    Ok(config.build())
}
