//! The broker's credentials in Secrets Manager, read on first use and again when the broker refuses them, as after a
//! rotation.

use std::time::Duration;

use serde::Deserialize;
use sluicegate_aws_client::{SecretsManagerClient, SecretsManagerError};
use tokio::time::Instant;

use super::config::Login;
use crate::broker_url::Credentials;

/// Longest wait for Secrets Manager, connection included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Credentials that could not be read. The text is for operators and contains nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("Secrets Manager: {0}")]
    Unread(#[from] SecretsManagerError),
    #[error(r#"the secret is not a JSON object with the strings "username" and "password""#)]
    Malformed,
}

/// Reads the user name and the password.
pub(crate) async fn read(login: &Login) -> Result<Credentials, CredentialsError> {
    let (arn, environment) = match login {
        Login::Fixed(credentials) => return Ok(credentials.clone()),
        Login::Secret { arn, environment } => (arn, environment),
    };
    let deadline = Instant::now() + FETCH_TIMEOUT;
    parse(&SecretsManagerClient::new(environment).secret_text(arn, deadline).await?)
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
