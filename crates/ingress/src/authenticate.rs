//! Stage 2, [`Authenticated`]: somebody we know sent exactly these bytes.
//!
//! Decided on the raw headers and body, before anything is parsed. Every live secret is compared in constant time, so that
//! neither the answer nor its timing tells how close a guess was.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use sluicegate_contract::{Contract, Requirement, SecurityScheme};
use sluicegate_webhook::{Scheme, SignatureError};
use subtle::ConstantTimeEq;

use crate::{
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
    route::Routed,
    secrets::{Keyring, Moment, SecretSource, Secrets},
};

/// The principal of a route that asks for no credentials.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// A request whose sender is known and allowed.
#[derive(Debug)]
pub struct Authenticated<'c> {
    routed: Routed<'c>,
    caller: Caller,
    /// The signature that passed, if there was one.
    scheme: Option<&'static Scheme>,
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
    /// The secrets are waited for only if the decision depends on them: a request without credentials is refused even while
    /// they cannot be read. A request that newer secrets may admit is decided again with those.
    ///
    /// # Errors
    /// Credentials missing or not valid (401), not allowed (403), or secrets that cannot be read (503).
    pub async fn new<S: SecretSource>(
        routed: Routed<'c>,
        contract: &Contract,
        secrets: &Secrets<S>,
        now_unix_s: i64,
    ) -> Result<Self, Rejection> {
        let Held { caller, scheme } = if routed.operation().security.is_empty() {
            Held { caller: Caller::Anonymous, scheme: None }
        } else {
            verdict(&routed, contract, secrets, now_unix_s).await?.into_result()?
        };
        Ok(Self { routed, caller, scheme })
    }

    /// The stage before.
    #[must_use]
    pub fn routed(&self) -> &Routed<'c> {
        &self.routed
    }

    /// The value of the request's header of that name, in lower case. A header of the signature that passed is found by any
    /// of its names: `webhook-id` finds what came as `svix-id`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let arrival = self.routed.arrival();
        let alias = || self.scheme?.aliases(name).iter().find_map(|alias| arrival.header(alias));
        arrival.header(name).or_else(alias)
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

/// Decides with the cached secrets while they are fresh, and with those of the store where the decision needs them.
async fn verdict<S: SecretSource>(
    routed: &Routed<'_>,
    contract: &Contract,
    secrets: &Secrets<S>,
    now_unix_s: i64,
) -> Result<Verdict, Rejection> {
    let now = Moment::now(now_unix_s);
    let decide = |keyring: &Keyring| Decision { routed, contract, keyring, now, now_unix_s }.verdict();
    let keyring = match secrets.fresh(now) {
        Some(keyring) => keyring,
        None => {
            let without_secrets = decide(&Keyring::default());
            if !without_secrets.secrets_matter() {
                return Ok(without_secrets);
            }
            secrets.keyring(now).await.map_err(unavailable)?
        }
    };
    let verdict = decide(&keyring);
    if verdict.passed.is_none()
        && verdict.secrets_matter()
        && let Some(newer) = secrets.newer(&keyring, now).await
    {
        return Ok(decide(&newer));
    }
    Ok(verdict)
}

fn unavailable(reason: impl ToString) -> Rejection {
    Rejection::new(Code::SecretsUnavailable, "Try again in a moment.")
        .header("retry-after", UNAVAILABLE_RETRY_AFTER_S)
        .log(reason)
}

/// What a requirement, or an alternative as a whole, says of the sender.
struct Held {
    caller: Caller,
    scheme: Option<&'static Scheme>,
}

/// An alternative that does not hold.
struct Denied {
    /// A challenge for each of its requirements, in their order.
    challenges: Vec<String>,
    /// Why those do not hold that do not.
    reasons: Vec<Why>,
}

