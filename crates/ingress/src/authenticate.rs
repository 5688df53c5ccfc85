//! Stage 2, [`Authenticated`]: a request whose credentials are verified, on its exact bytes.
//!
//! Verification uses the raw headers and body. The body is parsed only for a provider that signs values within it.
//! Every live secret is compared in constant time, so that neither the answer nor its timing reveals how close a guess
//! was.

use std::{borrow::Cow, fmt::Display, sync::Arc};

use sha2::{Digest, Sha256};
use sluicegate_contract::{Contract, Requirement, SecurityScheme};
use sluicegate_webhook::{
    Assurance, Handshake, KeyUrl, PublishedKeys, Request, Scheme, Secret, SignatureError, Verified,
};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use crate::{
    published_keys::{KeyFetchError, Now},
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
    route::Routed,
    secrets::{Keyring, ListError, Moment, SecretSource, Secrets},
};

/// The principal of a route without security requirements.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// A request whose sender is known and allowed.
#[derive(Debug)]
pub struct Authenticated<'c> {
    routed: Routed<'c>,
    caller: Caller,
    /// The scheme of the accepted signature, if any.
    scheme: Option<&'c Scheme>,
}

/// The authenticated caller.
#[derive(Debug)]
enum Caller {
    /// The principal of an API key.
    ApiKey { principal: String },
    /// The name of the list with the signing secret that fits, its position in the list, and the secret itself if an
    /// answer is signed with it.
    Signature { secret: String, position: usize, key: Option<Secret> },
    /// The route has no security requirements.
    Anonymous,
}

impl<'c> Authenticated<'c> {
    /// Checks the operation's security requirements: one alternative must be satisfied as a whole (OpenAPI 3.1,
    /// Security Requirement Object).
    ///
    /// Waits for the secrets only if the decision depends on them: a request without credentials is refused even during
    /// an outage of the secret store. A request that newer secrets may admit is checked again with those.
    ///
    /// A published key is fetched only for a request that is in order but for it. `deadline` limits that wait.
    ///
    /// # Errors
    /// 401 for missing or invalid credentials, 403 for a missing scope, 503 for secrets or keys that cannot be read.
    pub async fn new<S: SecretSource>(
        routed: Routed<'c>,
        contract: &'c Contract,
        secrets: &Secrets<S>,
        public_url: Option<&str>,
        now_unix_s: i64,
        deadline: Instant,
    ) -> Result<Self, Rejection> {
        let Satisfied { caller, scheme } = if routed.operation().security.is_empty() {
            Satisfied { caller: Caller::Anonymous, scheme: None }
        } else {
            let url = signed_url(&routed, contract, public_url);
            let checks = Checks { contract, secrets, url, now_unix_s, deadline };
            checks.with_keys(&routed).await?.into_result()?
        };
        Ok(Self { routed, caller, scheme })
    }

