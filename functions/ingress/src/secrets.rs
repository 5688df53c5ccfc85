//! The secrets that decide who may pass: one Secrets Manager secret, cached, several live values each.
//!
//! They are read on the first request that needs them. After [`REFRESH_AFTER`] a request starts a refresh that runs beside
//! its own work and answers from the cached values meanwhile; a credential nobody knows causes one refresh at most every
//! [`UNKNOWN_REFRESH_AFTER`], so that a new key works at once and a flood of bad ones costs nothing. A refresh that fails
//! leaves the cached values in place.
//!
//! The secret is a JSON object: a list under each `x-secret` name of the contract. API keys are
//! `{"sha256": "<hex>", "principal": "…", "scopes": ["…"]}`; signing secrets are strings as the provider shows them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use sluicegate_contract::{Contract, SecurityScheme};
use sluicegate_webhook::{Scheme, Secret};
use tokio::{sync::Mutex, time::Instant};

/// Age at which cached secrets are read again beside a request.
pub const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// Least age of the cached secrets for an unknown credential to have them read again.
pub(crate) const UNKNOWN_REFRESH_AFTER: Duration = Duration::from_secs(30);

/// Longest wait for Secrets Manager, connection included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the secret's text comes from.
pub trait SecretSource: Send + Sync {
    /// Reads the current text.
    fn fetch(&self) -> impl Future<Output = Result<String, FetchError>> + Send;
}

/// The secret could not be read; the text is for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the secret could not be read: {0}")]
pub struct FetchError(pub String);

/// Secrets Manager, through its SDK.
pub struct SecretsManager {
    client: aws_sdk_secretsmanager::Client,
    secret_id: String,
}

impl SecretsManager {
    /// A client for one secret; nothing is read yet. `endpoint` overrides the service's address.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig, secret_id: String, endpoint: Option<String>) -> Self {
        // The shared configuration may carry an endpoint that is meant for SQS alone.
        let mut config = aws_sdk_secretsmanager::config::Builder::from(config);
        config.set_endpoint_url(endpoint);
        Self { client: aws_sdk_secretsmanager::Client::from_conf(config.build()), secret_id }
    }
}

impl SecretSource for SecretsManager {
    async fn fetch(&self) -> Result<String, FetchError> {
        let request = self.client.get_secret_value().secret_id(&self.secret_id).send();
        let answer = tokio::time::timeout(FETCH_TIMEOUT, request)
            .await
            .map_err(|_| FetchError("no answer in time".to_owned()))?
            .map_err(|error| FetchError(aws_sdk_secretsmanager::error::DisplayErrorContext(&error).to_string()))?;
        answer.secret_string.ok_or_else(|| FetchError("it is binary; a JSON text is expected".to_owned()))
    }
}

/// One API key: only its digest is stored.
#[derive(Debug, Clone, Deserialize)]
pub struct ApiKey {
    /// SHA-256 of the key.
    #[serde(deserialize_with = "hex_digest")]
    pub sha256: [u8; 32],
    /// Who the key stands for.
    pub principal: String,
    /// What the key allows; `*` allows everything.
    #[serde(default)]
    pub scopes: Vec<String>,
}

fn hex_digest<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut digest = [0; 32];
    let valid = text.len() == 64
        && text.is_ascii()
        && digest
            .iter_mut()
            .enumerate()
            .all(|(at, byte)| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map(|value| *byte = value).is_ok());
    if valid { Ok(digest) } else { Err(serde::de::Error::custom("sha256 is not 64 hex digits")) }
}

/// Every live secret, by its `x-secret` name.
#[derive(Debug, Default)]
pub struct Keyring {
    api_keys: BTreeMap<String, Vec<ApiKey>>,
    signing: BTreeMap<String, Vec<Secret>>,
}

