//! The secrets that decide who may pass: one Secrets Manager secret, cached, several live values each.
//!
//! They are read on the first request that needs them, and relied on for [`REFRESH_AFTER`]. The first request after that
//! reads them again before it is decided, however long the execution environment was idle, so a value that was removed is
//! refused from then on. All requests that wait share one fetch. Where fresh secrets could admit a request that is about to
//! be refused, they are read again at most every [`UNKNOWN_REFRESH_AFTER`], so a new value works at once and a flood of bad
//! ones costs nothing.
//!
//! While the store does not answer, or holds no JSON object, the cached values stay in use for [`OUTAGE_GRACE`] more, and
//! the store is asked again at most every [`RETRY_AFTER`]. The same holds for a single list that is missing or has no usable
//! entry: it is a mistake of an edit, and does not shut every caller out at once. After that, requests that rely on it
//! cannot be decided. An empty list is not a mistake: it admits no caller.
//!
//! The secret is a JSON object: a list under each `x-secret` name of the contract. API keys are
//! `{"sha256": "<hex>", "principal": "…", "scopes": ["…"]}`; signing secrets are strings as the provider shows them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use sluicegate_contract::{Contract, SecurityScheme};
use sluicegate_envelope::Envelope;
use sluicegate_webhook::{Scheme, Secret};
use tokio::time::Instant;

use crate::rejection::UNAVAILABLE_RETRY_AFTER_S;

/// Age at which cached secrets are read again before a decision relies on them.
pub const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// How much longer than [`REFRESH_AFTER`] cached secrets are used while the store gives no newer ones. Ours: longer than
/// most outages, and the longest that a removed value can pass while the store is away.
pub const OUTAGE_GRACE: Duration = Duration::from_secs(3_600);

/// Least age of the cached secrets to have them read again for a request that they do not admit.
pub(crate) const UNKNOWN_REFRESH_AFTER: Duration = Duration::from_secs(30);

/// Shortest time between a fetch that failed and the next one.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(UNAVAILABLE_RETRY_AFTER_S);

/// Longest wait for the secret store, connection included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the secret's text comes from.
pub trait SecretSource: Send + Sync {
    /// Reads the current text. It is given up after [`FETCH_TIMEOUT`].
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
        let answer = self.client.get_secret_value().secret_id(&self.secret_id).send().await;
        let answer = answer
            .map_err(|error| FetchError(aws_sdk_secretsmanager::error::DisplayErrorContext(&error).to_string()))?;
        answer.secret_string.ok_or_else(|| FetchError("it is binary; a JSON text is expected".to_owned()))
    }
}

/// When something happened, on two clocks.
///
/// An execution environment is frozen between requests, and which of its clocks goes on meanwhile is not documented. The
/// age is the greater one, so that neither a clock that stood still nor one that was set back makes secrets look young.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    unix_s: i64,
}

impl Moment {
    /// The present, when the clock on the wall shows `now_unix_s` (seconds since 1970).
    pub(crate) fn now(now_unix_s: i64) -> Self {
        Self { at: Instant::now(), unix_s: now_unix_s }
    }

    fn later(self, by: Duration) -> Self {
        let by_s = i64::try_from(by.as_secs()).unwrap_or(i64::MAX);
        Self { at: self.at + by, unix_s: self.unix_s.saturating_add(by_s) }
    }

    /// How long ago it was at `now`; zero if it is later.
    fn age(self, now: Self) -> Duration {
        let wall_s = u64::try_from(now.unix_s.saturating_sub(self.unix_s)).unwrap_or_default();
        now.at.saturating_duration_since(self.at).max(Duration::from_secs(wall_s))
    }
}

/// One API key: only its digest is stored.
#[derive(Debug, Clone)]
pub(crate) struct ApiKey {
    /// SHA-256 of the key.
    pub(crate) sha256: [u8; 32],
    /// Who the key stands for; fit for an attribute of an event.
    pub(crate) principal: String,
    /// What the key allows; `*` allows everything.
    pub(crate) scopes: Vec<String>,
}

impl ApiKey {
    /// Reads an entry of the secret. A reason quotes nothing of it.
    fn read(entry: &Value) -> Result<Self, Reason> {
        let entry = entry.as_object().ok_or("it is not an object with sha256, principal and scopes")?;
        let text = |name| entry.get(name).and_then(Value::as_str);
        let sha256 = text("sha256").and_then(digest).ok_or("sha256 is not 64 hexadecimal digits")?;
        let principal = text("principal").filter(|text| !text.is_empty()).ok_or("principal is not a text, or empty")?;
        // The builder has the limits of an event's attributes. A principal beyond them would fail each of its requests.
        Envelope::builder("id", "/", "type").principal(principal).build().map_err(|error| error.to_string())?;
        let scopes = match entry.get("scopes") {
            None => Some(Vec::new()),
            Some(scopes) => scopes.as_array().and_then(|all| {
                let texts = all.iter().map(|scope| scope.as_str().map(str::to_owned));
                texts.collect()
            }),
        };
        let scopes = scopes.ok_or("scopes is not a list of texts")?;
        Ok(Self { sha256, principal: principal.to_owned(), scopes })
    }
}

