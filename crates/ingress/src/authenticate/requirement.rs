//! The requirements of `security`, each checked by the kind of its scheme.

use sha2::{Digest, Sha256};
use sluicegate_contract::{Contract, GatewayIdentity, KeyPlace, Requirement, SecurityScheme, secret_entry::ApiKey};
use sluicegate_envelope::{ATTRIBUTE_BYTES_MAX, refused_character};
use sluicegate_webhook::{
    AcceptedToken, AccessTokens, Encoding, Handshake, KeyUrl, Request, Scheme, SignatureError, Verified,
};
use subtle::ConstantTimeEq;

use super::{
    Caller,
    decision::Keys,
    verdict::{Alternatives, DenialReason, Denied, Missing, Satisfied},
};
use crate::{
    gateway_context::Identity,
    published_keys::KeyFetchError,
    rejection::Code,
    route::Routed,
    secrets::{Keyring, ListError, Moment},
};

/// The header of tokens and passwords.
const AUTHORIZATION: &str = "authorization";

/// The inputs of an authorization.
pub(super) struct Authorization<'a, 'r, 'c> {
    pub(super) routed: &'a Routed<'r>,
    pub(super) contract: &'c Contract,
    pub(super) keyring: &'a Keyring,
    pub(super) keys: &'a Keys,
    /// Empty unless a scheme signs it.
    pub(super) url: &'a str,
    pub(super) now: Moment,
    pub(super) now_unix_s: i64,
}

impl<'c> Authorization<'_, '_, 'c> {
    pub(super) fn verdict(&self) -> Alternatives<'c> {
        let mut verdict = Alternatives::default();
        for all in &self.routed.operation().security {
            let (mut caller, mut scheme, mut claims, mut reasons) = (None, None, None, Vec::new());
            for (at, requirement) in all.iter().enumerate() {
                match self.requirement(requirement) {
                    Ok(satisfied) => {
                        caller.get_or_insert(satisfied.caller);
                        scheme = scheme.or(satisfied.scheme);
                        claims = claims.or(satisfied.claims);
                    }
                    Err(why) => reasons.push((at, why)),
                }
            }
            if reasons.is_empty() {
                verdict.passed = Some(Satisfied { caller: caller.unwrap_or(Caller::Anonymous), scheme, claims });
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
        let realm = &requirement.scheme;
        Some(match self.contract.scheme(&requirement.scheme)? {
            SecurityScheme::ApiKey { place, name, .. } => {
                let place = match place {
                    KeyPlace::Header => "header",
                    KeyPlace::Query => "query",
                    KeyPlace::Cookie => "cookie",
                };
                format!("ApiKey {place}=\"{name}\"")
            }
            SecurityScheme::Basic { .. } => format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
            SecurityScheme::Token { .. } | SecurityScheme::Gateway { identity: GatewayIdentity::Jwt, .. } => {
                let error = matches!(why, Some(DenialReason::Invalid { .. })).then_some("invalid_token");
                bearer(realm, error, &requirement.scopes)
            }
            SecurityScheme::Gateway { identity, .. } => {
                let kind = match identity {
                    GatewayIdentity::ClientCertificate => "ClientCertificate",
                    GatewayIdentity::Iam => "AWS4-HMAC-SHA256",
                    GatewayIdentity::Jwt | GatewayIdentity::Lambda => "Authorizer",
                };
                format!("{kind} realm=\"{realm}\"")
            }
            SecurityScheme::Signature { header, .. } => {
                let missing = match why {
                    Some(DenialReason::Missing(Missing::Header(missing))) => missing,
                    _ => header,
                };
                format!("Signature header=\"{missing}\"")
            }
        })
    }

    fn requirement(&self, requirement: &Requirement) -> Result<Satisfied<'c>, DenialReason> {
        match self.contract.scheme(&requirement.scheme) {
            Some(SecurityScheme::ApiKey { place, name, secret }) => {
                self.api_key(*place, name, secret, &requirement.scopes)
            }
            Some(SecurityScheme::Basic { secret }) => self.basic(secret, &requirement.scopes),
            Some(SecurityScheme::Token { tokens }) => self.token(tokens, requirement),
            Some(SecurityScheme::Gateway { identity, principal }) => self.gateway(*identity, principal, requirement),
            Some(SecurityScheme::Signature { scheme, secret, .. }) => self.signature(scheme, secret),
            // The build rejects contracts with an unknown scheme.
            None => Err(unavailable_because(format!("the contract has no security scheme {}", requirement.scheme))),
        }
    }

