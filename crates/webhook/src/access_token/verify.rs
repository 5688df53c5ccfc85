//! Verification of access tokens with the keys that their issuer publishes.

use std::sync::Arc;

use ring::signature::{self, VerificationAlgorithm};
use serde_json::Value;

use super::{AccessTokens, IssuerKeys, TokenAlgorithm};
use crate::encoding::Encoding;
use crate::error::SignatureError;
use crate::published_keys::{KeyKind, KeyUrl, PublishedKeys};
use crate::unique_json::parse_unique;

/// The longest token, in bytes. Ours: API Gateway accepts 10 KB of headers.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token whose signature and claims are accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedToken {
    /// The sender: the claim that the contract names, or `sub`. Not empty.
    pub principal: String,
    /// Every scope of the token.
    pub scopes: Vec<String>,
    /// The claims.
    pub claims: Value,
}

impl TokenAlgorithm {
    /// Returns the kind of the key of this algorithm, and its verification.
    fn verification(self) -> (KeyKind, &'static dyn VerificationAlgorithm) {
        match self {
            Self::RS256 => (KeyKind::Rsa, &signature::RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => (KeyKind::Rsa, &signature::RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => (KeyKind::Rsa, &signature::RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => (KeyKind::Rsa, &signature::RSA_PSS_2048_8192_SHA256),
            Self::PS384 => (KeyKind::Rsa, &signature::RSA_PSS_2048_8192_SHA384),
            Self::PS512 => (KeyKind::Rsa, &signature::RSA_PSS_2048_8192_SHA512),
            Self::ES256 => (KeyKind::P256, &signature::ECDSA_P256_SHA256_FIXED),
            Self::ES384 => (KeyKind::P384, &signature::ECDSA_P384_SHA384_FIXED),
            Self::EdDSA => (KeyKind::Ed25519, &signature::ED25519),
        }
    }
}

/// A token in its parts.
struct Token<'t> {
    /// The header and the claims, as they are signed.
    signed: &'t [u8],
    signature: Vec<u8>,
    algorithm: TokenAlgorithm,
    /// The id of the key.
    key: Option<String>,
    claims: Value,
}

fn refused<T>(reason: &'static str) -> Result<T, SignatureError> {
    Err(SignatureError::Claims { reason })
}

impl AccessTokens {
    /// Verifies a token, as it follows `Bearer `. `keys` are the published keys so far, each found by its URL.
    ///
    /// Everything but the signature is checked before a key is asked for, so that only a token that names this issuer
    /// and this audience causes a fetch.
    ///
    /// # Errors
    /// The first fault found. [`SignatureError::KeyNeeded`] asks for the issuer's configuration or its key set; if
    /// `keys` has that URL already, the set lacks the key that the token names.
    pub fn verify(
        &self,
        token: &[u8],
        keys: &[Arc<PublishedKeys>],
        now_unix_s: i64,
    ) -> Result<AcceptedToken, SignatureError> {
        let token = Token::parse(self, token)?;
        self.check_issuer(&token.claims)?;
        self.check_times(&token.claims, now_unix_s)?;
        let principal = match token.claims.pointer(&self.principal) {
            Some(Value::String(principal)) if !principal.is_empty() => principal.clone(),
            _ => return refused("has no claim with the principal"),
        };
        self.check_signature(&token, keys)?;
        let scopes = self.scopes.iter().filter_map(|pointer| token.claims.pointer(pointer)).flat_map(scopes).collect();
        Ok(AcceptedToken { principal, scopes, claims: token.claims })
    }

    fn check_issuer(&self, claims: &Value) -> Result<(), SignatureError> {
        if claims["iss"].as_str() != Some(&self.issuer) {
            return refused("is of another issuer");
        }
        let is_meant = |value: &Value| value.as_str().is_some_and(|text| self.audiences.iter().any(|own| own == text));
        let fits = match &claims[&self.audience_claim] {
            Value::Array(values) => values.iter().any(is_meant),
            value => is_meant(value),
        };
        if fits { Ok(()) } else { refused("is for another audience") }
    }

    /// Checks `exp`, `nbf` and `iat`. A time that is not a number is refused, and so is a token that never expires.
    fn check_times(&self, claims: &Value, now_unix_s: i64) -> Result<(), SignatureError> {
        #[allow(clippy::cast_precision_loss, reason = "the present is far below 2^53 s")]
        let (now, skew) = (now_unix_s as f64, f64::from(self.skew_s));
        let time = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap_or(f64::NAN));
        let begins = |name| time(name).is_none_or(|from| now >= from - skew);
        match time("exp") {
            None => refused("has no exp"),
            Some(exp) if exp.is_nan() || now >= exp + skew => refused("has expired"),
            Some(_) if !begins("nbf") => refused("is not valid yet"),
            Some(_) if !begins("iat") => refused("is issued in the future"),
            Some(_) => Ok(()),
        }
    }

    fn check_signature(&self, token: &Token<'_>, keys: &[Arc<PublishedKeys>]) -> Result<(), SignatureError> {
        let find = |url: KeyUrl| match keys.iter().find(|keys| keys.url() == url.as_str()) {
            Some(found) => Ok(found),
            None => Err(SignatureError::KeyNeeded { url }),
        };
        let url = match &self.keys {
            IssuerKeys::Jwks(url) => url.clone(),
            IssuerKeys::Discovery(url) => {
                let configuration = find(KeyUrl::configuration(url.clone(), self.issuer.clone()))?;
                configuration.key_set_url().unwrap_or_default().to_owned()
            }
        };
        let url = KeyUrl::key_set(url);
        let set = find(url.clone())?.keys();
        let named: Vec<_> = match &token.key {
            Some(id) => set.iter().filter(|key| key.id.as_ref() == Some(id)).collect(),
            None if set.len() == 1 => set.iter().collect(),
            None => return refused("does not name its key, and its issuer has several"),
        };
        if named.is_empty() {
            return Err(SignatureError::KeyNeeded { url });
        }
        let (kind, verification) = token.algorithm.verification();
        // Keys of two kinds may have one id (RFC 7517, section 4.5).
        let fits = |name: &str| TokenAlgorithm::named(name) == Some(token.algorithm);
        let mut fitting =
            named.iter().filter(|key| key.kind == kind && key.algorithm.as_deref().is_none_or(fits)).peekable();
        if fitting.peek().is_none() {
            return refused("names a key of another algorithm");
        }
        let verifies = fitting.any(|key| key.verifies(verification, token.signed, &token.signature));
        verifies.then_some(()).ok_or(SignatureError::Mismatch)
    }
}

impl<'t> Token<'t> {
    fn parse(tokens: &AccessTokens, token: &'t [u8]) -> Result<Self, SignatureError> {
        let malformed = || SignatureError::Claims { reason: "is not a JSON Web Token" };
        // RFC 7515, section 2: base64url without padding.
        if token.len() > TOKEN_BYTES_MAX || token.contains(&b'=') {
            return Err(malformed());
        }
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(head), Some(payload), Some(tag), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(malformed());
        };
        let object = |segment: &[u8]| {
            let bytes = Encoding::Base64url.decode(segment).ok_or_else(malformed)?;
            let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
            match parse_unique(text) {
                Ok(object @ Value::Object(_)) => Ok(object),
                Err(crate::BodyError::Duplicate(_)) => refused("has a member twice"),
                _ => Err(malformed()),
            }
        };
        let header = object(head)?;
        // The contract's choice, never the token's alone (RFC 8725, section 3.1).
        let algorithm = header["alg"].as_str().and_then(TokenAlgorithm::named);
        let Some(algorithm) = algorithm.filter(|named| tokens.algorithms.contains(named)) else {
            return refused("has an algorithm that the contract does not list");
        };
        if header.get("crit").is_some() {
            return refused("has a critical header parameter");
        }
        // RFC 8725, section 3.11: a token of another use, such as a logout token, is not an access token.
        let is_typed = |typ: &Value| typ.as_str().is_some_and(is_access_token);
        if !header.get("typ").is_none_or(is_typed) {
            return refused("is of another type than JWT and at+jwt");
        }
        let key = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(malformed()),
        };
        let claims = object(payload)?;
        let signature = Encoding::Base64url.decode(tag).ok_or_else(malformed)?;
        let signed = &token[..head.len() + 1 + payload.len()];
        Ok(Self { signed, signature, algorithm, key, claims })
    }
}

/// Returns whether a `typ` is that of an access token. It is a media type, whose `application/` may be left out (RFC
/// 7515, section 4.1.9).
fn is_access_token(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    ["jwt", "at+jwt"].contains(&typ.strip_prefix("application/").unwrap_or(&typ))
}

/// Returns the scopes of a claim: those of a text with spaces between them, or of a list.
fn scopes(claim: &Value) -> Vec<String> {
    match claim {
        Value::String(text) => text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}
