//! The broker's credentials in Secrets Manager, read on first use and again when the broker refuses them, as after a
//! rotation.

use std::time::Duration;

use aws_sdk_secretsmanager::error::{DisplayErrorContext, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use serde::Deserialize;

use super::config::Login;
use crate::broker_url::Credentials;

/// Longest wait for Secrets Manager, connection included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Credentials that could not be read. The text is for operators and contains nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CredentialsError {
    #[error("Secrets Manager did not answer in time")]
    Timeout,
    #[error("{}", DisplayErrorContext(.0.as_ref()))]
    Sdk(Box<SdkError<GetSecretValueError>>),
    #[error(r#"the secret is not a JSON object with the strings "username" and "password""#)]
    Malformed,
}

/// Reads the user name and the password.
pub(crate) async fn read(login: &Login) -> Result<Credentials, CredentialsError> {
    let (arn, sdk, endpoint) = match login {
        Login::Fixed(credentials) => return Ok(credentials.clone()),
        Login::Secret { arn, sdk, endpoint } => (arn, sdk, endpoint),
    };
    // The shared configuration may have an endpoint for SQS only.
    let mut config = aws_sdk_secretsmanager::config::Builder::from(sdk.as_ref());
    config.set_endpoint_url(endpoint.clone());
    let client = aws_sdk_secretsmanager::Client::from_conf(config.build());
    let answer = tokio::time::timeout(FETCH_TIMEOUT, client.get_secret_value().secret_id(arn).send()).await;
    let answer =
        answer.map_err(|_| CredentialsError::Timeout)?.map_err(|error| CredentialsError::Sdk(Box::new(error)))?;
    parse(answer.secret_string.as_deref().unwrap_or_default())
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
