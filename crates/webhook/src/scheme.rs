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
    /// What is signed, in order.
    pub(crate) signed: &'static [Part],
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

#[derive(Debug)]
pub(crate) enum Part {
    Id,
    Timestamp,
    Body,
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
    Scheme {
        name: "github",
        signature: &["x-hub-signature-256"],
        id: None,
        timestamp: None,
        signed: &[Part::Body],
        mark: Mark::Prefix("sha256="),
        encoding: Encoding::Hex,
        key: KeyText::Raw,
    },
    // https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md; Svix, its origin, keeps
    // its own header names.
    Scheme {
        name: "standard-webhooks",
        signature: &["webhook-signature", "svix-signature"],
        id: Some(&["webhook-id", "svix-id"]),
        timestamp: Some(Timestamp {
            headers: &["webhook-timestamp", "svix-timestamp"],
            tolerance_s: STANDARD_TOLERANCE_S,
        }),
        signed: &[Part::Id, Part::Literal("."), Part::Timestamp, Part::Literal("."), Part::Body],
        mark: Mark::WordBefore("v1"),
        encoding: Encoding::Base64,
        key: KeyText::Base64 { version: "v1,", prefix: "whsec_" },
    },
];

impl Scheme {
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
