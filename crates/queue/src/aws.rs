//! The AWS SDK configuration of a function: Region, credentials and endpoint from the environment, TLS on ring, short
//! timeouts.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

pub use aws_config::SdkConfig;

/// Longest wait for a connection. Within a Region it takes milliseconds; longer means lost packets.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest attempt, connection and answer included. A socket that died while the function was frozen costs at most
/// this, which leaves time for another attempt within API Gateway's 30 seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(2_500);

/// Longest idle time after which a connection is reused: peers and NAT tables may drop older ones silently.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

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
    let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
    let (key, secret) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"));
    let (Some(region), Some(key), Some(secret)) = (&region, &key, &secret) else {
        let needed = [("AWS_REGION", region), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
        let missing = needed.into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        return Err(AwsConfigError::Missing(missing));
    };
    let endpoint = get("AWS_ENDPOINT_URL_SQS").or_else(|| get("AWS_ENDPOINT_URL"));
    if endpoint.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        return Err(AwsConfigError::Endpoint);
    }
    let credentials = Credentials::new(key, secret, get("AWS_SESSION_TOKEN"), None, "environment");
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
        .region(Region::new(region.clone()))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .http_client(http_client)
        .timeout_config(timeouts)
        .retry_config(retries);
    config.set_endpoint_url(endpoint);
    Ok(config.build())
}

/// An incomplete or invalid AWS environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AwsConfigError {
    /// These variables are not set or empty.
    #[error("not set: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// The endpoint override is not a URL.
    #[error("AWS_ENDPOINT_URL_SQS or AWS_ENDPOINT_URL is not an http:// or https:// URL")]
    Endpoint,
}
