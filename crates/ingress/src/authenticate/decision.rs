//! Decides about the credentials of a request, and reads no secret and fetches no published key on which the decision
//! does not depend.

use std::sync::Arc;

use sluicegate_contract::{Contract, SecurityScheme};
use sluicegate_webhook::{KeyUrl, PublishedKeys};
use tokio::time::Instant;

use super::{requirement::Authorization, unavailable, verdict::Alternatives};
use crate::{
    published_keys::{KeyFetchError, Now},
    rejection::Rejection,
    route::Routed,
    secrets::{Keyring, Moment, SecretSource, Secrets},
};

/// The inputs of the decision besides the request.
pub(super) struct Checks<'s, 'c, S> {
    pub(super) contract: &'c Contract,
    pub(super) secrets: &'s Secrets<S>,
    pub(super) url: Option<String>,
    /// When the request came.
    pub(super) arrived: Moment,
    pub(super) deadline: Instant,
}

/// The published keys that a request needed so far.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) found: Vec<Arc<PublishedKeys>>,
    /// Those that cannot be had.
    pub(super) failed: Vec<(KeyUrl, KeyFetchError)>,
}

impl<'c, S: SecretSource> Checks<'_, 'c, S> {
    /// Authorizes, and fetches each published key on which the decision depends. Each round has one key more, or one
    /// that failed for good.
    pub(super) async fn with_keys(&self, routed: &Routed<'_>) -> Result<Alternatives<'c>, Rejection> {
        let mut keys = Keys::default();
        loop {
            let verdict = self.verdict(routed, &keys).await?;
            let Some(url) = verdict.needed_key() else { return Ok(verdict) };
            let now = Now { moment: self.arrived.present(), unix_s: self.arrived.unix_s(), deadline: self.deadline };
            let lacking = keys.found.iter().find(|keys| keys.url() == url.as_str()).cloned();
            match self.secrets.published.keys(url, lacking.as_ref(), now).await {
                Ok(found) => {
                    keys.found.retain(|keys| keys.url() != url.as_str());
                    keys.found.push(found);
                }
                Err(error) => keys.failed.push((url.clone(), error)),
            }
        }
    }

    /// Authorizes with the cached secrets while they are fresh, and fetches secrets only if the decision depends on
    /// them.
    async fn verdict(&self, routed: &Routed<'_>, keys: &Keys) -> Result<Alternatives<'c>, Rejection> {
        let Self { contract, secrets, ref url, arrived, .. } = *self;
        let (now, now_unix_s, url) = (arrived.present(), arrived.unix_s(), url.as_deref().unwrap_or_default());
        let authorize =
            |keyring: &Keyring| Authorization { routed, contract, keyring, keys, url, now, now_unix_s }.verdict();
        let keyring = match secrets.fresh(now) {
            Some(keyring) => keyring,
            None => {
                let without_secrets = authorize(&Keyring::default());
                if !without_secrets.secrets_matter() {
                    return Ok(without_secrets);
                }
                secrets.keyring(now).await.map_err(|error| unavailable(&error))?
            }
        };
        let verdict = authorize(&keyring);
        if verdict.passed.is_none()
            && verdict.secrets_matter()
            && let Some(newer) = secrets.newer(&keyring, now).await
        {
            return Ok(authorize(&newer));
        }
        Ok(verdict)
    }
}

/// Returns the URL that the provider called, if a scheme of the operation signs it: `public_url` or, without it, the
/// host of the request, with the path and the query.
pub(super) fn signed_url(routed: &Routed<'_>, contract: &Contract, public_url: Option<&str>) -> Option<String> {
    let mut requirements = routed.operation().security.iter().flatten();
    let signs = requirements.any(|requirement| match contract.scheme(&requirement.scheme) {
        Some(SecurityScheme::Signature { scheme, .. }) => scheme.signs_url(),
        _ => false,
    });
    signs.then(|| {
        let arrival = routed.arrival();
        let base = match public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{}", arrival.header("host").unwrap_or_default()),
        };
        let query = if arrival.query.is_empty() { String::new() } else { format!("?{}", arrival.query) };
        format!("{base}{}{query}", arrival.path)
    })
}
