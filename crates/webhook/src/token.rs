//! JSON Web Tokens (RFC 7519) as signatures: a claim is the SHA-256 of the body, or claims say who sends it to whom.

use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::body;
use crate::encoding::Encoding;
use crate::error::SignatureError;
use crate::key_source::KeySource;
use crate::published_keys::{KeyUrl, PublicKey};
use crate::request::Request;
use crate::scheme::{Algorithm, SECRET, Scheme};
use crate::secret::{Key, Secret, sha256};
use crate::verify::Verified;

/// The difference between the clocks that `exp` and `nbf` allow, in seconds (RFC 7519, section 4.1.4: "a few minutes").
const LEEWAY_S: i64 = 60;

impl Algorithm {
    /// Returns the name in a token (RFC 7518, section 3.1; RFC 8037, section 3.1).
    pub(crate) fn token_name(self) -> Option<&'static str> {
        match self {
            Self::HmacSha256 => Some("HS256"),
            Self::HmacSha512 => Some("HS512"),
            Self::EcdsaP256Fixed => Some("ES256"),
            Self::RsaPkcs1Sha256 => Some("RS256"),
            Self::Ed25519 => Some("EdDSA"),
            Self::RsaPssSha512 => Some("PS512"),
            Self::HmacSha1 | Self::EcdsaP256Der | Self::RsaPkcs1Sha1 | Self::Token => None,
        }
    }
}

/// A token in its parts.
struct Token<'t> {
    head: &'t [u8],
    payload: &'t [u8],
    signature: Vec<u8>,
    /// The id of the key.
    key: Option<String>,
    claims: Value,
}

/// Verifies the token, its times, its claims and its hash of the body.
pub(crate) fn verify(
    scheme: &Scheme,
    request: &Request<'_>,
    token: &[u8],
    secrets: &[Secret],
    now_unix_s: i64,
) -> Result<Verified, SignatureError> {
    let token = Token::parse(scheme, token)?;
    match &scheme.keys {
        Some(KeySource::Jwks(url)) => {
            // The claims first: only a token for one of the live secrets causes a fetch of keys.
            let verified = token.meant(scheme, secrets)?.ok_or(SignatureError::Mismatch)?;
            token.check_times(scheme, now_unix_s)?;
            token.check_body(scheme, request.body)?;
            token.check_published(scheme, request, url)?;
            Ok(verified)
        }
        _ => {
            let verified = token.fitting(secrets)?;
            token.meant(scheme, secrets)?;
            token.check_times(scheme, now_unix_s)?;
            token.check_body(scheme, request.body)?;
            Ok(verified)
        }
    }
}

impl<'t> Token<'t> {
    fn parse(scheme: &Scheme, token: &'t [u8]) -> Result<Self, SignatureError> {
        let malformed = || SignatureError::Malformed { header: scheme.signature.header.first().to_owned() };
        let mut segments = token.split(|byte| *byte == b'.');
        let (Some(head), Some(payload), Some(signature), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return Err(malformed());
        };
        let json = |segment: &[u8]| body::json(&Encoding::Base64url.decode(segment)?);
        let header = json(head).ok_or_else(malformed)?;
        // The algorithm is the scheme's, never the token's choice (RFC 8725, section 3.1).
        if header["alg"].as_str() != scheme.algorithm.token_name() || header.get("crit").is_some() {
            return Err(SignatureError::Claims { reason: "has another algorithm than the scheme" });
        }
        let signature = Encoding::Base64url.decode(signature).ok_or_else(malformed)?;
        let claims = json(payload).ok_or_else(malformed)?;
        Ok(Self { head, payload, signature, key: header["kid"].as_str().map(str::to_owned), claims })
    }

    /// Returns the secret under which the signature fits.
    fn fitting(&self, secrets: &[Secret]) -> Result<Verified, SignatureError> {
        let pieces = [self.head.into(), b".".as_slice().into(), self.payload.into()];
        let mut fits = None;
        for (position, Secret { key, .. }) in secrets.iter().enumerate() {
            if key.fits(&pieces, &self.signature) && fits.is_none() {
                fits = Some(Verified { secret: position });
            }
        }
        fits.ok_or(SignatureError::Mismatch)
    }