/// The 32 bytes that 64 hexadecimal digits stand for, digits alone: `u8::from_str_radix` would take `+1`.
fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    let (pairs, []) = hex.as_bytes().as_chunks() else { return None };
    if pairs.len() != digest.len() {
        return None;
    }
    let digit = |hex: u8| char::from(hex).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(digest)
}

type Reason = Cow<'static, str>;

/// Something wrong with the secret, for the log. It quotes nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The name of the list.
    pub(crate) list: String,
    /// The place in the list, from 0; `None`: the list itself.
    pub(crate) position: Option<usize>,
    /// What is wrong.
    pub(crate) reason: Reason,
}

/// The live values of one list.
#[derive(Debug, Clone)]
struct List<T> {
    values: Vec<T>,
    read_at: Moment,
}

type Lists<T> = BTreeMap<String, List<T>>;

/// Every live secret, by its `x-secret` name. The default has no list at all: it cannot decide on any credentials.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    api_keys: Lists<ApiKey>,
    signing: Lists<Secret>,
}

/// A list on which nothing can be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    /// Missing, no list, or without a usable entry.
    #[error("the secret has no usable list {name}; the errors logged when it was read say why")]
    Unusable {
        /// The list's name.
        name: String,
    },
    /// Beyond [`OUTAGE_GRACE`].
    #[error("the list {name} is {age_s} s old, and could not be read again")]
    TooOld {
        /// The list's name.
        name: String,
        /// Seconds since it was read.
        age_s: u64,
    },
}

impl Keyring {
    /// Reads the secret's text for the schemes of the contract. What cannot be read is left out, with a complaint: one typing
    /// error must not shut every caller out. A list of which nothing is left is taken from `before`.
    ///
    /// # Errors
    /// When the text is not a JSON object.
    pub(crate) fn parse(
        contract: &Contract,
        text: &str,
        now: Moment,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<Complaint>), FetchError> {
        // serde_json's message can quote the text, which is secret.
        let document: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| FetchError("it is not a JSON object".to_owned()))?;
        let mut reading = Reading { document, now, complaints: Vec::new() };
        let mut keyring = Self::default();
        let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
        let names: BTreeSet<&str> = requirements.map(|requirement| requirement.scheme.as_str()).collect();
        for scheme in names.into_iter().filter_map(|name| contract.scheme(name)) {
            match scheme {
                SecurityScheme::ApiKey { secret, .. } => {
                    let mut principals: BTreeMap<[u8; 32], String> = BTreeMap::new();
                    let list = reading.list(secret, before.map(|before| &before.api_keys), |entry| {
                        let key = ApiKey::read(entry)?;
                        let known = principals.entry(key.sha256).or_insert_with(|| key.principal.clone());
                        if *known == key.principal {
                            Ok(key)
                        } else {
                            Err("its key has another principal already".into())
                        }
                    });
                    keyring.api_keys.extend(list);
                }
                SecurityScheme::Signature { secret, preset, .. } => {
                    let list = reading.list(secret, before.map(|before| &before.signing), |entry| {
                        let text = entry.as_str().ok_or("it is not a text")?;
                        let scheme = Scheme::named(preset).ok_or("its signature scheme is unknown")?;
                        scheme.secret(text).map_err(|error| error.to_string().into())
                    });
                    keyring.signing.extend(list);
                }
            }
        }
        Ok((keyring, reading.complaints))
    }

    /// The live API keys under that name.
    ///
    /// # Errors
    /// The list is missing, or too old.
    pub(crate) fn api_keys(&self, name: &str, now: Moment) -> Result<&[ApiKey], ListError> {
        live(&self.api_keys, name, now)
    }

    /// The live signing secrets under that name.
    ///
    /// # Errors
    /// The list is missing, or too old.
    pub(crate) fn signing(&self, name: &str, now: Moment) -> Result<&[Secret], ListError> {
        live(&self.signing, name, now)
    }
}

fn live<'k, T>(lists: &'k Lists<T>, name: &str, now: Moment) -> Result<&'k [T], ListError> {
    let list = lists.get(name).ok_or_else(|| ListError::Unusable { name: name.to_owned() })?;
    let age = list.read_at.age(now);
    if age >= REFRESH_AFTER + OUTAGE_GRACE {
        return Err(ListError::TooOld { name: name.to_owned(), age_s: age.as_secs() });
    }
    Ok(&list.values)
}

/// The secret's document while it is read.
struct Reading {
    document: BTreeMap<String, Value>,
    now: Moment,
    complaints: Vec<Complaint>,
}