/// Why a requirement does not hold.
enum Why {
    /// The request does not have this header.
    Missing { header: String },
    /// `secrets_matter`: another secret could turn this into a yes.
    Invalid { detail: Cow<'static, str>, log: String, secrets_matter: bool },
    /// The key is good and has not this scope.
    Scope { missing: String },
    /// The secrets to compare with are not there; the text is for the operator.
    Undecided { log: String },
}

impl Why {
    /// Of the requirements of one alternative the least decides: no secret mends a missing header. Of the alternatives the
    /// greatest is answered: it came nearest.
    fn rank(&self) -> u8 {
        match self {
            Self::Missing { .. } => 0,
            Self::Invalid { .. } => 1,
            Self::Scope { .. } => 2,
            Self::Undecided { .. } => 3,
        }
    }

    fn secrets_matter(&self) -> bool {
        match self {
            Self::Missing { .. } => false,
            Self::Invalid { secrets_matter, .. } => *secrets_matter,
            Self::Scope { .. } | Self::Undecided { .. } => true,
        }
    }
}

/// The first alternative that holds, and those before it, which do not.
#[derive(Default)]
struct Verdict {
    passed: Option<Held>,
    denied: Vec<Denied>,
}

impl Verdict {
    /// Whether other secrets could make one of the denied alternatives hold.
    fn secrets_matter(&self) -> bool {
        self.denied.iter().any(|denied| denied.reasons.iter().all(Why::secrets_matter))
    }

    fn into_result(self) -> Result<Held, Rejection> {
        if let Some(held) = self.passed {
            return Ok(held);
        }
        let deciding = self.denied.iter().filter_map(|denied| denied.reasons.iter().min_by_key(|why| why.rank()));
        // `max_by_key` takes the last of equals, and the first alternative is the one the contract's author thought of first.
        let shown = deciding.rev().max_by_key(|why| why.rank());
        Err(match shown {
            Some(Why::Scope { missing }) => {
                Rejection::new(Code::ScopeMissing, format!("The credentials lack the scope {missing}."))
            }
            Some(Why::Undecided { log }) => unavailable(log),
            Some(Why::Invalid { detail, .. }) => {
                self.challenge(Rejection::new(Code::CredentialsInvalid, detail.clone()).log(self.log()))
            }
            Some(Why::Missing { .. }) | None => {
                let detail = format!("Send the header {}.", self.missing());
                self.challenge(Rejection::new(Code::CredentialsMissing, detail))
            }
        })
    }

    /// Adds the challenges of all alternatives, in the order of the contract (RFC 9110, section 11.6.1).
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
            Why::Invalid { log, .. } => Some(log.as_str()),
            _ => None,
        });
        logs.collect::<Vec<_>>().join("; ")
    }

    /// The headers that are missing: all of one alternative, or all of another.
    fn missing(&self) -> String {
        let alternatives = self.denied.iter().map(|denied| {
            let headers = denied.reasons.iter().filter_map(|why| match why {
                Why::Missing { header } => Some(header.as_str()),
                _ => None,
            });
            headers.collect::<Vec<_>>().join(" and ")
        });
        alternatives.collect::<Vec<_>>().join(" or ")
    }
}

/// All that a decision depends on.
struct Decision<'a, 'c> {
    routed: &'a Routed<'c>,
    contract: &'a Contract,
    keyring: &'a Keyring,
    now: Moment,
    now_unix_s: i64,
}