    fn api_key(
        &self,
        place: KeyPlace,
        name: &str,
        secret: &str,
        scopes: &[String],
    ) -> Result<Satisfied<'c>, DenialReason> {
        let arrival = self.routed.arrival();
        match place {
            KeyPlace::Header => self.known_key(self.only_header(name)?, None, secret, scopes),
            KeyPlace::Query if arrival.repeats_query(name) => Err(repeated("query parameter", name)),
            KeyPlace::Query => {
                let sent = arrival.query_value(name);
                let sent = sent.ok_or_else(|| DenialReason::Missing(Missing::Query(name.to_owned())))?;
                self.known_key(sent.as_bytes(), None, secret, scopes)
            }
            KeyPlace::Cookie => {
                let mut values = arrival.cookies(name);
                let sent = values.next().ok_or_else(|| DenialReason::Missing(Missing::Cookie(name.to_owned())))?;
                match values.next() {
                    Some(_) => Err(repeated("cookie", name)),
                    None => self.known_key(sent, None, secret, scopes),
                }
            }
        }
    }

    /// Checks a user name and a password (RFC 7617, section 2): those of a key are its principal and the key.
    fn basic(&self, secret: &str, scopes: &[String]) -> Result<Satisfied<'c>, DenialReason> {
        let credentials = self.credentials("basic")?;
        let decoded = Encoding::Base64.decode(credentials).and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded.as_ref().and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or_else(|| invalid("the header authorization is not user:password", false))?;
        self.known_key(password.as_bytes(), Some(user), secret, scopes)
    }

    /// Checks a key; of HTTP Basic, that it is the user's.
    fn known_key(
        &self,
        sent: &[u8],
        user: Option<&str>,
        secret: &str,
        scopes: &[String],
    ) -> Result<Satisfied<'c>, DenialReason> {
        let digest = Sha256::digest(sent);
        let keys = self.keyring.api_keys(secret, self.now).map_err(|error| unusable(&error))?;
        let mut found: Option<&ApiKey> = None;
        for key in keys {
            if bool::from(key.sha256.ct_eq(digest.as_slice())) {
                found = Some(key);
            }
        }
        let is_users = |key: &&ApiKey| user.is_none_or(|user| user == key.principal);
        let key = found.filter(is_users).ok_or_else(|| match user {
            None => invalid("unknown API key", true),
            Some(_) => invalid("unknown user or password", true),
        })?;
        match lacks(scopes, &key.scopes) {
            Some(missing) => {
                Err(DenialReason::Scope { missing: missing.to_owned(), challenge: None, secrets_matter: true })
            }
            None => Ok(satisfied(Caller::ApiKey { principal: key.principal.clone() })),
        }
    }

    fn token(&self, tokens: &'c AccessTokens, requirement: &Requirement) -> Result<Satisfied<'c>, DenialReason> {
        let token = self.credentials("bearer")?;
        let accepted = tokens.verify(token, &self.keys.found, self.now_unix_s).map_err(|error| match error {
            SignatureError::KeyNeeded { url } => self.key_needed(url, true),
            error => invalid(error.to_string(), false),
        })?;
        let AcceptedToken { principal, scopes, claims } = accepted;
        let principal = checked_principal(principal)?;
        check_scopes(requirement, &scopes)?;
        let caller = Caller::Token { principal, issuer: &tokens.issuer };
        Ok(Satisfied { claims: Some(claims), ..satisfied(caller) })
    }

    /// Takes the identity that the gateway has checked. A client cannot write it, for it is beside the request.
    fn gateway(
        &self,
        identity: GatewayIdentity,
        principal: &str,
        requirement: &Requirement,
    ) -> Result<Satisfied<'c>, DenialReason> {
        let found = self.routed.arrival().gateway.identity(identity, principal);
        let Identity { principal, scopes, claims } = found.ok_or_else(|| {
            DenialReason::Missing(match identity {
                GatewayIdentity::ClientCertificate => Missing::Gateway("a client certificate"),
                GatewayIdentity::Iam => Missing::Gateway("an AWS signature"),
                GatewayIdentity::Jwt => Missing::Header(AUTHORIZATION.to_owned()),
                GatewayIdentity::Lambda => Missing::Gateway("credentials to the gateway"),
            })
        })?;
        let principal = principal.ok_or_else(|| {
            invalid("the gateway's context has no principal at the place that the contract says", false)
        })?;
        let principal = checked_principal(principal)?;
        check_scopes(requirement, &scopes)?;
        Ok(Satisfied { claims, ..satisfied(Caller::Gateway { principal, identity }) })
    }

    /// Returns the value of a header that is sent once.
    fn only_header(&self, name: &str) -> Result<&[u8], DenialReason> {
        let mut values = self.routed.arrival().headers.get_all(name).iter();
        let sent = values.next().ok_or_else(|| DenialReason::Missing(Missing::Header(name.to_owned())))?;
        if values.next().is_some() { Err(repeated("header", name)) } else { Ok(sent.as_bytes()) }
    }

    /// Returns what follows the scheme in `Authorization` (RFC 9110, section 11.4), if it is this scheme.
    fn credentials(&self, scheme: &str) -> Result<&[u8], DenialReason> {
        let sent = self.only_header(AUTHORIZATION)?;
        let (named, rest) = sent.split_at(sent.iter().position(|byte| *byte == b' ').unwrap_or(sent.len()));
        if named.eq_ignore_ascii_case(scheme.as_bytes()) {
            Ok(rest.trim_ascii())
        } else {
            Err(DenialReason::Missing(Missing::Header(AUTHORIZATION.to_owned())))
        }
    }

    fn signature(&self, scheme: &'c Scheme, secret: &str) -> Result<Satisfied<'c>, DenialReason> {
        let arrival = self.routed.arrival();
        let headers = &arrival.headers;
        // A request without a signature header is not a signed request, even if it has the scheme's other headers.
        if scheme.signature.body.is_none() && !scheme.is_signed(headers) {
            return Err(DenialReason::Missing(Missing::Header(scheme.signature.header.first().to_owned())));
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
                return Ok(Satisfied { scheme: Some(scheme), ..satisfied(caller) });
            }
            (Err(SignatureError::MissingHeader { header }), _) => DenialReason::Missing(Missing::Header(header)),
            (Err(SignatureError::KeyNeeded { url }), _) => self.key_needed(url, false),
            (Err(SignatureError::Mismatch), Err(error)) => unusable(&error),
            (Err(SignatureError::Mismatch), Ok([])) => invalid("there is no live secret", true),
            (Err(error), _) => invalid(error.to_string(), error == SignatureError::Mismatch),
        };
        Err(denied)
    }
}

