//! [`Login`]: a broker's credentials, fixed or in Secrets Manager. A secret is read on first use and again when the
//! broker refuses its credentials, as after a rotation.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use sluicegate_aws_client::{AwsEnvironment, SecretsManagerClient, SecretsManagerError};
use tokio::time::Instant;

use crate::broker_url::Credentials;

/// Longest wait for Secrets Manager, connection included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// The origin of the credentials.
#[derive(Clone)]
pub(crate) enum Login {
    /// The configuration contains them.
    #[cfg_attr(not(feature = "rabbitmq"), expect(dead_code, reason = "the URL of RabbitMQ alone contains them"))]
    Fixed(Credentials),
    /// A Secrets Manager secret contains them.
    Secret { arn: String, environment: Box<AwsEnvironment> },
}

/// Credentials that could not be read. The text is for operators and contains nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("Secrets Manager: {0}")]
    Unread(#[from] SecretsManagerError),
    #[error(r#"the secret is not a JSON object with the strings "username" and "password""#)]
    Malformed,
}

/// The credentials last read.
#[derive(Default)]
pub(crate) struct CachedCredentials(Mutex<Option<Credentials>>);

impl CachedCredentials {
    /// Returns the cached credentials, or reads them again if they are the `refused` ones.
    pub(crate) async fn get(
        &self,
        login: &Login,
        refused: Option<&Credentials>,
    ) -> Result<Credentials, CredentialsError> {
        let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(remembered) = remembered.filter(|remembered| Some(remembered) != refused) {
            return Ok(remembered);
        }
        let read = read(login).await?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }
}

/// Reads the user name and the password.
async fn read(login: &Login) -> Result<Credentials, CredentialsError> {
    let (arn, environment) = match login {
        Login::Fixed(credentials) => return Ok(credentials.clone()),
        Login::Secret { arn, environment } => (arn, environment),
    };
    parse(&secret_text(arn, environment).await?)
}

/// Reads the text of a secret.
pub(crate) async fn secret_text(arn: &str, environment: &AwsEnvironment) -> Result<String, SecretsManagerError> {
    let deadline = Instant::now() + FETCH_TIMEOUT;
    SecretsManagerClient::new(environment).secret_text(arn, deadline).await
}

fn parse(text: &str) -> Result<Credentials, CredentialsError> {
    #[derive(Deserialize)]
    struct Secret {
        username: String,
        password: String,
    }
    // The error of serde_json can quote the text.
    let secret: Secret = serde_json::from_str(text).map_err(|_| CredentialsError::Malformed)?;
    Ok(Credentials { username: secret.username, password: secret.password })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_and_never_quoted() {
        let read = parse(r#"{"username": "u", "password": "p", "engine": "rabbitmq"}"#).unwrap();
        assert_eq!((read.username.as_str(), read.password.as_str()), ("u", "p"));
        for wrong in ["", "pass-word", r#"{"username": "u", "password": 7777}"#, r#"{"user": "pass-word"}"#] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("pass-word") && !error.contains("7777"), "{error}");
        }
    }
}
