//! API keys and signing secrets from one Secrets Manager secret, cached, with several live values each.
//!
//! The first request that needs secrets fetches them, and they are used for [`REFRESH_AFTER`]. The first request after
//! that time fetches them again before it is authorized, even if the execution environment was idle, so a removed value
//! is refused from then on. Waiting requests share one fetch. If fresh secrets could admit a request, they are fetched
//! again at most every [`UNKNOWN_REFRESH_AFTER`], so that a new value works at once and a flood of bad ones causes few
//! fetches.
//!
//! While the store fails, or returns a text that is not a JSON object, the cached values stay in use for
//! [`OUTAGE_GRACE`], or the seconds of the variable `SECRETS_GRACE_S`, and the store is called at most every
//! [`RETRY_AFTER`]. The same applies to a list that is missing or has no usable entry, so that an editing error does
//! not lock every caller out at once. After that, requests that need the list get 503: `secrets_missing` if the secret
//! has no list of that name, as after a first deployment, else `secrets_unavailable`. An empty list is valid and admits
//! no caller.
//!
//! The secret is a JSON object: a list under each `x-secret` name of the contract. Its entries are read by
//! [`secret_entry`](sluicegate_contract::secret_entry).

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use sluicegate_aws_client::{AwsEnvironment, SecretsManagerClient};
use sluicegate_contract::{
    Contract, SecurityScheme,
    secret_entry::{ApiKey, SigningSecret},
};
use sluicegate_envelope::Envelope;
use sluicegate_webhook::Secret;
use tokio::time::Instant;

use crate::{
    published_keys::KeyCache,
    rejection::{Code, UNAVAILABLE_RETRY_AFTER_S},
};

/// Age at which cached secrets are fetched again before they are used.
pub const REFRESH_AFTER: Duration = Duration::from_secs(300);

/// How much longer than [`REFRESH_AFTER`] cached secrets are used while the store fails, by default: longer than most
/// outages, and a bound on the time that a removed value is still accepted during one.
pub const OUTAGE_GRACE: Duration = Duration::from_secs(3_600);

/// Minimum age of cached secrets before a request that they do not admit causes a fetch.
pub(crate) const UNKNOWN_REFRESH_AFTER: Duration = Duration::from_secs(30);

/// Minimum time between a failed fetch and the next one.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(UNAVAILABLE_RETRY_AFTER_S);

/// Longest wait for the secret store, connection included.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(3);

/// A source of the secret's text.
pub trait SecretSource: Send + Sync {
    /// Fetches the current text. The caller cancels it after [`FETCH_TIMEOUT`].
    fn fetch(&self) -> impl Future<Output = Result<String, FetchError>> + Send;

    /// Returns the secret's ARN or name, for the log.
    fn id(&self) -> &str {
        "<SecretArn>"
    }
}

/// The secret could not be read; the text is for the operator.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the secret could not be read: {0}")]
pub struct FetchError(pub String);

/// Secrets Manager as the source.
pub struct SecretsManager {
    client: SecretsManagerClient,
    secret_id: String,
}

impl SecretsManager {
    /// Returns a client for one secret without calling the service.
    #[must_use]
    pub fn new(aws: &AwsEnvironment, secret_id: String) -> Self {
        Self { client: SecretsManagerClient::new(aws), secret_id }
    }

    /// Opens a connection for the first fetch.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(&self) -> Result<(), FetchError> {
        self.client.connect().await.map_err(|error| FetchError(error.to_string()))
    }
}

impl SecretSource for SecretsManager {
    async fn fetch(&self) -> Result<String, FetchError> {
        self.client
            .secret_text(&self.secret_id, Instant::now() + FETCH_TIMEOUT)
            .await
            .map_err(|error| FetchError(error.to_string()))
    }

    fn id(&self) -> &str {
        &self.secret_id
    }
}

/// A point in time on two clocks.
///
/// An execution environment is frozen between requests, and it is not documented which of its clocks advance. The age
/// is the greater of both, so that neither a stopped clock nor one set back makes secrets look fresh.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    /// The time since 1970.
    wall: Duration,
}

