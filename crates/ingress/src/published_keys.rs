//! Keys that providers publish, fetched from their URLs and cached.
//!
//! The first request that needs a key fetches it; requests that wait for the same key share one fetch. From then on it
//! is cached: after [`refresh_after`] a request still uses the cached key, and a task fetches it again while Lambda
//! runs that request and the next. While the provider is down the key stays in use for [`OUTAGE_GRACE`]. A certificate
//! is never used outside its validity. A token that names a key which the cached set lacks causes a fetch at most every
//! [`UNKNOWN_REFRESH_AFTER`].
//!
//! A request chooses the URL, within what its scheme allows. So a failure is remembered for [`RETRY_AFTER`], or for
//! [`FIRST_RETRY_AFTER`] if the server did not answer the first fetch. At most [`UNPROVEN_MAX`] URLs that never had a
//! key are known at a time, and no more are fetched until one is forgotten. [`KEYS_MAX`] URLs with a key are cached;
//! the one that was not used for longest makes room. A URL without a key displaces none with one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

#[cfg(feature = "in-process")]
use sluicegate_aws_client::http_client::Dialer;
use sluicegate_aws_client::http_client::trust_roots;
use sluicegate_webhook::{KeyUrl, PublishedKeys};
use tokio::time::Instant;

use crate::{
    https_get::{Endpoints, GetError, HttpsGet},
    rejection::UNAVAILABLE_RETRY_AFTER_S,
    secrets::Moment,
};

/// The largest file. A chain of certificates has 8 KB, a key set of Google 2 KB, and one with certificates more. The
/// limit is that of API Gateway for a key set:
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>.
const FILE_BYTES_MAX: usize = 150_000;

/// Longest wait for a file, connection included. It is also at most half of the time that the request has left.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_millis(2_500);

/// How much longer than [`refresh_after`] a key is used while its provider fails.
const OUTAGE_GRACE: Duration = Duration::from_secs(24 * 3_600);

/// The time for which a URL without a usable key is remembered, and not fetched.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The same for a URL that never had a key, if its server did not answer: the time after which the provider is asked to
/// send the request again.
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(UNAVAILABLE_RETRY_AFTER_S);

/// Minimum age of a key set before a token with an unknown key causes a fetch.
const UNKNOWN_REFRESH_AFTER: Duration = Duration::from_secs(60);

/// The most URLs with a key. A provider has one, SNS one for each Region.
const KEYS_MAX: usize = 32;

/// The most URLs without a key.
const UNPROVEN_MAX: usize = 8;

/// The confirmed subscriptions that are remembered.
const VISITED_MAX: usize = 64;

/// Returns the age at which keys are fetched again: an hour for a key set and an issuer's configuration, whose keys
/// rotate; a day for a certificate, which has a URL of its own.
fn refresh_after(url: &KeyUrl) -> Duration {
    Duration::from_secs(if url.is_certificate() { 24 * 3_600 } else { 3_600 })
}

/// The cache of published keys. It costs nothing until a request needs one.
#[derive(Clone, Default)]
pub(crate) struct KeyCache(Arc<Inner>);

#[derive(Default)]
struct Inner {
    https: HttpsGet,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Locked during a visit, so that there is one for a URL.
    visited: tokio::sync::Mutex<VecDeque<String>>,
}

/// What is known of a URL.
struct Entry {
    keys: Option<Fetched>,
    /// The last fetch, if it failed.
    failed: Option<(KeyFetchError, Moment)>,
    used_at: Moment,
    /// Locked during a fetch, so that waiting requests share it.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone)]
struct Fetched {
    keys: Arc<PublishedKeys>,
    read_at: Moment,
}

/// A key that cannot be had; the text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyFetchError {
    /// Another attempt may succeed.
    #[error("the key at {url} could not be fetched: {reason}")]
    Unavailable { url: String, reason: String },
    /// There is no key that may be used.
    #[error("the key at {url} cannot be used: {reason}")]
    Refused { url: String, reason: String },
    /// The key set lacks the key that the token names.
    #[error("the keys at {url} lack the one that the token names")]
    Unknown { url: String },
}

