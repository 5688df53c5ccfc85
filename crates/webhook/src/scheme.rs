//! [`Scheme`], and the table of those known. A provider that signs in these terms is one more entry.

use crate::codec::Encoding;
use crate::secret::KeyText;

/// How far, in seconds, a signed timestamp may be from now, in the past and in the future alike: the five minutes that the
/// Standard Webhooks libraries allow.
///
/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/libraries/rust/src/lib.rs>
const STANDARD_TOLERANCE_S: u64 = 300;

/// How one kind of sender signs its requests with HMAC-SHA256.
#[derive(Debug)]
pub struct Scheme {
    pub(crate) name: &'static str,
    /// Each header by all its names, lower case; the first is the one written.
    pub(crate) signature: &'static [&'static str],
    pub(crate) id: Option<&'static [&'static str]>,
    pub(crate) timestamp: Option<Timestamp>,
    /// What is signed before the body, in order.
    pub(crate) signed_before_body: &'static [Part],
    pub(crate) mark: Mark,
    pub(crate) encoding: Encoding,
    pub(crate) key: KeyText,
}

/// When the request was signed: whole seconds since 1970.
#[derive(Debug)]
pub(crate) struct Timestamp {
    pub(crate) headers: &'static [&'static str],
    pub(crate) tolerance_s: u64,
}

/// What a [`Scheme`] signs before the body.
#[derive(Debug)]
#[non_exhaustive]
pub enum Part {
    /// The id, as its header has it; nothing for a scheme without one.
    Id,
    /// The timestamp, as its header has it; nothing for a scheme without one.
    Timestamp,
    /// This text.
    Literal(&'static str),
}

/// What tells the signatures this scheme reads from others in the same header. A header's value is taken as words between
/// spaces and commas, because a gateway joins repeated headers with commas.
#[derive(Debug)]
pub(crate) enum Mark {
    /// The word begins with this: `sha256=<signature>`.
    Prefix(&'static str),
    /// The word before is this: `v1,<signature>`.
    WordBefore(&'static str),
}

static SCHEMES: [Scheme; 2] = [
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    Scheme::new("github", &["x-hub-signature-256"]).prefix("sha256="),
    // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md; Svix, its origin, keeps
    // its own header names.
    Scheme::new("standard-webhooks", &["webhook-signature", "svix-signature"])
        .after_word("v1")
        .base64()
        .base64_secret("v1,", "whsec_")
        .id(&["webhook-id", "svix-id"])
        .timestamp(&["webhook-timestamp", "svix-timestamp"], STANDARD_TOLERANCE_S)
        .signed_before_body(&[Part::Id, Part::Literal("."), Part::Timestamp, Part::Literal(".")]),
];

impl Scheme {
    /// A scheme of your own: HMAC-SHA256 over the body, the text of the secret as its key, in hexadecimal digits in a header. The
    /// header is given by all its names, in lower case; the first one is written. Names that are not in lower case are never found.
    ///
    /// ```
    /// use sluicegate_webhook::{Part, Scheme};
    ///
    /// // https://docs.slack.dev/authentication/verifying-requests-from-slack
    /// static SLACK: Scheme = Scheme::new("slack", &["x-slack-signature"])
    ///     .prefix("v0=")
    ///     .timestamp(&["x-slack-request-timestamp"], 300)
    ///     .signed_before_body(&[Part::Literal("v0:"), Part::Timestamp, Part::Literal(":")]);
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

    /// Each signature has this before it: `sha256=<signature>`.
    #[must_use]
    pub const fn prefix(mut self, prefix: &'static str) -> Self {
        self.mark = Mark::Prefix(prefix);
        self
    }

    /// Each signature has this word before it, with a comma or a space between them: `v1,<signature>`.
    #[must_use]
    pub const fn after_word(mut self, word: &'static str) -> Self {
        self.mark = Mark::WordBefore(word);
        self
    }

    /// Signatures are in base64.
    #[must_use]
    pub const fn base64(mut self) -> Self {
        self.encoding = Encoding::Base64;
        self
    }

    /// The text of the secret is base64 of its key, after `prefix`, and `version` before that: either may be left out.
    #[must_use]
    pub const fn base64_secret(mut self, version: &'static str, prefix: &'static str) -> Self {
        self.key = KeyText::Base64 { version, prefix };
        self
    }

    /// The request has an id in this header, given by all its names in lower case.
    #[must_use]
    pub const fn id(mut self, headers: &'static [&'static str]) -> Self {
        self.id = Some(headers);
        self
    }

    /// The request says when it was signed, in seconds since 1970, in this header, given by all its names in lower case. It may be
    /// `tolerance_s` seconds from now, in the past and in the future.
    #[must_use]
    pub const fn timestamp(mut self, headers: &'static [&'static str], tolerance_s: u64) -> Self {
        self.timestamp = Some(Timestamp { headers, tolerance_s });
        self
    }

    /// What is signed before the body, in order. An id or a timestamp that is not among it can be changed by anyone.
    #[must_use]
    pub const fn signed_before_body(mut self, parts: &'static [Part]) -> Self {
        self.signed_before_body = parts;
        self
    }

    /// Every scheme known.
    pub fn all() -> &'static [Self] {
        &SCHEMES
    }

    /// The scheme of that name: `github` or `standard-webhooks`.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCHEMES.iter().find(|scheme| scheme.name == name)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Every name, lower case, of the header that carries the signature.
    pub fn signature_headers(&self) -> &'static [&'static str] {
        self.signature
    }

    /// Every name of one of the scheme's headers, given any of them in lower case; empty for a header that the scheme does
    /// not read. [`verify`](Self::verify) lets a request pass only if an id or a timestamp has the same value under all the
    /// names it came by, so any of them may stand for the others.
    pub fn aliases(&self, header: &str) -> &'static [&'static str] {
        let timestamp = self.timestamp.as_ref().map(|timestamp| timestamp.headers);
        let mut known = [Some(self.signature), self.id, timestamp].into_iter().flatten();
        known.find(|names| names.contains(&header)).unwrap_or_default()
    }
}