impl Keyring {
    /// Reads the secret's text for the schemes of the contract. An entry that cannot be read is logged by its name and
    /// position, and left out: one typing error must not shut every caller out.
    ///
    /// # Errors
    /// When the text is not a JSON object.
    pub fn parse(contract: &Contract, text: &str) -> Result<Self, FetchError> {
        // serde_json's message can quote the text, which is secret.
        let document: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| FetchError("it is not a JSON object".to_owned()))?;
        let mut keyring = Self::default();
        let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
        let names: BTreeSet<&str> = requirements.map(|requirement| requirement.scheme.as_str()).collect();
        for scheme in names.into_iter().filter_map(|name| contract.scheme(name)) {
            match scheme {
                SecurityScheme::ApiKey { secret, .. } => {
                    let keys = entries(&document, secret, |value| ApiKey::deserialize(value).map_err(|_| "API key"));
                    keyring.api_keys.insert(secret.clone(), keys);
                }
                SecurityScheme::Signature { secret, preset, .. } => {
                    let secrets = entries(&document, secret, |value| {
                        let text = value.as_str().ok_or("text")?;
                        let scheme = Scheme::named(preset).ok_or("secret of a known preset")?;
                        scheme.secret(text).map_err(|_| "secret of its scheme")
                    });
                    keyring.signing.insert(secret.clone(), secrets);
                }
            }
        }
        Ok(keyring)
    }

    /// The live API keys under that name.
    #[must_use]
    pub fn api_keys(&self, name: &str) -> &[ApiKey] {
        self.api_keys.get(name).map_or(&[], Vec::as_slice)
    }

    /// The live signing secrets under that name.
    #[must_use]
    pub fn signing(&self, name: &str) -> &[Secret] {
        self.signing.get(name).map_or(&[], Vec::as_slice)
    }
}

fn entries<T>(
    document: &BTreeMap<String, Value>,
    name: &str,
    read: impl Fn(&Value) -> Result<T, &'static str>,
) -> Vec<T> {
    let Some(Value::Array(values)) = document.get(name) else {
        tracing::error!(secret = name, "the secret has no list of this name; nobody can pass by it");
        return Vec::new();
    };
    let read_one = |(position, value)| {
        read(value)
            .inspect_err(|expected| tracing::error!(secret = name, position, "this entry is not a valid {expected}"))
            .ok()
    };
    values.iter().enumerate().filter_map(read_one).collect()
}

/// The cache in front of a [`SecretSource`].
pub struct Secrets<S> {
    source: S,
    contract: &'static Contract,
    cached: Mutex<Option<Cached>>,
}

struct Cached {
    keyring: Arc<Keyring>,
    /// When the source was last asked, whether or not it answered.
    asked_at: Instant,
}

impl<S: SecretSource> Secrets<S> {
    /// An empty cache.
    pub fn new(source: S, contract: &'static Contract) -> Self {
        Self { source, contract, cached: Mutex::new(None) }
    }

    /// The keyring, read from the source if this is the first call that succeeds.
    ///
    /// # Errors
    /// When nothing is cached and the source fails.
    pub async fn keyring(&self) -> Result<Arc<Keyring>, FetchError> {
        let mut cached = self.cached.lock().await;
        if let Some(cached) = &*cached {
            return Ok(Arc::clone(&cached.keyring));
        }
        let keyring = self.read().await?;
        *cached = Some(Cached { keyring: Arc::clone(&keyring), asked_at: Instant::now() });
        Ok(keyring)
    }

    /// Reads the source again if the cached values are of that age; `None` when they are younger or the source failed.
    pub async fn refresh_after(&self, age: Duration) -> Option<Arc<Keyring>> {
        let mut cached = self.cached.lock().await;
        let entry = cached.as_mut().filter(|entry| entry.asked_at.elapsed() >= age)?;
        entry.asked_at = Instant::now();
        match self.read().await {
            Ok(keyring) => {
                entry.keyring = Arc::clone(&keyring);
                Some(keyring)
            }
            Err(error) => {
                tracing::error!(error = %error, "secrets were not refreshed; the cached ones stay in use");
                None
            }
        }
    }

    async fn read(&self) -> Result<Arc<Keyring>, FetchError> {
        Keyring::parse(self.contract, &self.source.fetch().await?).map(Arc::new)
    }
}