impl Moment {
    /// Returns the present, with this wall clock.
    pub(crate) fn now(wall: SystemTime) -> Self {
        Self { at: Instant::now(), wall: wall.duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// Returns the present within the request that came at this moment.
    pub(crate) fn present(self) -> Self {
        self.later(self.at.elapsed())
    }

    /// Returns the wall clock in seconds since 1970.
    pub(crate) fn unix_s(self) -> i64 {
        self.wall.as_secs().try_into().unwrap_or(i64::MAX)
    }

    pub(crate) fn later(self, by: Duration) -> Self {
        Self { at: self.at + by, wall: self.wall.saturating_add(by) }
    }

    /// Returns the age at `now`, zero if this is later. The wall clock counts its seconds, so it may be ahead by a part
    /// of one.
    pub(crate) fn age(self, now: Self) -> Duration {
        let wall_s = now.wall.as_secs().saturating_sub(self.wall.as_secs());
        now.at.saturating_duration_since(self.at).max(Duration::from_secs(wall_s))
    }
}

/// Parses an API key. Errors do not quote it.
fn api_key(entry: &Value) -> Result<ApiKey, Reason> {
    let key = ApiKey::parse(entry).map_err(|fault| fault.to_string())?;
    // The envelope limits its attributes. A principal beyond the limits would fail every request.
    Envelope::builder("id", "/", "type").principal(&key.principal).build().map_err(|error| error.to_string())?;
    Ok(key)
}

type Reason = Cow<'static, str>;

/// A fault of the secret, for the log. It does not quote the secret.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SecretFault {
    /// The name of the list.
    pub(crate) list: String,
    /// The position in the list, from 0; `None` for the list itself.
    pub(crate) position: Option<usize>,
    /// The reason.
    pub(crate) reason: Reason,
    /// For a missing list: the command that adds it, without the secret's id.
    pub(crate) command: Option<String>,
}

/// The live values of one list.
#[derive(Debug, Clone)]
struct List<T> {
    values: Vec<T>,
    read_at: Moment,
}

type Lists<T> = BTreeMap<String, List<T>>;

/// Every live secret by `x-secret` name. The default has no lists, so it cannot decide on any credentials.
#[derive(Debug)]
pub(crate) struct Keyring {
    outage_grace: Duration,
    api_keys: Lists<ApiKey>,
    signing: Lists<Secret>,
    /// The names of the contract under which the secret has nothing.
    missing: BTreeSet<String>,
}

impl Default for Keyring {
    fn default() -> Self {
        Self {
            outage_grace: OUTAGE_GRACE,
            api_keys: Lists::default(),
            signing: Lists::default(),
            missing: BTreeSet::default(),
        }
    }
}

/// A list that cannot be used to decide on credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ListError {
    /// The secret has no list of this name.
    #[error("the secret has no list {name}; the error logged when it was read has the command that adds it")]
    Missing {
        /// The list's name.
        name: String,
    },
    /// It is not a list, or has no usable entry.
    #[error("the secret has no usable list {name}; the errors logged when it was read say why")]
    Unusable {
        /// The list's name.
        name: String,
    },
    /// The list is older than an outage may be.
    #[error("the list {name} is {age_s} s old, and could not be read again")]
    TooOld {
        /// The list's name.
        name: String,
        /// Seconds since it was read.
        age_s: u64,
    },
}

impl ListError {
    /// Returns the code of the answer.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::SecretsMissing,
            Self::Unusable { .. } | Self::TooOld { .. } => Code::SecretsUnavailable,
        }
    }
}

