//! [`Secret`]: a shared signing secret, or a provider's public key, prepared for use.

use std::borrow::Cow;
use std::fmt;

use ring::{digest, hmac, signature};
use subtle::ConstantTimeEq;

use crate::der;
use crate::encoding::Encoding;
use crate::jwk;
use crate::message_signature::is_string;
use crate::published_keys::{KeyKind, PublicKey};
use crate::scheme::{Algorithm, KeyEncoding, Scheme};

/// A secret of one [`Scheme`]: a shared key, a public key or a token. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret {
    pub(crate) key: Key,
    /// The `keyid` of the message signatures that only this secret verifies.
    pub(crate) keyid: Option<Box<str>>,
}

#[derive(Clone)]
pub(crate) enum Key {
    /// The HMAC state after its key, so that the set-up is not repeated for each request.
    Hmac(hmac::Key),
    Public {
        algorithm: &'static dyn signature::VerificationAlgorithm,
        key: Vec<u8>,
    },
    /// The SHA-256 of the token, so that all tokens compare in the same time.
    Token([u8; 32], String),
    /// A text that the request must have, in a scheme with published keys.
    Expected(String),
}

impl Secret {
    /// Parses a verify token, which a provider repeats in its [handshake](crate::Handshake::token).
    ///
    /// # Errors
    /// The text is empty, or begins or ends with white space.
    pub fn verify_token(text: &str) -> Result<Self, SecretError> {
        match text.trim() {
            "" => Err(SecretError::Empty),
            trimmed if trimmed.len() < text.len() => Err(SecretError::WhiteSpace),
            _ => Ok(Self { key: Key::Token(sha256(text.as_bytes()), text.to_owned()), keyid: None }),
        }
    }
}

impl Scheme {
    /// Parses a secret in the form its provider shows. White space around an encoded key is ignored. Around a text
    /// secret it could be part of the key, so such a secret is refused: the signatures would most likely not match.
    ///
    /// # Errors
    /// The text is not a secret of this scheme.
    pub fn secret(&self, text: &str) -> Result<Secret, SecretError> {
        if text.trim().is_empty() {
            return Err(SecretError::Empty);
        }
        let key = self.key(text)?;
        let (min, max) = (self.secret.bytes_min.unwrap_or(1), self.secret.bytes_max.unwrap_or(usize::MAX));
        if !(min..=max).contains(&key.len()) {
            return Err(SecretError::Length { bytes: key.len(), min, max: self.secret.bytes_max });
        }
        let unnamed = |key| Secret { key, keyid: None };
        if self.keys.is_some() {
            return Ok(unnamed(Key::Expected(text.to_owned())));
        }
        if let Some((_, algorithm)) = self.algorithm.verification() {
            return Ok(unnamed(Key::Public { algorithm, key: key.into_owned() }));
        }
        Ok(unnamed(match self.algorithm {
            Algorithm::HmacSha1 => Key::Hmac(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key)),
            Algorithm::HmacSha256 => Key::Hmac(hmac::Key::new(hmac::HMAC_SHA256, &key)),
            Algorithm::HmacSha512 => Key::Hmac(hmac::Key::new(hmac::HMAC_SHA512, &key)),
            // The other algorithms have a public key.
            _ => {
                let token = String::from_utf8(key.to_vec()).map_err(|_| SecretError::WhiteSpace)?;
                Key::Token(sha256(&key), token)
            }
        }))
    }

    /// Parses a secret that has a name, if `keyid` is set: a message signature with this `keyid` is verified with the
    /// secrets of that name alone, and one with another `keyid`, or none, with the secrets without a name.
    ///
    /// # Errors
    /// The text is not a secret of this scheme, or the scheme has no names for its secrets.
    pub fn secret_of(&self, keyid: Option<&str>, text: &str) -> Result<Secret, SecretError> {
        let secret = self.secret(text)?;
        Ok(Secret { keyid: self.keyid(keyid)?, ..secret })
    }

    /// Checks the name of a secret.
    pub(crate) fn keyid(&self, keyid: Option<&str>) -> Result<Option<Box<str>>, SecretError> {
        match keyid {
            None => Ok(None),
            Some(_) if self.signature.message.is_none() => Err(SecretError::KeyidUnused),
            Some(keyid) if is_string(keyid) => Ok(Some(keyid.into())),
            Some(_) => Err(SecretError::Keyid),
        }
    }

    fn key<'t>(&self, text: &'t str) -> Result<Cow<'t, [u8]>, SecretError> {
        let form = &self.secret;
        let trimmed = text.trim();
        // Some providers show a version before the prefix; each prefix is taken off once, in order.
        let bare =
            form.prefixes.iter().fold(trimmed, |text, prefix| text.strip_prefix(prefix.as_str()).unwrap_or(text));
        let prefix = || form.prefixes.last().cloned().unwrap_or_default();
        let base64 = |text: &str| Encoding::Base64.decode(text.as_bytes());
        let decoded = match form.encoding {
            KeyEncoding::Base64OrText if bare.len() < trimmed.len() => base64(bare),
            KeyEncoding::Text | KeyEncoding::Base64OrText if trimmed.len() < text.len() => {
                return Err(SecretError::WhiteSpace);
            }
            KeyEncoding::Text | KeyEncoding::Base64OrText => return Ok(Cow::Borrowed(text.as_bytes())),
            KeyEncoding::Hex => {
                return Encoding::Hex.decode(bare.as_bytes()).map(Cow::Owned).ok_or(SecretError::Hex);
            }
            KeyEncoding::Base64 => base64(bare),
            KeyEncoding::Spki => {
                return public_key(bare).map(Cow::Owned).ok_or(SecretError::PublicKey);
            }
            KeyEncoding::Jwk => {
                let key = jwk::key(bare)
                    .filter(|key| self.algorithm.verification().is_some_and(|(kind, _)| kind == key.kind));
                let names = |key: &PublicKey| {
                    key.algorithm.as_deref().is_none_or(|name| self.algorithm.token_name() == Some(name))
                };
                return key.filter(names).map(|key| Cow::Owned(key.bytes)).ok_or(SecretError::Jwk);
            }
        };
        decoded.map(Cow::Owned).ok_or_else(|| SecretError::Base64 { prefix: prefix() })
    }
}

