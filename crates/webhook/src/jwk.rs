//! Public keys as JSON Web Keys (RFC 7517): one as a secret, or a set that a provider publishes.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::der;
use crate::encoding::Encoding;
use crate::published_keys::{KeyError, KeyKind, PublicKey};

/// The most keys in a set. Ours: providers publish two to four.
const KEYS_MAX: usize = 32;

/// The length of the modulus of an RSA key, in bytes: 2,048 to 8,192 bits.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=1_024;

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<serde::de::IgnoredAny>,
    key_ops: Option<Vec<String>>,
}

/// Returns the public key of a JSON Web Key; `None` if it is not for signatures, private, or of another kind.
pub(crate) fn key(text: &str) -> Option<PublicKey> {
    serde_json::from_str::<Jwk>(text).ok().and_then(Jwk::key)
}

/// Returns the keys of a set that may verify signatures. Others are ignored (RFC 7517, section 5).
pub(crate) fn set(file: &[u8]) -> Result<Vec<PublicKey>, KeyError> {
    #[derive(Deserialize)]
    struct Set<'a> {
        #[serde(borrow)]
        keys: Vec<&'a RawValue>,
    }
    let error = |reason| KeyError::KeySet { reason };
    let set: Set<'_> = serde_json::from_slice(file).map_err(|_| error("it is not JSON with a list of keys"))?;
    if set.keys.len() > KEYS_MAX {
        return Err(error("it has too many keys"));
    }
    let keys: Vec<_> = set.keys.iter().filter_map(|text| key(text.get())).collect();
    if keys.is_empty() { Err(error("it has no key for signatures")) } else { Ok(keys) }
}

impl Jwk {
    fn key(self) -> Option<PublicKey> {
        let is_for_signatures = self.r#use.is_none_or(|purpose| purpose == "sig")
            && self.key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if self.d.is_some() || !is_for_signatures {
            return None;
        }
        let number = |text: &Option<String>| Encoding::Base64url.decode(text.as_ref()?.as_bytes());
        let of_bytes = |text: &Option<String>, length: usize| number(text).filter(|bytes| bytes.len() == length);
        let point = |length| Some([vec![4], of_bytes(&self.x, length)?, of_bytes(&self.y, length)?].concat());
        // RFC 7518, section 6, and RFC 8037, section 2.
        let (kind, bytes) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (modulus, exponent) = (number(&self.n)?, number(&self.e)?);
                let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
                RSA_BYTES.contains(&(modulus.len() - zeros)).then_some(())?;
                (KeyKind::Rsa, der::rsa_public_key(&modulus, &exponent))
            }
            ("EC", Some("P-256")) => (KeyKind::P256, point(32)?),
            ("EC", Some("P-384")) => (KeyKind::P384, point(48)?),
            ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, of_bytes(&self.x, 32)?),
            _ => return None,
        };
        Some(PublicKey { id: self.kid, algorithm: self.alg, kind, bytes })
    }
}