impl Keyring {
    /// Parses the secret's text for the schemes of the contract. Drops unusable entries and reports each as a fault, so
    /// that a typing error does not lock every caller out. Keeps a list of `before` if the new one has no usable
    /// entries.
    ///
    /// # Errors
    /// The text is not a JSON object.
    pub(crate) fn parse(
        contract: &Contract,
        text: &str,
        now: Moment,
        before: Option<&Self>,
    ) -> Result<(Self, Vec<SecretFault>), FetchError> {
        // The message of serde_json can quote the text, which is secret.
        let document: BTreeMap<String, Value> =
            serde_json::from_str(text).map_err(|_| FetchError("it is not a JSON object".to_owned()))?;
        let mut reading = Reading { document, now, faults: Vec::new(), missing: BTreeSet::new() };
        let mut keyring = Self::default();
        let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
        let names: BTreeSet<&str> = requirements.map(|requirement| requirement.scheme.as_str()).collect();
        for scheme in names.into_iter().filter_map(|name| contract.scheme(name)) {
            if let Some(tokens) = scheme.verify_tokens() {
                let list = reading.list(&tokens, "", before.map(|before| &before.signing), &mut |entry| {
                    let SigningSecret { text, .. } = SigningSecret::parse(entry).map_err(|fault| fault.to_string())?;
                    Secret::verify_token(text).map_err(|error| error.to_string().into())
                });
                keyring.signing.extend(list);
            }
            match scheme {
                SecurityScheme::Token { .. } | SecurityScheme::Gateway { .. } => {}
                SecurityScheme::ApiKey { secret, .. } | SecurityScheme::Basic { secret } => {
                    let mut principals: BTreeMap<[u8; 32], String> = BTreeMap::new();
                    let arguments = " --principal NAME --scopes SCOPE";
                    let list = reading.list(secret, arguments, before.map(|before| &before.api_keys), &mut |entry| {
                        let key = api_key(entry)?;
                        let known = principals.entry(key.sha256).or_insert_with(|| key.principal.clone());
                        if *known == key.principal {
                            Ok(key)
                        } else {
                            Err("another entry has the same key with another principal".into())
                        }
                    });
                    keyring.api_keys.extend(list);
                }
                SecurityScheme::Signature { secret, scheme, .. } => {
                    let list = reading.list(secret, "", before.map(|before| &before.signing), &mut |entry| {
                        let SigningSecret { keyid, text } =
                            SigningSecret::parse(entry).map_err(|fault| fault.to_string())?;
                        scheme.secret_of(keyid, text).map_err(|error| error.to_string().into())
                    });
                    keyring.signing.extend(list);
                }
            }
        }
        keyring.missing = reading.missing;
        Ok((keyring, reading.faults))
    }

    /// Returns the live API keys of a list.
    ///
    /// # Errors
    /// The list is missing, or too old.
    pub(crate) fn api_keys(&self, name: &str, now: Moment) -> Result<&[ApiKey], ListError> {
        self.live(&self.api_keys, name, now)
    }

    /// Returns the live signing secrets of a list.
    ///
    /// # Errors
    /// The list is missing, or too old.
    pub(crate) fn signing(&self, name: &str, now: Moment) -> Result<&[Secret], ListError> {
        self.live(&self.signing, name, now)
    }

    fn live<'k, T>(&self, lists: &'k Lists<T>, name: &str, now: Moment) -> Result<&'k [T], ListError> {
        let age = |list: &List<T>| list.read_at.age(now);
        match lists.get(name) {
            Some(list) if age(list) < REFRESH_AFTER + self.outage_grace => Ok(&list.values),
            _ if self.missing.contains(name) => Err(ListError::Missing { name: name.to_owned() }),
            Some(list) => Err(ListError::TooOld { name: name.to_owned(), age_s: age(list).as_secs() }),
            None => Err(ListError::Unusable { name: name.to_owned() }),
        }
    }
}

/// The state of parsing the secret's document.
struct Reading {
    document: BTreeMap<String, Value>,
    now: Moment,
    faults: Vec<SecretFault>,
    missing: BTreeSet<String>,
}

