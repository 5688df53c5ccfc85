//! [`AwsEnvironment`]: Region, credentials and endpoints, as Lambda sets them in the environment.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use rustls::ClientConfig;

use super::{ATTEMPT_TIMEOUT, AwsConfigError};
use crate::http_client::tls_config;

/// The AWS environment of a function. Clones share the TLS configuration, so the root certificates are read once.
#[derive(Clone, Debug)]
pub struct AwsEnvironment {
    pub(super) region: String,
    pub(super) credentials: Credentials,
    /// The endpoint of SQS, if it is not that of the Region.
    pub(crate) sqs_endpoint: Option<String>,
    /// The endpoint of Secrets Manager, if it is not that of the Region.
    pub(crate) secrets_manager_endpoint: Option<String>,
    pub(super) attempt_timeout: Duration,
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, rustls::Error>>>,
}

impl AwsEnvironment {
    /// Reads `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_ENDPOINT_URL_SQS` and `AWS_ENDPOINT_URL_SECRETS_MANAGER` (or `AWS_ENDPOINT_URL`).
    ///
    /// # Errors
    /// Variables are missing, or an endpoint is not an http(s) URL.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, AwsConfigError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let region = get("AWS_REGION").or_else(|| get("AWS_DEFAULT_REGION"));
        let (key, secret) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"));
        let (Some(region), Some(key), Some(secret)) = (&region, &key, &secret) else {
            let needed = [("AWS_REGION", region), ("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)];
            let missing = needed.into_iter().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
            return Err(AwsConfigError::Missing(missing));
        };
        let endpoint = |service: &'static str| {
            let url = get(service).or_else(|| get("AWS_ENDPOINT_URL"));
            match &url {
                Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                    Err(AwsConfigError::Endpoint(service))
                }
                _ => Ok(url),
            }
        };
        Ok(Self {
            region: region.clone(),
            credentials: Credentials::new(key, secret, get("AWS_SESSION_TOKEN"), None, "environment"),
            sqs_endpoint: endpoint("AWS_ENDPOINT_URL_SQS")?,
            secrets_manager_endpoint: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER")?,
            attempt_timeout: ATTEMPT_TIMEOUT,
            tls: Arc::default(),
        })
    }

    /// Sets the longest attempt of a call, connection and answer included.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Returns the URL of a service in this Region.
    pub(crate) fn endpoint_of(&self, service: &str) -> String {
        format!("https://{service}.{}.{}", self.region, dns_suffix(&self.region))
    }

    /// Returns the TLS configuration. The first call reads the root certificates.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.tls.get_or_init(tls_config).clone()
    }
}

/// Returns the domain of a Region's partition.
///
/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>; a test compares it
/// with the SDK's.
fn dns_suffix(region: &str) -> &'static str {
    const PARTITIONS: [(&str, &str); 6] = [
        ("cn-", "amazonaws.com.cn"),
        ("us-iso-", "c2s.ic.gov"),
        ("us-isob-", "sc2s.sgov.gov"),
        ("us-isof-", "csp.hci.ic.gov"),
        ("eu-isoe-", "cloud.adc-e.uk"),
        ("eusc-", "amazonaws.eu"),
    ];
    let partition = PARTITIONS.iter().find(|(prefix, _)| region.starts_with(prefix));
    partition.map_or("amazonaws.com", |(_, suffix)| suffix)
}
