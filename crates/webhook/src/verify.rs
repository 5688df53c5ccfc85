//! Signature verification against the live secrets.

use hmac::digest::CtOutput;
use http::{HeaderMap, HeaderValue};

use crate::scheme::{Mark, Scheme, Timestamp};
use crate::secret::Secret;

/// The limit of signatures in a request. Rotation needs one for each live key, two or three; the specification sets no
/// limit.
///
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#webhook-headers-sending-metadata-to-consumers>
pub const SIGNATURES_MAX: usize = 16;

/// The length of HMAC-SHA256, in bytes.
type Signature = [u8; 32];

/// A header by all its names. Errors use the first.
type Names = &'static [&'static str];

impl Scheme {
    /// Verifies that the request is signed with one of `secrets`, at a time close to `now_unix_s` (seconds since 1970).
    /// Compares every secret with every signature, in constant time.
    ///
    /// # Errors
    /// The first fault found; [`SignatureError::Mismatch`] comes last.
    pub fn verify(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        secrets: &[Secret],
        now_unix_s: i64,
    ) -> Result<(), SignatureError> {
        let id = self.id.map_or(Ok(&[][..]), |names| id(headers, names))?;
        let timestamp = self.timestamp.as_ref().map_or(Ok(&[][..]), |header| header.read(headers, now_unix_s))?;
        let signatures = self.signatures(headers)?;
        let mut fits = false;
        for secret in secrets {
            let expected = self.mac(secret, id, timestamp, body);
            for signature in &signatures {
                // `CtOutput` compares in constant time, and `|=` does not stop at the first match.
                fits |= expected == CtOutput::new((*signature).into());
            }
        }
        if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
    }

    fn signatures(&self, headers: &HeaderMap) -> Result<Vec<Signature>, SignatureError> {
        let header = self.signature.first().copied().unwrap_or_default();
        let mut values = all(headers, self.signature).peekable();
        if values.peek().is_none() {
            return Err(SignatureError::MissingHeader { header });
        }
        let mut signatures = Vec::new();
        for value in values {
            let mut words = value.as_bytes().split(|byte| b" \t,".contains(byte)).filter(|word| !word.is_empty());
            while let Some(word) = words.next() {
                let marked = match self.mark {
                    Mark::Prefix(prefix) => word.strip_prefix(prefix.as_bytes()),
                    Mark::WordBefore(mark) if word == mark.as_bytes() => words.next(),
                    Mark::WordBefore(_) => None,
                };
                let decoded = marked.and_then(|text| self.encoding.decode(text));
                let Some(signature) = decoded.and_then(|bytes| bytes.try_into().ok()) else { continue };
                if signatures.len() == SIGNATURES_MAX {
                    return Err(SignatureError::TooMany { header });
                }
                signatures.push(signature);
            }
        }
        if signatures.is_empty() { Err(SignatureError::Malformed { header }) } else { Ok(signatures) }
    }
}

impl Timestamp {
    /// Returns the timestamp as signed, if it is within the tolerance of `now_unix_s`.
    fn read<'h>(&self, headers: &'h HeaderMap, now_unix_s: i64) -> Result<&'h [u8], SignatureError> {
        let (header, value) = only(headers, self.headers)?;
        let malformed = SignatureError::TimestampMalformed { header };
        let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let signed_unix_s: i64 = digits.and_then(|digits| digits.parse().ok()).ok_or(malformed)?;
        let off_s = signed_unix_s.abs_diff(now_unix_s);
        match signed_unix_s < now_unix_s {
            _ if off_s <= self.tolerance_s => Ok(value.as_bytes()),
            true => Err(SignatureError::TimestampTooOld { age_s: off_s }),
            false => Err(SignatureError::TimestampTooNew { ahead_s: off_s }),
        }
    }
}

/// Returns the id as signed. A full stop in the id would make the split of the signed text into id, timestamp and body
/// ambiguous; the specification warns of it, and no known sender uses one.
fn id(headers: &HeaderMap, names: Names) -> Result<&[u8], SignatureError> {
    let (header, value) = only(headers, names)?;
    if !is_id(value.as_bytes()) {
        return Err(SignatureError::Malformed { header });
    }
    Ok(value.as_bytes())
}

/// Returns whether a text can be signed as an id.
pub(crate) fn is_id(id: &[u8]) -> bool {
    !id.is_empty() && !id.contains(&b'.')
}

/// Returns the single value of a header, which may be repeated, also under several names, only with that value.
fn only(headers: &HeaderMap, names: Names) -> Result<(&'static str, &HeaderValue), SignatureError> {
    let header = names.first().copied().unwrap_or_default();
    let mut values = all(headers, names);
    let value = values.next().ok_or(SignatureError::MissingHeader { header })?;
    if values.any(|other| other != value) {
        return Err(SignatureError::Ambiguous { header });
    }
    Ok((header, value))
}

fn all(headers: &HeaderMap, names: Names) -> impl Iterator<Item = &HeaderValue> {
    names.iter().flat_map(|name| headers.get_all(*name))
}

/// The reason why a request is not authenticated. It is not secret, but the details are for the log, not for the
/// caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request has no signature.
    #[error("the header {header} is missing")]
    MissingHeader {
        /// Its name, the first one of the scheme.
        header: &'static str,
    },
    /// The header has no value in the form of the scheme.
    #[error("the header {header} is malformed")]
    Malformed {
        /// Its name, the first one of the scheme.
        header: &'static str,
    },
    /// The header has two values, so the signed one is unknown.
    #[error("the header {header} has several values")]
    Ambiguous {
        /// Its name, the first one of the scheme.
        header: &'static str,
    },
    /// The request has more than [`SIGNATURES_MAX`] signatures.
    #[error("the header {header} has more than {SIGNATURES_MAX} signatures")]
    TooMany {
        /// Its name, the first one of the scheme.
        header: &'static str,
    },
    /// The timestamp is not in whole seconds since 1970.
    #[error("the header {header} is not a time in seconds")]
    TimestampMalformed {
        /// Its name, the first one of the scheme.
        header: &'static str,
    },
    /// The timestamp is too old: a replay or a wrong clock.
    #[error("signed {age_s} s ago")]
    TimestampTooOld {
        /// Its age, in seconds.
        age_s: u64,
    },
    /// The timestamp is in the future: a wrong clock.
    #[error("signed {ahead_s} s in the future")]
    TimestampTooNew {
        /// How far ahead, in seconds.
        ahead_s: u64,
    },
    /// The secret is wrong, or the bytes are not the signed ones.
    #[error("no signature matches")]
    Mismatch,
}
