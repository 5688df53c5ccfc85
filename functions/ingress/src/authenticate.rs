//! Stage 2, [`Authenticated`]: somebody we know sent exactly these bytes.
//!
//! Decided on the raw headers and body, before anything is parsed. Every live secret is compared in constant time, so that
//! neither the answer nor its timing tells how close a guess was.

use sha2::{Digest, Sha256};
use sluicegate_contract::{Contract, Requirement, SecurityScheme};
use sluicegate_webhook::{Scheme, SignatureError};
use subtle::ConstantTimeEq;

use crate::{
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
    route::Routed,
    secrets::{Keyring, SecretSource, Secrets, UNKNOWN_REFRESH_AFTER},
};

/// The principal of a route that asks for no credentials.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// A request whose sender is known and allowed.
#[derive(Debug)]
pub struct Authenticated<'c> {
    routed: Routed<'c>,
    caller: Caller,
}

/// Who passed, and by what.
#[derive(Debug)]
enum Caller {
    /// The principal of an API key.
    ApiKey { principal: String },
    /// The name of the list whose signing secret fits.
    Signature { secret: String },
    /// The route asked for no credentials.
    Anonymous,
}

impl<'c> Authenticated<'c> {
    /// Checks the operation's security requirements: one alternative must hold as a whole (OpenAPI 3.1, Security
    /// Requirement Object).
    ///
    /// # Errors
    /// Credentials missing or not valid (401), not allowed (403), or secrets that cannot be read (503).
    pub async fn new<S: SecretSource>(
        routed: Routed<'c>,
        contract: &Contract,
        secrets: &Secrets<S>,
        now_unix_s: i64,
    ) -> Result<Self, Rejection> {
        let alternatives = &routed.operation().security;
        if alternatives.is_empty() {
            return Ok(Self { routed, caller: Caller::Anonymous });
        }
        let keyring = secrets.keyring().await.map_err(|error| {
            Rejection::new(Code::SecretsUnavailable, "Try again in a moment.")
                .header("retry-after", UNAVAILABLE_RETRY_AFTER_S)
                .log(error)
        })?;
        let check = |keyring: &Keyring| decide(&routed, contract, keyring, alternatives, now_unix_s);
        let mut verdict = check(&keyring);
        if matches!(verdict, Err(Denied::Invalid { fresh_may_fit: true, .. }))
            && let Some(fresh) = secrets.refresh_after(UNKNOWN_REFRESH_AFTER).await
        {
            verdict = check(&fresh);
        }
        match verdict {
            Ok(caller) => Ok(Self { routed, caller }),
            Err(denied) => Err(denied.into()),
        }
    }

    /// The stage before.
    #[must_use]
    pub fn routed(&self) -> &Routed<'c> {
        &self.routed
    }

    /// Who sent it: the API key's principal, the name of the signing scheme's secret, or `anonymous`. Unique only within its
    /// [`principal_domain`](Self::principal_domain): an API key may have the principal `github`.
    #[must_use]
    pub fn principal(&self) -> &str {
        match &self.caller {
            Caller::ApiKey { principal } => principal,
            Caller::Signature { secret } => secret,
            Caller::Anonymous => ANONYMOUS,
        }
    }

    /// What kind of name [`principal`](Self::principal) is: `api-key`, `signature` or `anonymous`. Message ids depend on
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

/// Why a requirement does not hold; ordered so that the greatest of several is the most helpful answer.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Denied {
    Missing {
        challenge: String,
    },
    /// `fresh_may_fit`: a secret made since the last refresh could turn this into a yes.
    Invalid {
        challenge: String,
        log: String,
        fresh_may_fit: bool,
    },
    Scope {
        missing: String,
    },
}

impl From<Denied> for Rejection {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Missing { challenge } => {
                let detail = format!("This route takes {challenge}.");
                Self::new(Code::CredentialsMissing, detail).header("www-authenticate", challenge)
            }
            Denied::Invalid { challenge, log, .. } => {
                Self::new(Code::CredentialsInvalid, "The credentials do not fit this request.")
                    .header("www-authenticate", challenge)
                    .log(log)
            }
            Denied::Scope { missing } => {
                Self::new(Code::ScopeMissing, format!("The credentials lack the scope {missing}."))
            }
        }
    }
}

fn decide(
    routed: &Routed<'_>,
    contract: &Contract,
    keyring: &Keyring,
    alternatives: &[Vec<Requirement>],
    now_unix_s: i64,
) -> Result<Caller, Denied> {
    let mut worst = Denied::Missing { challenge: String::new() };
    for all in alternatives {
        let mut caller = None;
        let held = all.iter().try_for_each(|requirement| {
            let one = hold(routed, contract, keyring, requirement, now_unix_s)?;
            caller.get_or_insert(one);
            Ok(())
        });
        match held {
            Ok(()) => return Ok(caller.unwrap_or(Caller::Anonymous)),
            Err(denied) => worst = worst.max(denied),
        }
    }
    Err(worst)
}

fn hold(
    routed: &Routed<'_>,
    contract: &Contract,
    keyring: &Keyring,
    requirement: &Requirement,
    now_unix_s: i64,
) -> Result<Caller, Denied> {
    match contract.scheme(&requirement.scheme) {
        Some(SecurityScheme::ApiKey { header, secret }) => api_key(routed, keyring, header, secret, requirement),
        Some(SecurityScheme::Signature { header, preset, secret }) => {
            let challenge = format!("Signature header=\"{header}\"");
            let verdict = match Scheme::named(preset) {
                Some(scheme) => {
                    let secrets = keyring.signing(secret);
                    scheme.verify(&routed.arrival().headers, routed.body(), secrets, now_unix_s)
                }
                None => Err(SignatureError::Mismatch),
            };
            verdict.map(|()| Caller::Signature { secret: secret.clone() }).map_err(|error| match error {
                SignatureError::MissingHeader { .. } => Denied::Missing { challenge },
                error => {
                    let fresh_may_fit = error == SignatureError::Mismatch;
                    Denied::Invalid { challenge, log: error.to_string(), fresh_may_fit }
                }
            })
        }
        None => Err(Denied::Missing { challenge: String::new() }),
    }
}

fn api_key(
    routed: &Routed<'_>,
    keyring: &Keyring,
    header: &str,
    secret: &str,
    requirement: &Requirement,
) -> Result<Caller, Denied> {
    let challenge = format!("ApiKey header=\"{header}\"");
    let Some(sent) = routed.arrival().headers.get(header) else { return Err(Denied::Missing { challenge }) };
    let digest = Sha256::digest(sent.as_bytes());
    let mut found = None;
    for key in keyring.api_keys(secret) {
        if bool::from(key.sha256.ct_eq(digest.as_slice())) {
            found = Some(key);
        }
    }
    let Some(key) = found else {
        return Err(Denied::Invalid { challenge, log: "unknown API key".to_owned(), fresh_may_fit: true });
    };
    let lacks = |scope: &&String| !key.scopes.iter().any(|have| have == "*" || have == *scope);
    match requirement.scopes.iter().find(lacks) {
        Some(missing) => Err(Denied::Scope { missing: missing.clone() }),
        None => Ok(Caller::ApiKey { principal: key.principal.clone() }),
    }
}
