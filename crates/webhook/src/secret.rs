//! [`Secret`]: a shared signing secret, prepared for use.

use std::fmt;
use std::ops::RangeInclusive;

use hmac::{Hmac, KeyInit};
use sha2::Sha256;

use crate::codec::Encoding;
use crate::scheme::{KeyText, Scheme};

/// Shortest Standard Webhooks secret, in bytes.
///
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme>
pub const SECRET_BYTES_MIN: usize = 24;

/// Longest Standard Webhooks secret, in bytes; same source.
pub const SECRET_BYTES_MAX: usize = 64;

const SECRET_BYTES: RangeInclusive<usize> = SECRET_BYTES_MIN..=SECRET_BYTES_MAX;

/// A signing secret of one [`Scheme`]. `Debug` does not show it.
#[derive(Clone)]
pub struct Secret {
    /// The HMAC state after the key was absorbed: the key itself is not kept, and the key setup is not repeated for
    /// each request.
    pub(crate) keyed: Hmac<Sha256>,
}

impl Scheme {
    /// Parses a secret in the form its provider shows. White space around base64 is ignored. Around a text secret it
    /// could be part of the key, so such a secret is refused: the signatures would most likely not match.
    ///
    /// # Errors
    /// The text is not a secret of this scheme.
    pub fn secret(&self, text: &str) -> Result<Secret, SecretError> {
        let key = match self.key {
            _ if text.trim().is_empty() => return Err(SecretError::Empty),
            KeyText::Raw if text.trim() != text => return Err(SecretError::WhiteSpace),
            KeyText::Raw => text.as_bytes().to_vec(),
            KeyText::Base64 { version, prefix } => {
                let text = text.trim();
                let text = text.strip_prefix(version).unwrap_or(text);
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

/// A text that cannot be a secret of its scheme. The error does not contain the text.
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
    #[error("the secret is not base64, with or without the prefix {prefix}: paste it as the provider shows it")]
    Base64 {
        /// The prefix that may precede the base64.
        prefix: &'static str,
    },
    /// Outside [`SECRET_BYTES_MIN`] to [`SECRET_BYTES_MAX`].
    #[error("the secret has {bytes} bytes, not {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX}")]
    Length {
        /// The number of decoded bytes.
        bytes: usize,
    },
}
