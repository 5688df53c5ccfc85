//! The header Content-Digest (RFC 9530): a digest of the body, which a signature can cover.

use ring::digest;
use sfv::{Dictionary, ListEntry};

use super::{CONTENT_DIGEST, base};
use crate::encoding::Encoding;
use crate::error::SignatureError;
use crate::request::Request;

/// The algorithms that RFC 9530 calls active. The others are insecure and are ignored.
const ALGORITHMS: [(&str, &digest::Algorithm); 2] = [("sha-256", &digest::SHA256), ("sha-512", &digest::SHA512)];

/// Checks that the body has each digest of an active algorithm, and that there is one.
pub(super) fn check(request: &Request<'_>) -> Result<(), SignatureError> {
    let digests: Dictionary = base::dictionary(request, CONTENT_DIGEST)?;
    let mut known = 0;
    for (name, algorithm) in ALGORITHMS {
        let Some(entry) = digests.get(name) else { continue };
        let bytes = match entry {
            ListEntry::Item(item) => item.bare_item.as_byte_sequence(),
            ListEntry::InnerList(_) => None,
        };
        let bytes = bytes.ok_or_else(|| SignatureError::Malformed { header: CONTENT_DIGEST.to_owned() })?;
        // The digest is not secret, so its comparison need not take constant time.
        if bytes != digest::digest(algorithm, request.body).as_ref() {
            return Err(SignatureError::Digest);
        }
        known += 1;
    }
    if known == 0 {
        return Err(SignatureError::Component {
            name: CONTENT_DIGEST.to_owned(),
            reason: "has neither sha-256 nor sha-512",
        });
    }
    Ok(())
}

/// Returns the value of the header for a body.
pub(super) fn write(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    format!("sha-256=:{}:", Encoding::Base64.encode(digest.as_ref()))
}