impl Reading {
    /// The list of that name with its usable entries; the one of `before` if it is missing, no list, or has none.
    fn list<T: Clone>(
        &mut self,
        name: &str,
        before: Option<&Lists<T>>,
        mut read: impl FnMut(&Value) -> Result<T, Reason>,
    ) -> Option<(String, List<T>)> {
        let mut complain = |position, reason| {
            self.complaints.push(Complaint { list: name.to_owned(), position, reason });
        };
        let fault = match self.document.get(name) {
            Some(Value::Array(entries)) => {
                let mut values = Vec::with_capacity(entries.len());
                for (position, entry) in entries.iter().enumerate() {
                    match read(entry) {
                        Ok(value) => values.push(value),
                        Err(reason) => complain(Some(position), reason),
                    }
                }
                if entries.is_empty() || !values.is_empty() {
                    return Some((name.to_owned(), List { values, read_at: self.now }));
                }
                "no entry of the list can be used"
            }
            Some(_) => "it is not a list",
            None => "there is no list of this name",
        };
        complain(None, fault.into());
        before?.get_key_value(name).map(|(name, list)| (name.clone(), list.clone()))
    }
}

/// The cache in front of a [`SecretSource`].
pub struct Secrets<S> {
    source: S,
    contract: &'static Contract,
    cache: std::sync::Mutex<Cache>,
    /// Held while the source is asked, so that one fetch serves all requests that wait.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Cache {
    current: Option<Current>,
    /// The last fetch, if it failed.
    failed: Option<(FetchError, Moment)>,
}

#[derive(Clone)]
struct Current {
    keyring: Arc<Keyring>,
    /// When the source was asked for it.
    read_at: Moment,
}

impl<S: SecretSource> Secrets<S> {
    /// An empty cache.
    pub fn new(source: S, contract: &'static Contract) -> Self {
        Self { source, contract, cache: std::sync::Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    /// The cached keyring, if it is younger than [`REFRESH_AFTER`]. Waits for nothing.
    pub(crate) fn fresh(&self, now: Moment) -> Option<Arc<Keyring>> {
        let cache = self.cache();
        let current = cache.current.as_ref().filter(|current| current.read_at.age(now) < REFRESH_AFTER)?;
        Some(Arc::clone(&current.keyring))
    }

    /// A keyring younger than [`REFRESH_AFTER`], read from the source if need be; an older one if the source fails. Its
    /// lists know when they are too old.
    ///
    /// # Errors
    /// When nothing is cached and the source fails.
    pub(crate) async fn keyring(&self, now: Moment) -> Result<Arc<Keyring>, FetchError> {
        let _one = self.fetching.lock().await;
        // A request that waited finds what the one before it has read.
        if let Some(keyring) = self.fresh(now) {
            return Ok(keyring);
        }
        match self.read(now).await {
            Ok(keyring) => Ok(keyring),
            Err(error) => self.cache().current.as_ref().map(|current| Arc::clone(&current.keyring)).ok_or(error),
        }
    }

    /// A keyring newer than `than`, read from the source if it was last asked [`UNKNOWN_REFRESH_AFTER`] ago or earlier; `None`
    /// if there is none.
    pub(crate) async fn newer(&self, than: &Arc<Keyring>, now: Moment) -> Option<Arc<Keyring>> {
        let _one = self.fetching.lock().await;
        {
            let cache = self.cache();
            let current = cache.current.as_ref()?;
            if !Arc::ptr_eq(&current.keyring, than) {
                return Some(Arc::clone(&current.keyring));
            }
            let failed_at = cache.failed.as_ref().map(|(_, at)| *at);
            let mut asked_at = [Some(current.read_at), failed_at].into_iter().flatten();
            if asked_at.any(|asked_at| asked_at.age(now) < UNKNOWN_REFRESH_AFTER) {
                return None;
            }
        }
        self.read(now).await.ok()
    }

    /// Asks the source, unless it failed less than [`RETRY_AFTER`] ago.
    async fn read(&self, now: Moment) -> Result<Arc<Keyring>, FetchError> {
        let before = {
            let cache = self.cache();
            if let Some((error, at)) = &cache.failed
                && at.age(now) < RETRY_AFTER
            {
                return Err(error.clone());
            }
            cache.current.as_ref().map(|current| Arc::clone(&current.keyring))
        };
        let started = Instant::now();
        let fetched = tokio::time::timeout(FETCH_TIMEOUT, self.source.fetch()).await;
        let text =
            fetched.unwrap_or_else(|_| Err(FetchError(format!("no answer within {} s", FETCH_TIMEOUT.as_secs()))));
        let read = text.and_then(|text| Keyring::parse(self.contract, &text, now, before.as_deref()));
        let mut cache = self.cache();
        match read {
            Ok((keyring, complaints)) => {
                for Complaint { list, position, reason } in complaints {
                    let reason: &str = &reason;
                    tracing::error!(secret = list, position, reason, "a part of the secret cannot be used");
                }
                let keyring = Arc::new(keyring);
                *cache = Cache { current: Some(Current { keyring: Arc::clone(&keyring), read_at: now }), failed: None };
                Ok(keyring)
            }
            Err(error) => {
                tracing::error!(reason = %error, cached = before.is_some(), "no newer secrets");
                cache.failed = Some((error.clone(), now.later(started.elapsed())));
                Err(error)
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