impl Entry {
    /// Checks that the last failure, if any, is long enough ago for another fetch.
    fn check_failure(&self, now: Moment) -> Result<(), KeyFetchError> {
        let Some((error, at)) = &self.failed else { return Ok(()) };
        let retry_after = match (error, &self.keys) {
            (KeyFetchError::Unavailable { .. }, None) => FIRST_RETRY_AFTER,
            _ => RETRY_AFTER,
        };
        if at.age(now) < retry_after { Err(error.clone()) } else { Ok(()) }
    }
}

/// The present of a request, and how long it may wait.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) moment: Moment,
    pub(crate) unix_s: i64,
    pub(crate) deadline: Instant,
}

impl Now {
    fn timeout(self) -> Duration {
        (self.deadline.saturating_duration_since(Instant::now()) / 2).min(FETCH_TIMEOUT)
    }
}

impl KeyCache {
    /// Returns a cache that fetches the files of some hosts from other servers, without TLS.
    pub(crate) fn to(endpoints: Endpoints) -> Self {
        Self(Arc::new(Inner { https: HttpsGet::to(endpoints), ..Inner::default() }))
    }

    /// Returns a cache that fetches every file from a peer in this process.
    #[cfg(feature = "in-process")]
    pub(crate) fn in_process(dialer: Dialer) -> Self {
        Self(Arc::new(Inner { https: HttpsGet::in_process(dialer), ..Inner::default() }))
    }

    /// Returns the keys of a URL. `lacking` are keys of it that lack the one that is needed.
    ///
    /// # Errors
    /// [`KeyFetchError`]: they are not cached, and cannot be fetched.
    pub(crate) async fn keys(
        &self,
        url: &KeyUrl,
        lacking: Option<&Arc<PublishedKeys>>,
        now: Now,
    ) -> Result<Arc<PublishedKeys>, KeyFetchError> {
        if let Some(keys) = self.cached(url, lacking, now) {
            return Ok(keys);
        }
        let fetching = self.0.entry(url, now)?;
        let _one = fetching.lock().await;
        // The previous holder of the lock may have fetched the keys.
        if let Some(keys) = self.cached(url, lacking, now) {
            return Ok(keys);
        }
        self.0.may_fetch(url, now)?;
        self.0.fetch(url, now.moment, now.unix_s, now.timeout()).await
    }

    /// Returns the cached keys, unless they are `lacking`. Starts to fetch old ones again.
    fn cached(&self, url: &KeyUrl, lacking: Option<&Arc<PublishedKeys>>, now: Now) -> Option<Arc<PublishedKeys>> {
        let mut entries = self.0.entries();
        let entry = entries.get_mut(url.as_str())?;
        let Fetched { keys, read_at } = entry.keys.clone()?;
        let age = read_at.age(now.moment);
        let is_lacking = lacking.is_some_and(|lacking| Arc::ptr_eq(lacking, &keys));
        if is_lacking || age >= refresh_after(url) + OUTAGE_GRACE || !keys.is_valid(now.unix_s) {
            return None;
        }
        entry.used_at = now.moment;
        if age >= refresh_after(url)
            && entry.check_failure(now.moment).is_ok()
            && let Ok(one) = Arc::clone(&entry.fetching).try_lock_owned()
        {
            let (inner, url) = (Arc::clone(&self.0), url.clone());
            tokio::spawn(async move {
                let _one = one;
                // A failure is logged, and remembered in the entry.
                drop(inner.fetch(&url, now.moment, now.unix_s, FETCH_TIMEOUT).await);
            });
        }
        Some(keys)
    }

    /// Visits a URL with GET, once: a URL that was visited before is not visited again.
    ///
    /// # Errors
    /// [`GetError`]: the answer is not 200.
    pub(crate) async fn visit(&self, url: &str, now: Now) -> Result<(), GetError> {
        let mut visited = self.0.visited.lock().await;
        if visited.iter().any(|known| known == url) {
            return Ok(());
        }
        self.0.https.get(url, FILE_BYTES_MAX, now.timeout()).await?;
        visited.push_back(url.to_owned());
        if visited.len() > VISITED_MAX {
            visited.pop_front();
        }
        Ok(())
    }
}