impl Authorization<'_, '_, '_> {
    /// Returns the reason of a request whose key is not there: it may be fetched, or that failed. `is_ours`: the
    /// contract names the URL. A file that cannot be used is then not the fault of the request.
    fn key_needed(&self, url: KeyUrl, is_ours: bool) -> DenialReason {
        match self.keys.failed.iter().find(|(failed, _)| *failed == url) {
            None => DenialReason::KeyNeeded { url },
            Some((_, error @ KeyFetchError::Refused { .. })) if !is_ours => invalid(error.to_string(), false),
            Some((_, error @ KeyFetchError::Unknown { .. })) => invalid(error.to_string(), false),
            Some((_, error)) => DenialReason::Undecided { code: Code::KeyUnavailable, log: error.to_string() },
        }
    }
}

fn satisfied(caller: Caller<'_>) -> Satisfied<'_> {
    Satisfied { caller, scheme: None, claims: None }
}

/// Returns the challenge of a bearer token (RFC 6750, section 3).
fn bearer(realm: &str, error: Option<&str>, scopes: &[String]) -> String {
    let error = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
    let scopes = if scopes.is_empty() { String::new() } else { format!(", scope=\"{}\"", scopes.join(" ")) };
    format!("Bearer realm=\"{realm}\"{error}{scopes}")
}

/// Returns the first of the needed scopes that the caller does not have. Of a key, `*` is every scope.
fn lacks<'s>(needed: &'s [String], scopes: &[String]) -> Option<&'s String> {
    needed.iter().find(|scope| !scopes.iter().any(|have| have == "*" || have == *scope))
}

/// Checks the scopes of a token, where `*` is a scope like others.
fn check_scopes(requirement: &Requirement, scopes: &[String]) -> Result<(), DenialReason> {
    let Some(missing) = requirement.scopes.iter().find(|scope| !scopes.contains(scope)) else { return Ok(()) };
    let challenge = Some(bearer(&requirement.scheme, Some("insufficient_scope"), &requirement.scopes));
    Err(DenialReason::Scope { missing: missing.clone(), challenge, secrets_matter: false })
}

/// Returns a principal that an event can have.
fn checked_principal(principal: String) -> Result<String, DenialReason> {
    if principal.is_empty() || principal.len() > ATTRIBUTE_BYTES_MAX || refused_character(&principal).is_some() {
        return Err(invalid("the principal is empty, too long, or has a control character", false));
    }
    Ok(principal)
}

fn repeated(place: &str, name: &str) -> DenialReason {
    let detail = format!("The {place} {name} is sent more than once.").into();
    DenialReason::Invalid { detail, log: "several credentials".to_owned(), secrets_matter: false }
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
