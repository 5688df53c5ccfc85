//! The secret in Secrets Manager. Only this module names its SDK.
//!
//! A write is conditional: the new version is stored under a label of this command, and `AWSCURRENT` moves to it only
//! from the version that the change was applied to. The service refuses the move if another writer was first; the
//! change is then applied to the newer version.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_secretsmanager::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
};

use sluicegate_queue::chain;

use super::document::{Change, Document};
use crate::CommandError;
use crate::aws;

/// The label of a version that is not current yet. The next write moves it.
const STAGE: &str = "SLUICEGATE";
const CURRENT: &str = "AWSCURRENT";
/// Attempts of a write while other writers are first.
const ATTEMPTS_MAX: u32 = 20;
/// The pause after the n-th attempt is a random time of up to n times this.
const PAUSE_MS: u64 = 25;

/// One secret.
pub(super) struct Store {
    client: Client,
    id: String,
}

/// A version of the secret.
struct Version {
    document: Document,
    id: String,
}

impl Store {
    /// Returns the secret of this ARN or name, without calling the service.
    pub(super) fn new(config: &SdkConfig, id: String) -> Self {
        Self { client: Client::new(config), id }
    }

    /// Returns the secret's ARN or name.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Reads the current document.
    ///
    /// # Errors
    /// The secret cannot be read, or has another form.
    pub(super) async fn read(&self) -> Result<Document, CommandError> {
        self.current().await.map(|version| version.document)
    }

    /// Applies a change to the current document and stores it, unless it changes nothing. `change` may run several
    /// times.
    ///
    /// # Errors
    /// The secret cannot be read or written, or has another form; `change` fails; other writers are always first.
    pub(super) async fn update(
        &self,
        change: impl Fn(&mut Document) -> Result<Change, String>,
    ) -> Result<Change, CommandError> {
        let mut overtaken = String::new();
        for attempt in 1..=ATTEMPTS_MAX {
            let Version { mut document, id: before } = self.current().await?;
            let changed = change(&mut document).map_err(|reason| self.because(reason))?;
            if !changed.is_new {
                return Ok(changed);
            }
            let text = document.text().map_err(|reason| self.because(reason))?;
            let put = self.client.put_secret_value().secret_id(&self.id).secret_string(text).version_stages(STAGE);
            let put = put.send().await.map_err(|error| self.failed("PutSecretValue", &error))?;
            let stored = put.version_id().unwrap_or_default();
            let stage = self.client.update_secret_version_stage().secret_id(&self.id).version_stage(CURRENT);
            let stage = stage.remove_from_version_id(&before).move_to_version_id(stored);
            match stage.send().await {
                Ok(_) => return Ok(changed),
                // The move may have succeeded in an earlier attempt of the SDK whose answer was lost.
                Err(_) if self.current().await?.id == stored => return Ok(changed),
                Err(error) if is_overtaken(&error) => {
                    overtaken = self.failed("UpdateSecretVersionStage", &error);
                    let pause = u64::from(uuid::Uuid::now_v7().as_bytes()[15]) * PAUSE_MS * u64::from(attempt) / 256;
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(error) => return Err(self.failed("UpdateSecretVersionStage", &error).into()),
            }
        }
        Err(format!("{overtaken}; other writers were first {ATTEMPTS_MAX} times: nothing was changed, try again")
            .into())
    }

    async fn current(&self) -> Result<Version, CommandError> {
        let answer = self.client.get_secret_value().secret_id(&self.id).send().await;
        let answer = answer.map_err(|error| self.failed("GetSecretValue", &error))?;
        let text = answer
            .secret_string()
            .ok_or_else(|| self.because("its value is binary: check that --stack or --secret-id is this API's"))?;
        let document = Document::parse(text).map_err(|reason| self.because(reason))?;
        Ok(Version { document, id: answer.version_id().unwrap_or_default().to_owned() })
    }

    fn because(&self, reason: impl std::fmt::Display) -> String {
        format!("secret {}: {reason}", self.id)
    }

    /// Returns the service's text, or the reason why it was not reached. Neither has the value.
    fn failed<E, R>(&self, call: &str, error: &SdkError<E, R>) -> String
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug,
    {
        let reason = match (error.code(), error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            _ => chain(error),
        };
        self.because(format!("{call}: {reason}\nhelp: check --stack or --secret-id, and {}", aws::ADVICE))
    }
}

/// Returns whether `AWSCURRENT` is on another version, or a later write has taken the label of the new one.
fn is_overtaken<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    let codes = ["InvalidParameterException", "InvalidRequestException", "ResourceNotFoundException"];
    error.code().is_some_and(|code| codes.contains(&code))
}
