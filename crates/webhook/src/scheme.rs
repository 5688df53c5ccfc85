//! [`Scheme`] and the table of known schemes. A new provider needs only an entry.

use crate::codec::Encoding;

/// The tolerance, in seconds, of a signed timestamp in the past and in the future: the five minutes of the Standard
/// Webhooks libraries.
///
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/rust/src/lib.rs>
const STANDARD_TOLERANCE_S: u64 = 300;

/// A provider's format of HMAC-SHA256 request signatures.
#[derive(Debug)]
pub struct Scheme {
    pub(crate) name: &'static str,
    /// Each header by all its names, in lower case. The first name is used for signing.
    pub(crate) signature: &'static [&'static str],
    pub(crate) id: Option<&'static [&'static str]>,
    pub(crate) timestamp: Option<Timestamp>,
    /// The signed parts before the body, in order.
    pub(crate) signed_before_body: &'static [SignedPart],
    pub(crate) mark: Mark,
    pub(crate) encoding: Encoding,
    pub(crate) key: KeyText,
}

/// The encoding of the key in the text that a provider shows.
#[derive(Debug)]
pub(crate) enum KeyText {
    /// The text itself is the key.
    Raw,
    /// The key is in base64, after an optional version and an optional prefix: `v1,whsec_<base64>`.
    Base64 {
        /// The version of the signatures, which some providers show before the secret.
        version: &'static str,
        /// The prefix.
        prefix: &'static str,
    },
}

/// The header of the signing time: whole seconds since 1970.
#[derive(Debug)]
pub(crate) struct Timestamp {
    pub(crate) headers: &'static [&'static str],
    pub(crate) tolerance_s: u64,
}

/// A part that a [`Scheme`] signs before the body.
#[derive(Debug)]
#[non_exhaustive]
pub enum SignedPart {
    /// The id as sent in its header; empty for a scheme without an id.
    Id,
    /// The timestamp as sent in its header; empty for a scheme without a timestamp.
    Timestamp,
    /// A fixed text.
    Literal(&'static str),
}

/// The marker before each signature of this scheme in a header value. The value is split at spaces and commas, because
/// a gateway joins repeated headers with commas.
#[derive(Debug)]
pub(crate) enum Mark {
    /// A prefix of the word: `sha256=<signature>`.
    Prefix(&'static str),
    /// The previous word: `v1,<signature>`.
    WordBefore(&'static str),
}

static SCHEMES: [Scheme; 2] = [
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    Scheme::new("github", &["x-hub-signature-256"]).prefix("sha256="),
    // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md; Svix, where the
    // specification originates, uses other header names.
    Scheme::new("standard-webhooks", &["webhook-signature", "svix-signature"])
        .after_word("v1")
        .base64()
        .base64_secret("v1,", "whsec_")
        .id(&["webhook-id", "svix-id"])
        .timestamp(&["webhook-timestamp", "svix-timestamp"], STANDARD_TOLERANCE_S)
        .signed_before_body(&[
            SignedPart::Id,
            SignedPart::Literal("."),
            SignedPart::Timestamp,
            SignedPart::Literal("."),
        ]),
];

impl Scheme {
    /// Returns a custom scheme: HMAC-SHA256 over the body, with the text of the secret as its key, in hexadecimal
    /// digits in a header. Pass all names of the header in lower case; other names are never found. The first is used
    /// for signing.
    ///
    /// ```
    /// use sluicegate_webhook::{SignedPart, Scheme};
    ///
    /// // https://docs.slack.dev/authentication/verifying-requests-from-slack
    /// static SLACK: Scheme = Scheme::new("slack", &["x-slack-signature"])
    ///     .prefix("v0=")
    ///     .timestamp(&["x-slack-request-timestamp"], 300)
    ///     .signed_before_body(&[SignedPart::Literal("v0:"), SignedPart::Timestamp, SignedPart::Literal(":")]);
    ///
    /// let secrets = [SLACK.secret("8f742231b10e8888abcd99yyyzzz85a5")?];
    /// let mut headers = http::HeaderMap::new();
    /// for (name, value) in SLACK.sign(&secrets[0], "", 1_531_420_618, b"token=xyz")? {
    ///     headers.insert(name, value.parse()?);
    /// }
    /// assert!(SLACK.verify(&headers, b"token=xyz", &secrets, 1_531_420_618 + 300).is_ok());
    /// assert!(SLACK.verify(&headers, b"token=xyz", &secrets, 1_531_420_618 + 301).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn new(name: &'static str, signature_headers: &'static [&'static str]) -> Self {
        Self {
            name,
            signature: signature_headers,
            id: None,
            timestamp: None,
            signed_before_body: &[],
            mark: Mark::Prefix(""),
            encoding: Encoding::Hex,
            key: KeyText::Raw,
        }
    }

    /// Sets the prefix of each signature: `sha256=<signature>`.
    #[must_use]
    pub const fn prefix(mut self, prefix: &'static str) -> Self {
        self.mark = Mark::Prefix(prefix);
        self
    }

    /// Sets the word before each signature, separated by a comma or a space: `v1,<signature>`.
    #[must_use]
    pub const fn after_word(mut self, word: &'static str) -> Self {
        self.mark = Mark::WordBefore(word);
        self
    }

    /// Encodes signatures in base64.
    #[must_use]
    pub const fn base64(mut self) -> Self {
        self.encoding = Encoding::Base64;
        self
    }

    /// Reads the secret as base64 of its key, after an optional `version` and an optional `prefix`.
    #[must_use]
    pub const fn base64_secret(mut self, version: &'static str, prefix: &'static str) -> Self {
        self.key = KeyText::Base64 { version, prefix };
        self
    }

    /// Sets the header of the id, by all its names in lower case.
    #[must_use]
    pub const fn id(mut self, headers: &'static [&'static str]) -> Self {
        self.id = Some(headers);
        self
    }

    /// Sets the header of the signing time in seconds since 1970, by all its names in lower case. The time may differ
    /// from now by `tolerance_s` seconds.
    #[must_use]
    pub const fn timestamp(mut self, headers: &'static [&'static str], tolerance_s: u64) -> Self {
        self.timestamp = Some(Timestamp { headers, tolerance_s });
        self
    }

    /// Sets the signed parts before the body, in order. An id or a timestamp outside these parts can be forged.
    #[must_use]
    pub const fn signed_before_body(mut self, parts: &'static [SignedPart]) -> Self {
        self.signed_before_body = parts;
        self
    }

    /// Returns every known scheme.
    pub fn all() -> &'static [Self] {
        &SCHEMES
    }

    /// Returns the scheme of this name: `github` or `standard-webhooks`.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCHEMES.iter().find(|scheme| scheme.name == name)
    }

    /// Returns the name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns every name, in lower case, of the signature header.
    pub fn signature_headers(&self) -> &'static [&'static str] {
        self.signature
    }

    /// Returns every name of a header of the scheme, by any of its names in lower case; empty for other headers.
    /// [`verify`](Self::verify) accepts an id or a timestamp only if all its names in the request have the same value,
    /// so the names are interchangeable.
    pub fn aliases(&self, header: &str) -> &'static [&'static str] {
        let timestamp = self.timestamp.as_ref().map(|timestamp| timestamp.headers);
        let mut known = [Some(self.signature), self.id, timestamp].into_iter().flatten();
        known.find(|names| names.contains(&header)).unwrap_or_default()
    }
}