impl Decision<'_, '_> {
    fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for all in &self.routed.operation().security {
            let (mut caller, mut scheme, mut reasons) = (None, None, Vec::new());
            for (at, requirement) in all.iter().enumerate() {
                match self.requirement(requirement) {
                    Ok(held) => {
                        caller.get_or_insert(held.caller);
                        scheme = scheme.or(held.scheme);
                    }
                    Err(why) => reasons.push((at, why)),
                }
            }
            if reasons.is_empty() {
                verdict.passed = Some(Held { caller: caller.unwrap_or(Caller::Anonymous), scheme });
                return verdict;
            }
            // All of them, those that hold too: which do may depend on secrets that were not needed to refuse the request.
            let challenges = all.iter().enumerate().filter_map(|(at, requirement)| {
                let why = reasons.iter().find(|(of, _)| *of == at).map(|(_, why)| why);
                self.challenge(requirement, why)
            });
            let challenges = challenges.collect();
            verdict.denied.push(Denied { challenges, reasons: reasons.into_iter().map(|(_, why)| why).collect() });
        }
        verdict
    }

    /// The challenge of a requirement; it names the header that is missing, if one is.
    fn challenge(&self, requirement: &Requirement, why: Option<&Why>) -> Option<String> {
        let (kind, header) = match self.contract.scheme(&requirement.scheme)? {
            SecurityScheme::ApiKey { header, .. } => ("ApiKey", header),
            SecurityScheme::Signature { header, .. } => ("Signature", header),
        };
        let header = if let Some(Why::Missing { header }) = why { header } else { header };
        Some(format!("{kind} header=\"{header}\""))
    }

    fn requirement(&self, requirement: &Requirement) -> Result<Held, Why> {
        match self.contract.scheme(&requirement.scheme) {
            Some(SecurityScheme::ApiKey { header, secret }) => self.api_key(header, secret, &requirement.scopes),
            Some(SecurityScheme::Signature { header, preset, secret }) => self.signature(header, preset, secret),
            // The build has checked that there is one.
            None => Err(Why::Undecided { log: format!("the contract has no security scheme {}", requirement.scheme) }),
        }
    }

    fn api_key(&self, header: &str, secret: &str, scopes: &[String]) -> Result<Held, Why> {
        let mut values = self.routed.arrival().headers.get_all(header).iter();
        let sent = values.next().ok_or_else(|| Why::Missing { header: header.to_owned() })?;
        if values.next().is_some() {
            let detail = format!("The header {header} is sent more than once.").into();
            return Err(Why::Invalid { detail, log: "several API keys".to_owned(), secrets_matter: false });
        }
        let digest = Sha256::digest(sent.as_bytes());
        let keys =
            self.keyring.api_keys(secret, self.now).map_err(|error| Why::Undecided { log: error.to_string() })?;
        let mut found = None;
        for key in keys {
            if bool::from(key.sha256.ct_eq(digest.as_slice())) {
                found = Some(key);
            }
        }
        let key = found.ok_or_else(|| invalid("unknown API key", true))?;
        let lacks = |scope: &&String| !key.scopes.iter().any(|have| have == "*" || have == *scope);
        match scopes.iter().find(lacks) {
            Some(missing) => Err(Why::Scope { missing: missing.clone() }),
            None => Ok(Held { caller: Caller::ApiKey { principal: key.principal.clone() }, scheme: None }),
        }
    }

    fn signature(&self, header: &str, preset: &str, secret: &str) -> Result<Held, Why> {
        let undecided = |reason: &dyn std::fmt::Display| Why::Undecided { log: reason.to_string() };
        // The build has checked that there is one.
        let scheme = Scheme::named(preset).ok_or_else(|| undecided(&format_args!("no signature scheme {preset}")))?;
        let headers = &self.routed.arrival().headers;
        // Without a signature the request does not claim to be signed, whatever else it has or lacks.
        if !scheme.signature_headers().iter().any(|name| headers.contains_key(*name)) {
            return Err(Why::Missing { header: header.to_owned() });
        }
        let secrets = self.keyring.signing(secret, self.now);
        let live = secrets.as_ref().map_or(&[][..], |live| live);
        let denied = match (scheme.verify(headers, self.routed.body(), live, self.now_unix_s), secrets) {
            (Ok(()), _) => {
                return Ok(Held { caller: Caller::Signature { secret: secret.to_owned() }, scheme: Some(scheme) });
            }
            (Err(SignatureError::MissingHeader { header }), _) => Why::Missing { header: header.to_owned() },
            (Err(SignatureError::Mismatch), Err(error)) => undecided(&error),
            (Err(error), _) => invalid(error.to_string(), error == SignatureError::Mismatch),
        };
        Err(denied)
    }
}

fn invalid(log: impl Into<String>, secrets_matter: bool) -> Why {
    Why::Invalid { detail: "The credentials do not fit this request.".into(), log: log.into(), secrets_matter }
}
