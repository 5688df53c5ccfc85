//! JSON Web Tokens (RFC 7519) in which a claim is the SHA-256 of the body.

use serde_json::Value;
use subtle::ConstantTimeEq;

use crate::encoding::Encoding;
use crate::error::SignatureError;
use crate::scheme::{Algorithm, Claim, Scheme};
use crate::secret::{Secret, sha256};
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
            Self::HmacSha1 | Self::EcdsaP256Der | Self::Token => None,
        }
    }
}

/// Verifies the token, its times and its hash of the body.
pub(crate) fn verify(
    scheme: &Scheme,
    claim: &Claim,
    token: &[u8],
    body: &[u8],
    secrets: &[Secret],
    now_unix_s: i64,
) -> Result<Verified, SignatureError> {
    let malformed = || SignatureError::Malformed { header: scheme.signature.header.first().to_owned() };
    let mut segments = token.split(|byte| *byte == b'.');
    let (Some(head), Some(payload), Some(signature), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err(malformed());
    };
    let json = |segment: &[u8]| serde_json::from_slice::<Value>(&Encoding::Base64url.decode(segment)?).ok();
    let header = json(head).ok_or_else(malformed)?;
    // The algorithm is the scheme's, never the token's choice (RFC 8725, section 3.1).
    if header["alg"].as_str() != scheme.algorithm.token_name() || header.get("crit").is_some() {
        return Err(SignatureError::Claims { reason: "has another algorithm than the scheme" });
    }
    let signature = Encoding::Base64url.decode(signature).ok_or_else(malformed)?;
    let pieces = [head.into(), b".".as_slice().into(), payload.into()];
    let mut fits = None;
    for (position, Secret { key, .. }) in secrets.iter().enumerate() {
        if key.fits(&pieces, &signature) && fits.is_none() {
            fits = Some(Verified { secret: position });
        }
    }
    let verified = fits.ok_or(SignatureError::Mismatch)?;
    let claims = json(payload).ok_or_else(malformed)?;
    // A time that is not a number is refused.
    let time = |name: &str, absent: f64| claims.get(name).map_or(Some(absent), Value::as_f64);
    #[allow(clippy::cast_precision_loss, reason = "the present is far below 2^53 s")]
    let (now, leeway) = (now_unix_s as f64, LEEWAY_S as f64);
    if time("exp", f64::INFINITY).is_none_or(|exp| now >= exp + leeway) {
        return Err(SignatureError::Claims { reason: "has expired" });
    }
    if time("nbf", f64::NEG_INFINITY).is_none_or(|nbf| now <= nbf - leeway) {
        return Err(SignatureError::Claims { reason: "is not valid yet" });
    }
    let hash = claims.get(&claim.name).and_then(Value::as_str).and_then(|text| claim.encoding.decode(text.as_bytes()));
    let fits_body = hash.is_some_and(|hash| bool::from(hash.ct_eq(&sha256(body))));
    if fits_body { Ok(verified) } else { Err(SignatureError::Claims { reason: "is for another body" }) }
}
