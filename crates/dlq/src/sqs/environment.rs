//! What the clients without the SDK need of an SDK configuration.

use aws_credential_types::provider::{ProvideCredentials, error::CredentialsError};
use sluicegate_queue::chain;
use sluicegate_queue::sqs::{AwsConfigError, AwsEnvironment, SdkConfig};

/// A configuration without usable credentials or Region.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// No source has credentials.
    #[error("no credentials: {}", chain(.0))]
    Credentials(#[source] CredentialsError),
    /// The configuration is incomplete.
    #[error(transparent)]
    Configuration(#[from] AwsConfigError),
}

/// Returns the Region, the endpoint and the present credentials of a configuration.
///
/// # Errors
/// It has no credentials or no Region.
pub async fn read(config: &SdkConfig) -> Result<AwsEnvironment, EnvironmentError> {
    let none = || CredentialsError::not_loaded("the configuration has no source of credentials");
    let credentials = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await,
        None => Err(none()),
    };
    let credentials = credentials.map_err(EnvironmentError::Credentials)?;
    Ok(AwsEnvironment::read(|name| {
        let value = match name {
            "AWS_REGION" => config.region().map(AsRef::as_ref),
            "AWS_ACCESS_KEY_ID" => Some(credentials.access_key_id()),
            "AWS_SECRET_ACCESS_KEY" => Some(credentials.secret_access_key()),
            "AWS_SESSION_TOKEN" => credentials.session_token(),
            "AWS_ENDPOINT_URL" => config.endpoint_url(),
            _ => None,
        };
        value.map(str::to_owned)
    })?)
}
