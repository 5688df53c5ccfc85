//! [`SignatureError`]: why a request is not authenticated.

use crate::published_keys::KeyUrl;
use crate::scheme::TimeUnit;
use crate::verify::SIGNATURES_MAX;

/// The reason why a request is not authenticated. It is not secret, but the details are for the log, not for the
/// caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The request has no signature, id or timestamp.
    #[error("the header {header} is missing")]
    MissingHeader {
        /// The header's first name in the scheme.
        header: String,
    },
    /// A part in the body, or in the list of the signature, is missing.
    #[error("{place} is missing")]
    Missing {
        /// The part and where it should be.
        place: String,
    },
    /// The header has no value in the form of the scheme.
    #[error("the header {header} is malformed")]
    Malformed {
        /// The header's first name in the scheme.
        header: String,
    },
    /// The signature in the body is not in the form of the scheme.
    #[error("{place} is malformed")]
    MalformedPart {
        /// The part and where it is.
        place: String,
    },
    /// The header has two values, so the signed one is unknown.
    #[error("the header {header} has several values")]
    Ambiguous {
        /// The header's first name in the scheme.
        header: String,
    },
    /// The request has more than [`SIGNATURES_MAX`] signatures.
    #[error("the header {header} has more than {SIGNATURES_MAX} signatures")]
    TooMany {
        /// The header's first name in the scheme.
        header: String,
    },
    /// The timestamp is not in the unit of the scheme.
    #[error("{place} is not a time in {}", match unit { TimeUnit::S => "seconds", TimeUnit::Ms => "milliseconds", TimeUnit::Rfc3339 => "the form of RFC 3339" })]
    TimestampMalformed {
        /// Where the timestamp is.
        place: String,
        /// The unit of the scheme.
        unit: TimeUnit,
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
    /// The request lacks something that is signed: a header that is listed, or the hash of the body in the query.
    #[error("the signed text cannot be made: {reason}")]
    NoText {
        /// What is missing.
        reason: &'static str,
    },
    /// The token's claims do not allow this request.
    #[error("the token {reason}")]
    Claims {
        /// What is wrong with the token.
        reason: &'static str,
    },
    /// The parameters of an HTTP Message Signature do not allow this request.
    #[error("the message signature {reason}")]
    Message {
        /// What is wrong with the signature.
        reason: &'static str,
    },
    /// A component of an HTTP Message Signature.
    #[error("the component {name} {reason}")]
    Component {
        /// The component's name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The header Content-Digest has the digest of another body.
    #[error("the body is not that of the header content-digest")]
    Digest,
    /// The body could be a value that an answer to a handshake signed for anyone.
    #[error("the body has only characters that an answer to a handshake may sign")]
    Signable,
    /// Verification needs a key that the provider publishes: fetch the URL, and add what [`KeyUrl::read`] returns to
    /// the request with [`Request::with_keys`](crate::Request::with_keys). The rest of the request is in order, and it
    /// has a live secret. If the request has keys of this URL, they lack the one that the request names.
    #[error("the key at {} is needed", url.as_str())]
    KeyNeeded {
        /// Where the key is.
        url: KeyUrl,
    },
    /// The request names a key that is not one of the provider's.
    #[error("the URL of the key {reason}")]
    KeyUrl {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The certificate has expired, or is not valid yet.
    #[error("the certificate of the key is not valid now")]
    KeyExpired,
    /// An object in the body has a member twice, so the signed one is unknown.
    #[error("an object in the body has a member twice")]
    DuplicateMember,
    /// The request names no algorithm of the scheme.
    #[error("the request names no algorithm of the scheme")]
    Algorithm,
    /// The secret is wrong, or the bytes are not the signed ones.
    #[error("no signature matches")]
    Mismatch,
}
