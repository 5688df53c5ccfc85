//! [`AwsEnvironment`]: Region, credentials and endpoints, as Lambda sets them in the environment.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_credential_types::Credentials;
use rustls::ClientConfig;

use crate::ATTEMPT_TIMEOUT;
#[cfg(feature = "in-process")]
use crate::http_client::Dialer;
use crate::http_client::tls_config;

/// An AWS service. All but S3 speak AWS JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Amazon SQS.
    Sqs,
    /// AWS Secrets Manager.
    SecretsManager,
    /// Amazon DynamoDB.
    DynamoDb,
    /// Amazon S3.
    #[cfg(feature = "s3")]
    S3,
}

impl Service {
    const ALL: &'static [Self] = &[
        Self::Sqs,
        Self::SecretsManager,
        Self::DynamoDb,
        #[cfg(feature = "s3")]
        Self::S3,
    ];

    /// Returns the name in endpoints and signatures.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::SecretsManager => "secretsmanager",
            Self::DynamoDb => "dynamodb",
            #[cfg(feature = "s3")]
            Self::S3 => "s3",
        }
    }

    /// Returns the media type of AWS JSON 1.0 or 1.1, or of an object of S3.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Sqs | Self::DynamoDb => "application/x-amz-json-1.0",
            Self::SecretsManager => "application/x-amz-json-1.1",
            #[cfg(feature = "s3")]
            Self::S3 => "application/octet-stream",
        }
    }

    /// Returns the variable with the endpoint of this service alone.
    const fn endpoint_variable(self) -> &'static str {
        match self {
            Self::Sqs => "AWS_ENDPOINT_URL_SQS",
            Self::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
            Self::DynamoDb => "AWS_ENDPOINT_URL_DYNAMODB",
            #[cfg(feature = "s3")]
            Self::S3 => "AWS_ENDPOINT_URL_S3",
        }
    }
}

/// The AWS environment of a function. Clones share the TLS configuration, so the root certificates are read once.
#[derive(Clone, Debug)]
pub struct AwsEnvironment {
    region: String,
    credentials: Credentials,
    /// The endpoint of each service, if it is not that of the Region, in the order of [`Service::ALL`].
    endpoints: [Option<String>; Service::ALL.len()],
    pub(crate) attempt_timeout: Duration,
    tls: Arc<OnceLock<Result<Arc<ClientConfig>, rustls::Error>>>,
    #[cfg(feature = "in-process")]
    pub(crate) dialer: Option<Dialer>,
}

impl AwsEnvironment {
    /// Reads `AWS_REGION` (or `AWS_DEFAULT_REGION`), `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// and `AWS_ENDPOINT_URL_SQS`, `AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_ENDPOINT_URL_DYNAMODB` and, with the
    /// feature `s3`, `AWS_ENDPOINT_URL_S3` (or `AWS_ENDPOINT_URL`).
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
        let mut endpoints = [const { None }; Service::ALL.len()];
        for (endpoint, service) in endpoints.iter_mut().zip(Service::ALL.iter().copied()) {
            let variable = service.endpoint_variable();
            *endpoint = get(variable).or_else(|| get("AWS_ENDPOINT_URL"));
            let is_url = |url: &String| url.starts_with("http://") || url.starts_with("https://");
            if !endpoint.as_ref().is_none_or(is_url) {
                return Err(AwsConfigError::Endpoint(variable));
            }
        }
        Ok(Self {
            region: region.clone(),
            credentials: Credentials::new(key, secret, get("AWS_SESSION_TOKEN"), None, "environment"),
            endpoints,
            attempt_timeout: ATTEMPT_TIMEOUT,
            tls: Arc::default(),
            #[cfg(feature = "in-process")]
            dialer: None,
        })
    }

    /// Connects to a peer in the same process in place of the endpoints.
    #[cfg(feature = "in-process")]
    #[must_use]
    pub fn with_dialer(mut self, dialer: Dialer) -> Self {
        self.dialer = Some(dialer);
        self
    }

    /// Sets the longest attempt of a call, connection and answer included.
    #[must_use]
    pub fn with_attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Returns the Region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Returns the credentials.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Returns the endpoint that is set for a service, if any.
    #[must_use]
    pub fn endpoint(&self, service: Service) -> Option<&str> {
        self.endpoints[service as usize].as_deref()
    }

    /// Returns the URL of a service: the endpoint that is set, or that of the Region.
    #[must_use]
    pub fn endpoint_url(&self, service: Service) -> String {
        let of_region = || format!("https://{}.{}.{}", service.name(), self.region, dns_suffix(&self.region));
        self.endpoint(service).map_or_else(of_region, str::to_owned)
    }

    /// Returns the TLS configuration. The first call reads the root certificates.
    ///
    /// # Errors
    /// As [`tls_config`].
    pub fn tls(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        self.tls.get_or_init(tls_config).clone()
    }
}

/// Returns the domain of a Region's partition.
///
/// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>; a test compares it
/// with the SDK's.
pub(crate) fn dns_suffix(region: &str) -> &'static str {
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