    /// Returns the previous stage.
    #[must_use]
    pub fn routed(&self) -> &Routed<'c> {
        &self.routed
    }

    /// Returns the value of a header by its name in lower case. A header of the accepted signature is found by each of
    /// its names: `webhook-id` finds `svix-id`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let arrival = self.routed.arrival();
        let alias = || self.scheme?.aliases(name).find_map(|alias| arrival.header(alias));
        arrival.header(name).or_else(alias)
    }

    /// Returns the sender: the principal of the API key, the name of the signing secret, or `anonymous`. It is unique
    /// only within its [`principal_domain`](Self::principal_domain): an API key may have the principal `github`.
    #[must_use]
    pub fn principal(&self) -> &str {
        match &self.caller {
            Caller::ApiKey { principal } => principal,
            Caller::Signature { secret, .. } => secret,
            Caller::Anonymous => ANONYMOUS,
        }
    }

    /// Returns the position, in its list, of the signing secret that fits; `None` for another kind of caller. During a
    /// rotation it shows whether the sender still signs with the older secret.
    #[must_use]
    pub fn secret_position(&self) -> Option<usize> {
        match self.caller {
            Caller::Signature { position, .. } => Some(position),
            Caller::ApiKey { .. } | Caller::Anonymous => None,
        }
    }

    /// Returns the scheme of the accepted signature.
    pub(crate) fn scheme(&self) -> Option<&'c Scheme> {
        self.scheme
    }

    /// Returns whether the body is JSON although its media type may be another.
    pub(crate) fn has_json(&self) -> bool {
        self.scheme.is_some_and(|scheme| scheme.json)
    }

    /// Returns the signing secret that fits, if an answer of its scheme is signed.
    pub(crate) fn secret(&self) -> Option<&Secret> {
        match &self.caller {
            Caller::Signature { key, .. } => key.as_ref(),
            Caller::ApiKey { .. } | Caller::Anonymous => None,
        }
    }

    /// Returns what the accepted signature proves; `None` for another kind of caller. The contract has accepted it.
    #[must_use]
    pub fn assurance(&self) -> Option<Assurance> {
        self.scheme.map(|scheme| scheme.assurance)
    }

    /// Returns the kind of [`principal`](Self::principal): `api-key`, `signature` or `anonymous`. Message ids depend on
    /// these texts: do not change them.
    #[must_use]
    pub fn principal_domain(&self) -> &'static str {
        match self.caller {
            Caller::ApiKey { .. } => "api-key",
            Caller::Signature { .. } => "signature",
            Caller::Anonymous => "anonymous",
        }
    }
}

/// The inputs of the decision besides the request.
struct Checks<'s, 'c, S> {
    contract: &'c Contract,
    secrets: &'s Secrets<S>,
    url: Option<String>,
    now_unix_s: i64,
    deadline: Instant,
}

/// The published keys that a request needed so far.
#[derive(Default)]
struct Keys {
    found: Vec<Arc<PublishedKeys>>,
    /// Those that cannot be had.
    failed: Vec<(KeyUrl, KeyFetchError)>,
}

