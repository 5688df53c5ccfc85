//! HTTP Message Signatures (RFC 9421): which components of a request a signature must cover, as data.
//!
//! A signature covers a list of components: headers, and values derived from the request such as `@method`. The body
//! is covered only through the header Content-Digest (RFC 9530). Verification computes the digest again whenever that
//! header is covered.
//!
//! Not supported, and refused: components of a response, `@request-target`, and the parameters `sf`, `key`, `bs`, `tr`
//! and `req` of a component.

use serde::{Deserialize, Serialize};

use crate::scheme::{Algorithm, Assurance, KeyEncoding, Scheme, Signature, SignedTexts, TimeUnit, is_header_name};

#[cfg(feature = "verify")]
mod base;
#[cfg(feature = "verify")]
mod content_digest;
#[cfg(feature = "verify")]
mod sign;
#[cfg(feature = "verify")]
mod verify;

/// The header with the signatures, by their labels.
pub(crate) const SIGNATURE: &str = "signature";

/// The header with what each signature covers, and its parameters.
#[cfg(feature = "verify")]
const SIGNATURE_INPUT: &str = "signature-input";

/// The header with the digest of the body, RFC 9530.
const CONTENT_DIGEST: &str = "content-digest";

/// The parameter with the time of signing.
const CREATED: &str = "created";

/// The components without a parameter that are derived from the request; RFC 9421, section 2.2.
const DERIVED: &[&str] = &["@method", "@target-uri", "@authority", "@scheme", "@path", "@query"];

/// What a message signature must cover, and which of several is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MessageSignature {
    /// The components that a signature must cover, in lower case: `@method`, `@authority`, or the name of a header. It
    /// may cover others too.
    pub components: Vec<String>,
    /// The label of the signature in its headers; `None`: any signature that is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The parameter `tag` that a signature must have; `None`: any or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
}

impl MessageSignature {
    /// Returns the faults of a scheme with message signatures, as [`Scheme::faults`].
    pub(crate) fn faults(&self, scheme: &Scheme) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |pointer: String, reason: &str| faults.push((pointer, reason.to_owned()));
        let only =
            Signature { header: scheme.signature.header.clone(), message: Some(self.clone()), ..Signature::default() };
        if !scheme.signature.header.iter().eq([SIGNATURE]) || scheme.signature != only {
            fault(
                "/signature".to_owned(),
                "a message signature has `header: signature` and `message`; leave out the rest",
            );
        }
        let pointer = |field: &str| format!("/signature/message/{field}");
        for (position, name) in self.components.iter().enumerate() {
            let at = || pointer(&format!("components/{position}"));
            let is_header = is_header_name(name) && !name.bytes().any(|b| b.is_ascii_uppercase());
            if !is_header && !DERIVED.contains(&name.as_str()) {
                let known = DERIVED.join(", ");
                fault(at(), &format!("`{name}` is not the name of a header in lower case, nor one of {known}"));
            }
            if self.components[..position].contains(name) {
                fault(at(), &format!("`{name}` is already in the list"));
            }
        }
        if self.label.as_ref().is_some_and(|label| !is_label(label)) {
            fault(
                pointer("label"),
                "a label has lower-case letters, digits, `_`, `-`, `.` and `*`, and begins with a letter or `*`",
            );
        }
        if self.tag.as_ref().is_some_and(|tag| !is_string(tag)) {
            fault(pointer("tag"), "a tag has printable ASCII characters alone");
        }
        let covers = |name: &str| self.components.iter().any(|component| component == name);
        if !scheme.id.iter().all(covers) {
            fault("/id".to_owned(), "the id is not signed, so anyone can change it; add its header to `components`");
        }
        let created = scheme.timestamp.as_ref().filter(|timestamp| {
            let is_created = timestamp.field.as_deref() == Some(CREATED) && timestamp.unit == TimeUnit::S;
            is_created && timestamp.header.is_empty() && timestamp.body.is_none() && timestamp.past_seconds.is_some()
        });
        if created.is_none() {
            fault(
                "/timestamp".to_owned(),
                "the age is limited by `created`; write `{ field: created, unit: s, pastSeconds: 300 }`",
            );
        }
        if scheme.signed != SignedTexts::default() {
            fault("/signed".to_owned(), "a message signature covers `components`; leave out `signed`");
        }
        if scheme.each.is_some() || !scheme.handshakes.is_empty() {
            fault("/signature/message".to_owned(), "a message signature has neither `each` nor `handshakes`");
        }
        if scheme.algorithm.message_name().is_none() {
            fault(
                "/algorithm".to_owned(),
                "message signatures have hmac-sha256, ed25519, ecdsa-p256-fixed, rsa-pkcs1-sha256 and rsa-pss-sha512",
            );
        }
        if scheme.algorithm.has_public_key() && scheme.secret.encoding == KeyEncoding::Text {
            fault("/secret/encoding".to_owned(), "a public key is hex, base64 or spki");
        }
        if scheme.assurance == Assurance::Signed && !covers(CONTENT_DIGEST) {
            fault(
                "/assurance".to_owned(),
                "the body is not signed; write `partial`, or add content-digest to `components`",
            );
        }
        faults
    }
}

impl Algorithm {
    /// Returns the name in the parameter `alg` (RFC 9421, section 6.2.2); `None` for an algorithm that has none.
    pub(crate) fn message_name(self) -> Option<&'static str> {
        match self {
            Self::HmacSha256 => Some("hmac-sha256"),
            Self::Ed25519 => Some("ed25519"),
            Self::EcdsaP256Fixed => Some("ecdsa-p256-sha256"),
            Self::RsaPkcs1Sha256 => Some("rsa-v1_5-sha256"),
            Self::RsaPssSha512 => Some("rsa-pss-sha512"),
            _ => None,
        }
    }
}

/// Returns whether a text is a key of a structured field; RFC 9651, section 3.1.2.
fn is_label(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
    starts && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-.*".contains(&b))
}

/// Returns whether a text can be a string of a structured field, and is not empty; RFC 9651, section 3.3.3.
pub(crate) fn is_string(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}