impl Inner {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the lock of a URL's fetches, with an entry for a new URL if there is room.
    fn entry(&self, url: &KeyUrl, now: Now) -> Result<Arc<tokio::sync::Mutex<()>>, KeyFetchError> {
        let mut entries = self.entries();
        if let Some(entry) = entries.get(url.as_str()) {
            return Ok(Arc::clone(&entry.fetching));
        }
        // A request that was cut off leaves an entry that is neither.
        let asked_at = |entry: &Entry| entry.failed.as_ref().map_or(entry.used_at, |(_, at)| *at);
        let is_over = |entry: &Entry| asked_at(entry).age(now.moment) >= RETRY_AFTER;
        entries.retain(|_, entry| entry.keys.is_some() || !is_over(entry));
        if entries.values().filter(|entry| entry.keys.is_none()).count() >= UNPROVEN_MAX {
            let reason = format!("{UNPROVEN_MAX} other URLs without a key were asked for in the last minute");
            return Err(KeyFetchError::Unavailable { url: url.as_str().to_owned(), reason });
        }
        let entry = Entry { keys: None, failed: None, used_at: now.moment, fetching: Arc::default() };
        let fetching = Arc::clone(&entry.fetching);
        entries.insert(url.as_str().to_owned(), entry);
        Ok(fetching)
    }

    /// Checks that the last fetch of a URL is long enough ago.
    fn may_fetch(&self, url: &KeyUrl, now: Now) -> Result<(), KeyFetchError> {
        let entries = self.entries();
        let Some(entry) = entries.get(url.as_str()) else { return Ok(()) };
        entry.check_failure(now.moment)?;
        match &entry.keys {
            Some(fetched) if url.is_key_set() && fetched.read_at.age(now.moment) < UNKNOWN_REFRESH_AFTER => {
                Err(KeyFetchError::Unknown { url: url.as_str().to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Fetches and reads the file of a URL, and remembers the result.
    async fn fetch(
        &self,
        url: &KeyUrl,
        now: Moment,
        now_unix_s: i64,
        timeout: Duration,
    ) -> Result<Arc<PublishedKeys>, KeyFetchError> {
        let started = Instant::now();
        let file = self.https.get(url.as_str(), FILE_BYTES_MAX, timeout).await;
        let url_text = || url.as_str().to_owned();
        let read = match file {
            Ok(file) => url
                .read(&file, roots, now_unix_s)
                .map_err(|error| KeyFetchError::Refused { url: url_text(), reason: error.to_string() }),
            Err(GetError::Refused(reason)) => Err(KeyFetchError::Refused { url: url_text(), reason }),
            Err(GetError::Unavailable(reason)) => Err(KeyFetchError::Unavailable { url: url_text(), reason }),
        };
        let now = now.later(started.elapsed());
        let mut entries = self.entries();
        match read {
            Ok(keys) => {
                let keys = Arc::new(keys);
                tracing::info!(url = url.as_str(), "key fetched");
                if let Some(entry) = entries.get_mut(url.as_str()) {
                    (entry.keys, entry.failed) = (Some(Fetched { keys: Arc::clone(&keys), read_at: now }), None);
                }
                let proven = entries.iter().filter(|(_, entry)| entry.keys.is_some());
                if proven.clone().count() > KEYS_MAX {
                    let oldest = proven.max_by_key(|(_, entry)| entry.used_at.age(now)).map(|(url, _)| url.clone());
                    oldest.map(|url| entries.remove(&url));
                }
                Ok(keys)
            }
            Err(error) => {
                tracing::warn!(reason = %error, "no key");
                if let Some(entry) = entries.get_mut(url.as_str()) {
                    entry.failed = Some((error.clone(), now));
                }
                Err(error)
            }
        }
    }
}

/// Returns the root certificates of the system, as DER.
fn roots() -> Vec<Vec<u8>> {
    trust_roots().into_iter().map(|certificate| certificate.to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_fetch_leaves_half_of_the_time_for_the_queue() {
        for (left_ms, expected_ms) in [(0, 0), (1_000, 500), (5_000, 2_500), (29_000, 2_500)] {
            let now = Now {
                moment: Moment::now(UNIX_EPOCH),
                unix_s: 0,
                deadline: Instant::now() + Duration::from_millis(left_ms),
            };
            assert_eq!(now.timeout(), Duration::from_millis(expected_ms));
        }
    }
}