impl Reading {
    /// Returns the usable entries of a list, or the list of `before` if it is missing, not a list, or without usable
    /// entries. `arguments` complete the command that adds it.
    fn list<T: Clone>(
        &mut self,
        name: &str,
        arguments: &str,
        before: Option<&Lists<T>>,
        read: &mut dyn FnMut(&Value) -> Result<T, Reason>,
    ) -> Option<(String, List<T>)> {
        let mut complain = |position, reason, command| {
            self.faults.push(SecretFault { list: name.to_owned(), position, reason, command });
        };
        let mut command = None;
        let fault = match self.document.get(name) {
            Some(Value::Array(entries)) => {
                let mut values = Vec::with_capacity(entries.len());
                for (position, entry) in entries.iter().enumerate() {
                    match read(entry) {
                        Ok(value) => values.push(value),
                        Err(reason) => complain(Some(position), reason, None),
                    }
                }
                if entries.is_empty() || !values.is_empty() {
                    return Some((name.to_owned(), List { values, read_at: self.now }));
                }
                "no entry of the list can be used"
            }
            Some(_) => "it is not a list",
            None => {
                self.missing.insert(name.to_owned());
                command = Some(format!("sluicegate secrets put {name}{arguments}"));
                "the secret has no list of this name"
            }
        };
        complain(None, fault.into(), command);
        before?.get_key_value(name).map(|(name, list)| (name.clone(), list.clone()))
    }
}

/// The cache in front of a [`SecretSource`].
pub struct Secrets<S> {
    source: S,
    contract: &'static Contract,
    outage_grace: Duration,
    cache: std::sync::Mutex<Cache>,
    /// Locked during a fetch, so that waiting requests share it.
    fetching: tokio::sync::Mutex<()>,
    /// The keys that providers publish.
    pub(crate) published: KeyCache,
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
    /// The time of its fetch.
    read_at: Moment,
}

impl<S: SecretSource> Secrets<S> {
    /// Creates an empty cache.
    pub fn new(source: S, contract: &'static Contract) -> Self {
        let (cache, fetching) = (std::sync::Mutex::default(), tokio::sync::Mutex::default());
        Self { source, contract, outage_grace: OUTAGE_GRACE, cache, fetching, published: KeyCache::default() }
    }

    /// Sets how long secrets are used beyond [`REFRESH_AFTER`] while the store fails. Call it before the first fetch.
    pub(crate) fn set_outage_grace(&mut self, grace: Duration) {
        self.outage_grace = grace;
    }

    /// Returns the cached keyring if it is younger than [`REFRESH_AFTER`], without waiting.
    pub(crate) fn fresh(&self, now: Moment) -> Option<Arc<Keyring>> {
        let cache = self.cache();
        let current = cache.current.as_ref().filter(|current| current.read_at.age(now) < REFRESH_AFTER)?;
        Some(Arc::clone(&current.keyring))
    }

    /// Returns a keyring younger than [`REFRESH_AFTER`], fetched if needed, or an older one if the fetch fails. Lists
    /// that are too old report an error when they are read.
    ///
    /// # Errors
    /// Nothing is cached and the fetch fails.
    pub(crate) async fn keyring(&self, now: Moment) -> Result<Arc<Keyring>, FetchError> {
        let _one = self.fetching.lock().await;
        // The previous holder of the lock may have fetched a keyring.
        if let Some(keyring) = self.fresh(now) {
            return Ok(keyring);
        }
        match self.read(now).await {
            Ok(keyring) => Ok(keyring),
            Err(error) => self.cache().current.as_ref().map(|current| Arc::clone(&current.keyring)).ok_or(error),
        }
    }

    /// Returns a keyring newer than `than`, fetched if the last fetch was at least [`UNKNOWN_REFRESH_AFTER`] ago;
    /// `None` if there is none.
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

    /// Fetches and parses the secret, unless a fetch failed less than [`RETRY_AFTER`] ago.
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
            Ok((keyring, faults)) => {
                for SecretFault { list, position, reason, command } in faults {
                    let reason: &str = &reason;
                    let command = command.map(|command| format!("{command} --secret-id {}", self.source.id()));
                    tracing::error!(secret = list, position, reason, command, "a part of the secret cannot be used");
                }
                let keyring = Arc::new(Keyring { outage_grace: self.outage_grace, ..keyring });
                *cache = Cache { current: Some(Current { keyring: Arc::clone(&keyring), read_at: now }), failed: None };
                Ok(keyring)
            }
            Err(error) => {
                tracing::error!(reason = %error, cached = before.is_some(), "the secret could not be refreshed");
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