/// Returns the key in a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7), in PEM or as base64 of its DER: the content
/// of its BIT STRING.
fn public_key(text: &str) -> Option<Vec<u8>> {
    let info = decoded(text)?;
    let (0x30, content, []) = der::element(&info)? else { return None };
    der::public_key_info(content).map(|(_, key)| key.to_vec())
}

/// Returns the DER of PEM (RFC 7468) or of base64.
pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let base64: String = lines.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    Encoding::Base64.decode(base64.as_bytes())
}

impl Algorithm {
    /// Returns the kind of the public key of this algorithm, and its verification; `None` if the key is shared.
    pub(crate) fn verification(self) -> Option<(KeyKind, &'static dyn signature::VerificationAlgorithm)> {
        Some(match self {
            Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512 | Self::Token => return None,
            Self::Ed25519 => (KeyKind::Ed25519, &signature::ED25519),
            Self::EcdsaP256Der => (KeyKind::P256, &signature::ECDSA_P256_SHA256_ASN1),
            Self::EcdsaP256Fixed => (KeyKind::P256, &signature::ECDSA_P256_SHA256_FIXED),
            Self::RsaPkcs1Sha1 => (KeyKind::Rsa, &signature::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
            Self::RsaPkcs1Sha256 => (KeyKind::Rsa, &signature::RSA_PKCS1_2048_8192_SHA256),
            Self::RsaPssSha512 => (KeyKind::Rsa, &signature::RSA_PSS_2048_8192_SHA512),
        })
    }
}

impl Key {
    /// Returns whether `signature` is that of the text made of `pieces`. Compares in constant time.
    pub(crate) fn fits(&self, pieces: &[Cow<'_, [u8]>], signature: &[u8]) -> bool {
        match self {
            Self::Hmac(key) => bool::from(mac(key, pieces).as_ref().ct_eq(signature)),
            Self::Public { algorithm, key } => {
                signature::UnparsedPublicKey::new(*algorithm, key).verify(&pieces.concat(), signature).is_ok()
            }
            Self::Token(digest, _) => bool::from(digest.ct_eq(&sha256(signature))),
            Self::Expected(_) => false,
        }
    }
}

/// Returns the HMAC of the text made of `pieces`.
pub(crate) fn mac(key: &hmac::Key, pieces: &[Cow<'_, [u8]>]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    pieces.iter().for_each(|piece| context.update(piece));
    context.sign()
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A text that cannot be a secret of its scheme. The text is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// An empty secret, with which anyone could sign.
    #[error("the secret is empty")]
    Empty,
    /// White space at the beginning or the end, most often a copied line break.
    #[error("the secret begins or ends with white space: remove the white space here and at the provider")]
    WhiteSpace,
    /// The text is not base64: a line break within it, a repeated prefix, a public key, or the secret of another
    /// scheme.
    #[error("the secret is not base64{}: paste it as the provider shows it", if prefix.is_empty() { String::new() } else { format!(", with or without the prefix {prefix}") })]
    Base64 {
        /// The prefix that may precede the base64.
        prefix: String,
    },
    /// The text is not made of hexadecimal digits.
    #[error("the secret is not made of pairs of hexadecimal digits: paste it as the provider shows it")]
    Hex,
    /// The text is not a public key.
    #[error("the secret is not a public key in PEM or base64 of its DER: paste the provider's public key")]
    PublicKey,
    /// The scheme has no names for its secrets.
    #[error("a keyid names secrets of HTTP Message Signatures alone: leave it out")]
    KeyidUnused,
    /// The name cannot be sent.
    #[error("the keyid is empty, or has a character that is not printable ASCII")]
    Keyid,
    /// The text is not a JSON Web Key.
    #[error(
        "the secret is not a public JSON Web Key of the scheme's algorithm: paste the provider's key, one JSON object"
    )]
    Jwk,
    /// The text is not a private key.
    #[error("the secret is not a private key of the scheme's algorithm in PKCS#8, in PEM or base64 of its DER")]
    PrivateKey,
    /// Outside the limits of the scheme.
    #[error("the secret has {bytes} bytes, not {}", match max { Some(max) if max == min => min.to_string(), Some(max) => format!("{min} to {max}"), None => format!("{min} or more") })]
    Length {
        /// The number of decoded bytes.
        bytes: usize,
        /// The fewest.
        min: usize,
        /// The most.
        max: Option<usize>,
    },
}
