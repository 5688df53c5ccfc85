//! [`Secret`]: what a sender and we share, ready for use.

use std::fmt;
use std::ops::RangeInclusive;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use crate::codec::Encoding;
use crate::scheme::Scheme;

/// Shortest Standard Webhooks secret, in bytes.
///
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme>
pub const SECRET_BYTES_MIN: usize = 24;

/// Longest Standard Webhooks secret, in bytes; same source.
pub const SECRET_BYTES_MAX: usize = 64;

const SECRET_BYTES: RangeInclusive<usize> = SECRET_BYTES_MIN..=SECRET_BYTES_MAX;

/// A signing secret of one [`Scheme`]. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Secret {
    /// HMAC after its key: the key itself is not kept, and its set-up is not repeated for each request.
    pub(crate) keyed: Hmac<Sha256>,
}

/// How the text a provider shows becomes a key.
#[derive(Debug)]
pub(crate) enum KeyText {
    /// The text itself is the key.
    Raw,
    /// The key is in base64, after a prefix that may be left out.
    Base64 {
        /// The prefix.
        prefix: &'static str,
    },
}

impl Scheme {
    /// Reads a secret as its provider shows it.
    ///
    /// # Errors
    /// The text is not a secret of this scheme.
    pub fn secret(&self, text: &str) -> Result<Secret, SecretError> {
        let key = match self.key {
            KeyText::Raw if text.is_empty() => return Err(SecretError::Empty),
            KeyText::Raw => text.as_bytes().to_vec(),
            KeyText::Base64 { prefix } => {
                let text = text.strip_prefix(prefix).unwrap_or(text);
                let key = Encoding::Base64.decode(text.as_bytes()).ok_or(SecretError::Base64 { prefix })?;
                if !SECRET_BYTES.contains(&key.len()) {
                    return Err(SecretError::Length { bytes: key.len() });
                }
                key
            }
        };
        let keyed = Hmac::new_from_slice(&key).map_err(|_| SecretError::Length { bytes: key.len() })?;
        Ok(Secret { keyed })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A text that cannot be a secret of its scheme. The text is not repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Anyone could sign with it.
    #[error("the secret is empty")]
    Empty,
    /// A stray line break, a public key, or the secret of another scheme.
    #[error("the secret is not base64, after {prefix} or alone")]
    Base64 {
        /// What may stand before the base64.
        prefix: &'static str,
    },
    /// Outside [`SECRET_BYTES_MIN`] to [`SECRET_BYTES_MAX`].
    #[error("the secret has {bytes} bytes, not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Length {
        /// How many bytes the base64 stands for.
        bytes: usize,
    },
}