    /// Checks the signature with a key of the set at `url`.
    fn check_published(&self, scheme: &Scheme, request: &Request<'_>, url: &str) -> Result<(), SignatureError> {
        let needed = || SignatureError::KeyNeeded { url: KeyUrl::key_set(url.to_owned()) };
        let keys = request.keys(url).ok_or_else(needed)?.keys();
        let key = match &self.key {
            Some(id) => keys.iter().find(|key| key.id.as_ref() == Some(id)).ok_or_else(needed)?,
            None => match keys {
                [only] => only,
                _ => return Err(SignatureError::Claims { reason: "does not name its key" }),
            },
        };
        let text = [self.head, b".", self.payload].concat();
        let fits = |key: &PublicKey| key.fits(scheme.algorithm, &text, &self.signature);
        fits(key).then_some(()).ok_or(SignatureError::Mismatch)
    }

    /// Checks the claims that the scheme lists, and returns the secret that one of them is, if one has to be.
    fn meant(&self, scheme: &Scheme, secrets: &[Secret]) -> Result<Option<Verified>, SignatureError> {
        let mut meant = None;
        for rule in &scheme.signature.claims {
            let claim = match self.claims.get(&rule.name) {
                Some(Value::Array(values)) => values.as_slice(),
                Some(value) => std::slice::from_ref(value),
                None => &[],
            };
            let is = |expected: &str| {
                claim.iter().any(|value| match value {
                    Value::String(text) => text == expected,
                    Value::Bool(value) => expected == if *value { "true" } else { "false" },
                    _ => false,
                })
            };
            let is_secret = |Secret { key, .. }: &Secret| matches!(key, Key::Expected(secret) if is(secret));
            if rule.values.iter().any(|value| value == SECRET) {
                let position = secrets.iter().position(is_secret).ok_or(SignatureError::Mismatch)?;
                meant.get_or_insert(Verified { secret: position });
            } else if !rule.values.iter().any(|value| is(value)) {
                return Err(SignatureError::Claims { reason: "has a claim with another value than the scheme" });
            }
        }
        Ok(meant)
    }

    /// Checks `exp` and `nbf`, and the time of signing if the scheme limits it. A time that is not a number is refused,
    /// and so is a token that fits any body and never expires.
    fn check_times(&self, scheme: &Scheme, now_unix_s: i64) -> Result<(), SignatureError> {
        let time = |name: &str, absent: f64| self.claims.get(name).map_or(Some(absent), Value::as_f64);
        #[allow(clippy::cast_precision_loss, reason = "the present is far below 2^53 s")]
        let (now, leeway) = (now_unix_s as f64, LEEWAY_S as f64);
        let never = if scheme.signature.claim.is_some() { f64::INFINITY } else { f64::NEG_INFINITY };
        if time("exp", never).is_none_or(|exp| now >= exp + leeway) {
            return Err(SignatureError::Claims { reason: "has expired" });
        }
        if time("nbf", f64::NEG_INFINITY).is_none_or(|nbf| now <= nbf - leeway) {
            return Err(SignatureError::Claims { reason: "is not valid yet" });
        }
        let timestamp = scheme.timestamp.as_ref().and_then(|limits| Some((limits, limits.claim.as_ref()?)));
        let Some((limits, name)) = timestamp else { return Ok(()) };
        let text = self.claims.get(name).ok_or_else(|| SignatureError::Missing { place: limits.place() })?;
        limits.check(text.to_string().as_bytes(), now_unix_s)
    }

    /// Checks the hash of the body, if the scheme has one.
    fn check_body(&self, scheme: &Scheme, body: &[u8]) -> Result<(), SignatureError> {
        let Some(claim) = &scheme.signature.claim else { return Ok(()) };
        let hash = self.claims.get(&claim.name).and_then(Value::as_str);
        let hash = hash.and_then(|text| claim.encoding.decode(text.as_bytes()));
        let fits_body = hash.is_some_and(|hash| bool::from(hash.ct_eq(&sha256(body))));
        if fits_body { Ok(()) } else { Err(SignatureError::Claims { reason: "is for another body" }) }
    }
}
