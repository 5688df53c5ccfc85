//! [`SecretsManagerClient`]: reads the text of a secret.

use tokio::time::Instant;

use crate::{AwsEnvironment, AwsService, CallError, Progress, Service};

/// A client of Secrets Manager.
#[derive(Debug)]
pub struct SecretsManagerClient(AwsService);

/// A secret that could not be read; the text is for the operator and does not quote the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretsManagerError {
    /// Secrets Manager did not return it.
    #[error("{0}")]
    Call(String),
    /// The answer has no text.
    #[error("it is binary; a JSON text is expected")]
    Binary,
}

impl From<CallError> for SecretsManagerError {
    fn from(error: CallError) -> Self {
        Self::Call(error.to_string())
    }
}

impl SecretsManagerClient {
    /// Creates a client without calling the service. With an https endpoint it reads the root certificates, unless
    /// another client of the environment has.
    #[must_use]
    pub fn new(environment: &AwsEnvironment) -> Self {
        Self(AwsService::new(environment, Service::SecretsManager))
    }

    /// Opens a connection for the first call. See [`AwsService::connect`].
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(&self) -> Result<(), SecretsManagerError> {
        Ok(self.0.connect().await?)
    }

    /// Returns the current text of the secret with this ARN or name, not past `deadline`.
    ///
    /// # Errors
    /// [`SecretsManagerError`].
    pub async fn secret_text(&self, id: &str, deadline: Instant) -> Result<String, SecretsManagerError> {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Request<'a> {
            secret_id: &'a str,
        }
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Answer {
            secret_string: Option<String>,
        }
        let not_json = |_| SecretsManagerError::Call("the answer of Secrets Manager is not JSON".to_owned());
        let body = serde_json::to_vec(&Request { secret_id: id }).map_err(not_json)?;
        let answer = self.0.call("secretsmanager.GetSecretValue", body, None, deadline, &Progress::default()).await?;
        // The error of serde_json can quote the secret.
        serde_json::from_slice::<Answer>(&answer).map_err(not_json)?.secret_string.ok_or(SecretsManagerError::Binary)
    }
}
