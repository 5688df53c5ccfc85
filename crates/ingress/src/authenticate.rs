//! Stage 2, [`Authenticated`]: a request whose credentials are verified, on its exact bytes.
//!
//! Verification uses the raw headers and body. The body is parsed only for a provider that signs values within it.
//! Every live secret is compared in constant time, so that neither the answer nor its timing reveals how close a guess
//! was.

mod decision;
mod requirement;
mod verdict;

use std::{fmt::Display, time::SystemTime};

use serde_json::Value;
use sluicegate_contract::{Contract, GatewayIdentity};
use sluicegate_webhook::{Assurance, Scheme, Secret};
use tokio::time::Instant;

use crate::{
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
    route::Routed,
    secrets::{Moment, SecretSource, Secrets},
};
use decision::{Checks, signed_url};
pub(crate) use verdict::Satisfied;

/// The principal of a route without security requirements.
pub(crate) const ANONYMOUS: &str = "anonymous";

/// A request whose sender is known and allowed.
#[derive(Debug)]
pub struct Authenticated<'c> {
    routed: Routed<'c>,
    caller: Caller<'c>,
    /// The scheme of the accepted signature, if any.
    scheme: Option<&'c Scheme>,
    /// The claims of the caller's token, if any.
    claims: Option<Value>,
}

/// The authenticated caller.
#[derive(Debug)]
pub(crate) enum Caller<'c> {
    /// The principal of an API key, which HTTP Basic sends as a password.
    ApiKey { principal: String },
    /// The principal of a token, and its issuer.
    Token { principal: String, issuer: &'c str },
    /// The principal that the gateway has checked.
    Gateway { principal: String, identity: GatewayIdentity },
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
        now: SystemTime,
        deadline: Instant,
    ) -> Result<Self, Rejection> {
        let satisfied = satisfied(&routed, contract, secrets, public_url, Moment::now(now), deadline);
        let Satisfied { caller, scheme, claims } = satisfied.await?;
        Ok(Self { routed, caller, scheme, claims })
    }

    /// Returns the previous stage.
    #[must_use]
    pub fn routed(&self) -> &Routed<'c> {
        &self.routed
    }

    /// Returns the sender.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn caller(&self) -> &Caller<'c> {
        &self.caller
    }

    /// Returns the value of a header by its name in lower case. A header of the accepted signature is found by each of
    /// its names: `webhook-id` finds `svix-id`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let arrival = self.routed.arrival();
        let alias = || self.scheme?.aliases(name).find_map(|alias| arrival.header(alias));
        arrival.header(name).or_else(alias)
    }

    /// Returns the sender: the principal of the key, the token or the gateway, the name of the signing secret, or
    /// `anonymous`. It is unique only within its [`principal_domain`](Self::principal_domain): an API key may have the
    /// principal `github`.
    #[must_use]
    pub fn principal(&self) -> &str {
        self.caller.principal()
    }

    /// Returns the position, in its list, of the signing secret that fits; `None` for another kind of caller. During a
    /// rotation it shows whether the sender still signs with the older secret.
    #[must_use]
    pub fn secret_position(&self) -> Option<usize> {
        match self.caller {
            Caller::Signature { position, .. } => Some(position),
            _ => None,
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
            _ => None,
        }
    }

    /// Returns the claims of the caller's token.
    pub(crate) fn claims(&self) -> Option<&Value> {
        self.claims.as_ref()
    }

    /// Returns what the accepted signature proves; `None` for another kind of caller. The contract has accepted it.
    #[must_use]
    pub fn assurance(&self) -> Option<Assurance> {
        self.scheme.map(|scheme| scheme.assurance)
    }

    /// Returns the kind of [`principal`](Self::principal): `api-key`, the issuer of a token, what the gateway has
    /// checked, `signature` or `anonymous`.
    #[must_use]
    pub fn principal_domain(&self) -> &str {
        self.caller.principal_domain()
    }
}

impl Caller<'_> {
    pub(crate) fn principal(&self) -> &str {
        match self {
            Self::ApiKey { principal } | Self::Token { principal, .. } | Self::Gateway { principal, .. } => principal,
            Self::Signature { secret, .. } => secret,
            Self::Anonymous => ANONYMOUS,
        }
    }

    /// Returns the kind of the principal. Message ids depend on these texts: do not change them.
    pub(crate) fn principal_domain(&self) -> &str {
        match self {
            Self::ApiKey { .. } => "api-key",
            Self::Token { issuer, .. } => issuer,
            Self::Gateway { identity, .. } => match identity {
                GatewayIdentity::ClientCertificate => "client-certificate",
                GatewayIdentity::Iam => "iam",
                GatewayIdentity::Jwt => "jwt-authorizer",
                GatewayIdentity::Lambda => "lambda-authorizer",
            },
            Self::Signature { .. } => "signature",
            Self::Anonymous => "anonymous",
        }
    }
}

/// Checks the requirements of the request's operation: see [`Authenticated::new`].
pub(crate) async fn satisfied<'c, S: SecretSource>(
    routed: &Routed<'c>,
    contract: &'c Contract,
    secrets: &Secrets<S>,
    public_url: Option<&str>,
    arrived: Moment,
    deadline: Instant,
) -> Result<Satisfied<'c>, Rejection> {
    if routed.operation().security.is_empty() {
        return Ok(Satisfied { caller: Caller::Anonymous, scheme: None, claims: None });
    }
    let url = signed_url(routed, contract, public_url);
    let checks = Checks { contract, secrets, url, arrived, deadline };
    checks.with_keys(routed).await?.into_result()
}

/// Returns the live signing secrets of a list, for an answer that is signed.
///
/// # Errors
/// 503 if the secrets cannot be read, or have no such list.
pub(crate) async fn signing_secrets<S: SecretSource>(
    secrets: &Secrets<S>,
    list: &str,
    now: Moment,
) -> Result<Vec<Secret>, Rejection> {
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