impl<'c, S: SecretSource> Checks<'_, 'c, S> {
    /// Authorizes, and fetches each published key on which the decision depends. Each round has one key more, or one
    /// that failed for good.
    async fn with_keys(&self, routed: &Routed<'_>) -> Result<Alternatives<'c>, Rejection> {
        let mut keys = Keys::default();
        loop {
            let verdict = self.verdict(routed, &keys).await?;
            let Some(url) = verdict.needed_key() else { return Ok(verdict) };
            let moment = Moment::now(self.now_unix_s);
            let now = Now { moment, unix_s: self.now_unix_s, deadline: self.deadline };
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
        let Self { contract, secrets, ref url, now_unix_s, .. } = *self;
        let (now, url) = (Moment::now(now_unix_s), url.as_deref().unwrap_or_default());
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
fn signed_url(routed: &Routed<'_>, contract: &Contract, public_url: Option<&str>) -> Option<String> {
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

/// Returns the live signing secrets of a list, for an answer that is signed.
///
/// # Errors
/// 503 if the secrets cannot be read, or have no such list.
pub(crate) async fn signing_secrets<S: SecretSource>(
    secrets: &Secrets<S>,
    list: &str,
    now_unix_s: i64,
) -> Result<Vec<Secret>, Rejection> {
    let now = Moment::now(now_unix_s);
    let keyring = secrets.keyring(now).await.map_err(|error| unavailable(&error))?;
    let live = keyring.signing(list, now).map_err(|error| undecided(error.code(), &error))?;
    Ok(live.to_vec())
}

fn unavailable(reason: &dyn Display) -> Rejection {
    undecided(Code::SecretsUnavailable, reason)
}

pub(crate) fn undecided(code: Code, reason: &dyn Display) -> Rejection {
    let detail = match code {
        Code::SecretsMissing => "The operator has not set up the credentials of this route yet.",
        _ => "Try again in a moment.",
    };
    Rejection::new(code, detail).header("retry-after", UNAVAILABLE_RETRY_AFTER_S).log(reason)
}

/// The caller of a satisfied requirement or alternative.
struct Satisfied<'c> {
    caller: Caller,
    scheme: Option<&'c Scheme>,
}

/// An alternative that is not satisfied.
struct Denied {
    /// The challenge of each requirement, in order.
    challenges: Vec<String>,
    /// The reasons of the unsatisfied requirements.
    reasons: Vec<DenialReason>,
}

/// The reason why a requirement is not satisfied.
enum DenialReason {
    /// The request does not have this header.
    Missing { header: String },
    /// `secrets_matter`: another secret could satisfy the requirement.
    Invalid { detail: Cow<'static, str>, log: String, secrets_matter: bool },
    /// The key is valid but lacks this scope.
    Scope { missing: String },
    /// The secrets are not available, for this reason; the text is for the operator.
    Undecided { code: Code, log: String },
    /// The decision depends on a published key.
    KeyNeeded { url: KeyUrl },
}

impl DenialReason {
    /// Ranks reasons. Within an alternative the lowest rank decides, because no secret replaces a missing header. The
    /// answer is for the alternative of the highest rank, which is closest to success.
    fn rank(&self) -> u8 {
        match self {
            Self::Missing { .. } => 0,
            Self::Invalid { .. } => 1,
            Self::Scope { .. } => 2,
            Self::Undecided { .. } | Self::KeyNeeded { .. } => 3,
        }
    }

    fn secrets_matter(&self) -> bool {
        match self {
            Self::Missing { .. } | Self::KeyNeeded { .. } => false,
            Self::Invalid { secrets_matter, .. } => *secrets_matter,
            Self::Scope { .. } | Self::Undecided { .. } => true,
        }
    }
}

/// The first satisfied alternative, and the unsatisfied ones before it.
#[derive(Default)]
struct Alternatives<'c> {
    passed: Option<Satisfied<'c>>,
    denied: Vec<Denied>,
}

impl<'c> Alternatives<'c> {
    /// Returns whether other secrets could satisfy a denied alternative.
    fn secrets_matter(&self) -> bool {
        self.denied.iter().any(|denied| denied.reasons.iter().all(DenialReason::secrets_matter))
    }

    /// Returns the published key on which the decision depends.
    fn needed_key(&self) -> Option<&KeyUrl> {
        let mut reasons = self.denied.iter().filter(|_| self.passed.is_none()).flat_map(|denied| &denied.reasons);
        reasons.find_map(|why| match why {
            DenialReason::KeyNeeded { url } => Some(url),
            _ => None,
        })
    }

    fn into_result(self) -> Result<Satisfied<'c>, Rejection> {
        if let Some(satisfied) = self.passed {
            return Ok(satisfied);
        }
        let deciding = self.denied.iter().filter_map(|denied| denied.reasons.iter().min_by_key(|why| why.rank()));
        // `max_by_key` returns the last of equals. Reversed, the first alternative of the contract wins.
        let shown = deciding.rev().max_by_key(|why| why.rank());
        Err(match shown {
            Some(DenialReason::Scope { missing }) => {
                Rejection::new(Code::ScopeMissing, format!("The credentials lack the scope {missing}."))
            }
            Some(DenialReason::Undecided { code, log }) => undecided(*code, log),
            Some(DenialReason::KeyNeeded { url }) => undecided(Code::KeyUnavailable, &url.as_str()),
            Some(DenialReason::Invalid { detail, .. }) => {
                self.challenge(Rejection::new(Code::CredentialsInvalid, detail.clone()).log(self.log()))
            }
            Some(DenialReason::Missing { .. }) | None => {
                let detail = format!("Send the header {}.", self.missing());
                self.challenge(Rejection::new(Code::CredentialsMissing, detail))
            }
        })
    }

    /// Adds the challenges of all alternatives in contract order (RFC 9110, section 11.6.1).
    fn challenge(&self, rejection: Rejection) -> Rejection {
        let mut challenges: Vec<&str> = Vec::new();
        for challenge in self.denied.iter().flat_map(|denied| &denied.challenges) {
            if !challenges.contains(&challenge.as_str()) {
                challenges.push(challenge);
            }
        }
        rejection.header("www-authenticate", challenges.join(", "))
    }

    fn log(&self) -> String {
        let logs = self.denied.iter().flat_map(|denied| &denied.reasons).filter_map(|why| match why {
            DenialReason::Invalid { log, .. } => Some(log.as_str()),
            _ => None,
        });
        logs.collect::<Vec<_>>().join("; ")
    }

    /// Returns the missing headers, alternatives joined by "or".
    fn missing(&self) -> String {
        let alternatives = self.denied.iter().map(|denied| {
            let headers = denied.reasons.iter().filter_map(|why| match why {
                DenialReason::Missing { header } => Some(header.as_str()),
                _ => None,
            });
            headers.collect::<Vec<_>>().join(" and ")
        });
        alternatives.collect::<Vec<_>>().join(" or ")
    }
}

/// The inputs of an authorization.
struct Authorization<'a, 'r, 'c> {
    routed: &'a Routed<'r>,
    contract: &'c Contract,
    keyring: &'a Keyring,
    keys: &'a Keys,
    /// Empty unless a scheme signs it.
    url: &'a str,
    now: Moment,
    now_unix_s: i64,
}

impl<'c> Authorization<'_, '_, 'c> {
    fn verdict(&self) -> Alternatives<'c> {
        let mut verdict = Alternatives::default();
        for all in &self.routed.operation().security {
            let (mut caller, mut scheme, mut reasons) = (None, None, Vec::new());
            for (at, requirement) in all.iter().enumerate() {
                match self.requirement(requirement) {
                    Ok(satisfied) => {
                        caller.get_or_insert(satisfied.caller);
                        scheme = scheme.or(satisfied.scheme);
                    }
                    Err(why) => reasons.push((at, why)),
                }
            }
            if reasons.is_empty() {
                verdict.passed = Some(Satisfied { caller: caller.unwrap_or(Caller::Anonymous), scheme });
                return verdict;
            }
            // Every requirement is challenged, even a satisfied one: whether it is satisfied may depend on secrets that
            // were not fetched.
            let challenges = all.iter().enumerate().filter_map(|(at, requirement)| {
                let why = reasons.iter().find(|(of, _)| *of == at).map(|(_, why)| why);
                self.challenge(requirement, why)
            });
            let challenges = challenges.collect();
            verdict.denied.push(Denied { challenges, reasons: reasons.into_iter().map(|(_, why)| why).collect() });
        }
        verdict
    }

    /// Returns the challenge of a requirement, with the name of the missing header, if any.
    fn challenge(&self, requirement: &Requirement, why: Option<&DenialReason>) -> Option<String> {
        let (kind, header) = match self.contract.scheme(&requirement.scheme)? {
            SecurityScheme::ApiKey { header, .. } => ("ApiKey", header),
            SecurityScheme::Signature { header, .. } => ("Signature", header),
        };
        let header = if let Some(DenialReason::Missing { header }) = why { header } else { header };
        Some(format!("{kind} header=\"{header}\""))
    }

    fn requirement(&self, requirement: &Requirement) -> Result<Satisfied<'c>, DenialReason> {
        match self.contract.scheme(&requirement.scheme) {
            Some(SecurityScheme::ApiKey { header, secret }) => self.api_key(header, secret, &requirement.scopes),
            Some(SecurityScheme::Signature { scheme, secret, .. }) => self.signature(scheme, secret),
            // The build rejects contracts with an unknown scheme.
            None => Err(unavailable_because(format!("the contract has no security scheme {}", requirement.scheme))),
        }
    }

    fn api_key(&self, header: &str, secret: &str, scopes: &[String]) -> Result<Satisfied<'c>, DenialReason> {
        let mut values = self.routed.arrival().headers.get_all(header).iter();
        let sent = values.next().ok_or_else(|| DenialReason::Missing { header: header.to_owned() })?;
        if values.next().is_some() {
            let detail = format!("The header {header} is sent more than once.").into();
            return Err(DenialReason::Invalid { detail, log: "several API keys".to_owned(), secrets_matter: false });
        }
        let digest = Sha256::digest(sent.as_bytes());
        let keys = self.keyring.api_keys(secret, self.now).map_err(|error| unusable(&error))?;
        let mut found = None;
        for key in keys {
            if bool::from(key.sha256.ct_eq(digest.as_slice())) {
                found = Some(key);
            }
        }
        let key = found.ok_or_else(|| invalid("unknown API key", true))?;
        let lacks = |scope: &&String| !key.scopes.iter().any(|have| have == "*" || have == *scope);
        match scopes.iter().find(lacks) {
            Some(missing) => Err(DenialReason::Scope { missing: missing.clone() }),
            None => Ok(Satisfied { caller: Caller::ApiKey { principal: key.principal.clone() }, scheme: None }),
        }
    }

    fn signature(&self, scheme: &'c Scheme, secret: &str) -> Result<Satisfied<'c>, DenialReason> {
        let arrival = self.routed.arrival();
        let headers = &arrival.headers;
        // A request without a signature header is not a signed request, even if it has the scheme's other headers.
        if scheme.signature.body.is_none() && !scheme.is_signed(headers) {
            return Err(DenialReason::Missing { header: scheme.signature.header.first().to_owned() });
        }
        let secrets = self.keyring.signing(secret, self.now);
        let live = secrets.as_ref().map_or(&[][..], |live| live);
        let request =
            Request::new(headers, self.routed.body()).at(&arrival.method, self.url).with_keys(&self.keys.found);
        let denied = match (scheme.verify(&request, live, self.now_unix_s), secrets) {
            (Ok(Verified { secret: position }), _) => {
                let signs_answers = scheme.handshakes.iter().any(Handshake::needs_secret);
                let key = live.get(position).filter(|_| signs_answers).cloned();
                let caller = Caller::Signature { secret: secret.to_owned(), position, key };
                return Ok(Satisfied { caller, scheme: Some(scheme) });
            }
            (Err(SignatureError::MissingHeader { header }), _) => DenialReason::Missing { header },
            (Err(SignatureError::KeyNeeded { url }), _) => self.key_needed(url),
            (Err(SignatureError::Mismatch), Err(error)) => unusable(&error),
            (Err(SignatureError::Mismatch), Ok([])) => invalid("there is no live secret", true),
            (Err(error), _) => invalid(error.to_string(), error == SignatureError::Mismatch),
        };
        Err(denied)
    }
}

impl Authorization<'_, '_, '_> {
    /// Returns the reason of a request whose key is not there: it may be fetched, or that failed.
    fn key_needed(&self, url: KeyUrl) -> DenialReason {
        match self.keys.failed.iter().find(|(failed, _)| *failed == url) {
            None => DenialReason::KeyNeeded { url },
            Some((_, error @ KeyFetchError::Refused { .. })) => invalid(error.to_string(), false),
            Some((_, error @ KeyFetchError::Unavailable { .. })) => {
                DenialReason::Undecided { code: Code::KeyUnavailable, log: error.to_string() }
            }
        }
    }
}

fn unavailable_because(log: String) -> DenialReason {
    DenialReason::Undecided { code: Code::SecretsUnavailable, log }
}

fn unusable(error: &ListError) -> DenialReason {
    DenialReason::Undecided { code: error.code(), log: error.to_string() }
}

fn invalid(log: impl Into<String>, secrets_matter: bool) -> DenialReason {
    DenialReason::Invalid {
        detail: "The credentials are not valid for this request.".into(),
        log: log.into(),
        secrets_matter,
    }
}
