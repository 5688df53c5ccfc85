//! Signature verification against the live secrets.

use std::borrow::Cow;

use serde_json::Value;

use crate::answer::is_signable;
use crate::body::BodyError;
use crate::body::values_at;
use crate::error::SignatureError;
use crate::handshake::Handshake;
use crate::key_source::KeySource;
use crate::request::{Item, Request};
use crate::scheme::{Algorithm, Names, Scheme, Signature, Timestamp};
use crate::secret::Secret;
use crate::signed_text::Signed;
use crate::token;
use crate::unique_json::parse_unique;

/// The limit of signatures in a request. Rotation needs one for each live key, two or three; no provider documents a
/// limit.
pub const SIGNATURES_MAX: usize = 16;

/// The most items with a signature each in one body. Adyen sends up to six.
const ITEMS_MAX: usize = 100;

/// A verified request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The position, in the live secrets, of the one that fits; the first, if several do.
    pub secret: usize,
}

/// The signatures, and the other fields of their list.
#[derive(Default)]
struct Found<'r> {
    signatures: Vec<Vec<u8>>,
    timestamp: Option<&'r [u8]>,
}

/// What may be signed of a request, or of an item of its body; the signatures of it, and the secrets to try.
pub(crate) struct Candidate<'c> {
    pub(crate) scheme: &'c Scheme,
    pub(crate) request: &'c Request<'c>,
    pub(crate) item: Item<'c>,
    pub(crate) signed: Signed<'c>,
    pub(crate) signatures: &'c [Vec<u8>],
    pub(crate) secrets: &'c [Secret],
}

impl Candidate<'_> {
    /// Returns the secret that fits.
    fn fitting(&self) -> Result<Verified, SignatureError> {
        let texts = self.scheme.signed.0.iter().filter_map(|text| text.pieces(self.request, self.item, self.signed));
        let texts: Vec<_> = texts.collect();
        if texts.is_empty() {
            return Err(SignatureError::NoText { reason: "a header, the URL or the hash of the body is missing" });
        }
        let mut fits = None;
        for (position, Secret { key, .. }) in self.secrets.iter().enumerate() {
            for pieces in &texts {
                for signature in self.signatures {
                    // The loops do not stop at a match: the time does not depend on which secret fits.
                    if key.fits(pieces, signature) && fits.is_none() {
                        fits = Some(Verified { secret: position });
                    }
                }
            }
        }
        fits.ok_or(SignatureError::Mismatch)
    }
}

impl Scheme {
    /// Returns whether a request has a header of the signature.
    #[must_use]
    pub fn is_signed(&self, headers: &http::HeaderMap) -> bool {
        self.signature.header.iter().any(|name| headers.contains_key(name.replacen("{n}", "1", 1)))
    }

    /// Verifies that the request is signed with one of `secrets`, at a time within the limits of the scheme around
    /// `now_unix_s` (seconds since 1970). Compares every secret with every signature, in constant time.
    ///
    /// The body is parsed only for a scheme that needs a value from it. A timestamp in the body is read after the
    /// signature was verified.
    ///
    /// # Errors
    /// The first fault found; [`SignatureError::Mismatch`] comes after all but a fault of the body's timestamp.
    pub fn verify(
        &self,
        request: &Request<'_>,
        secrets: &[Secret],
        now_unix_s: i64,
    ) -> Result<Verified, SignatureError> {
        let signs_for_anyone = |handshake: &Handshake| !handshake.signed && handshake.needs_secret();
        if self.handshakes.iter().any(signs_for_anyone) && is_signable(request.body) {
            return Err(SignatureError::Signable);
        }
        if let Some(message) = &self.signature.message {
            return message.verify(self, request, secrets, now_unix_s);
        }
        let id = self.read_id(request)?;
        let header = self.timestamp_header();
        let timestamp = header.map(|timestamp| only(request, &timestamp.header)).transpose()?;
        if let (Some(limits), Some(text)) = (header, timestamp) {
            limits.check(text, now_unix_s)?;
        }
        if self.signature.is_token() {
            return token::verify(self, request, self.header_value(request)?, secrets, now_unix_s);
        }
        let document = self.document(request)?;
        let timestamp_header = header.map_or("", |timestamp| timestamp.header.first());
        let mut verified = None;
        for item in self.items(document.as_ref())? {
            let found = self.found(request, item)?;
            let timestamp = match self.timestamp.as_ref().filter(|timestamp| timestamp.field.is_some()) {
                Some(limits) => {
                    let text = found.timestamp.ok_or_else(|| SignatureError::Missing { place: limits.place() })?;
                    limits.check(text, now_unix_s)?;
                    text
                }
                None => timestamp.unwrap_or_default(),
            };
            let signed = Signed { timestamp, id, timestamp_header, secret: b"" };
            let candidate = Candidate { scheme: self, request, item, signed, signatures: &found.signatures, secrets };
            let fits = match &self.keys {
                Some(KeySource::Certificate(source)) => candidate.fitting_published(source, now_unix_s)?,
                _ => candidate.fitting()?,
            };
            verified.get_or_insert(fits);
        }
        if let Some((limits, pointer)) =
            self.timestamp.as_ref().and_then(|limits| Some((limits, limits.body.as_ref()?)))
        {
            let document = document.or_else(|| values_at(request.body, [pointer.as_str()]).ok());
            let text = Item(document.as_ref()).text(pointer);
            let text = text.ok_or_else(|| SignatureError::Missing { place: limits.place() })?;
            limits.check(text.as_bytes(), now_unix_s)?;
        }
        verified.ok_or(SignatureError::Mismatch)
    }

    /// Returns the texts of which any may be the signed one, to find out why a signature does not match; of a body with
    /// several items, those of the first.
    ///
    /// # Errors
    /// The request lacks what is signed.
    pub fn signed_texts(&self, request: &Request<'_>) -> Result<Vec<Vec<u8>>, SignatureError> {
        if let Some(message) = &self.signature.message {
            return message.bases(request);
        }
        let id = self.read_id(request)?;
        let document = self.document(request)?;
        let item = self.items(document.as_ref())?.into_iter().next().unwrap_or_default();
        let header = self.timestamp_header();
        let timestamp = match header {
            Some(timestamp) => Some(only(request, &timestamp.header)?),
            None => self.found(request, item)?.timestamp,
        };
        let timestamp_header = header.map_or("", |timestamp| timestamp.header.first());
        let timestamp = timestamp.unwrap_or_default();
        let signed = Signed { timestamp, id, timestamp_header, secret: b"" };
        let texts = self.signed.0.iter().filter_map(|text| text.pieces(request, item, signed));
        Ok(texts.map(|pieces| pieces.concat()).collect())
    }

    /// Returns the timestamp if it is in a header of its own.
    fn timestamp_header(&self) -> Option<&Timestamp> {
        self.timestamp.as_ref().filter(|timestamp| !timestamp.header.is_empty())
    }

    /// Returns the parsed body, if the signature is read from it.
    fn document(&self, request: &Request<'_>) -> Result<Option<Value>, SignatureError> {
        let reads_key = match &self.keys {
            Some(KeySource::Certificate(source)) => {
                let algorithm = self.algorithm_by.as_ref().and_then(|by| by.body.as_ref());
                source.body.as_ref().or(self.secret.equals.as_ref()).or(algorithm).is_some()
            }
            _ => false,
        };
        let reads_body = self.signature.body.is_some() || self.each.is_some() || reads_key;
        if !reads_body {
            return Ok(None);
        }
        match std::str::from_utf8(request.body).ok().map(parse_unique) {
            Some(Err(BodyError::Duplicate(_))) => Err(SignatureError::DuplicateMember),
            Some(Ok(document)) => Ok(Some(document)),
            Some(Err(BodyError::Syntax { .. })) | None => Ok(None),
        }
    }

    /// Returns the items with a signature each; the body as the only one, unless the scheme has `each`.
    fn items<'j>(&self, document: Option<&'j Value>) -> Result<Vec<Item<'j>>, SignatureError> {
        let Some(pointer) = &self.each else { return Ok(vec![Item(document)]) };
        let list = document.and_then(|document| document.pointer(pointer)).and_then(Value::as_array);
        match list {
            Some(items) if (1..=ITEMS_MAX).contains(&items.len()) => {
                Ok(items.iter().map(|item| Item(Some(item))).collect())
            }
            _ => Err(SignatureError::Missing { place: format!("the list {pointer} in the body") }),
        }
    }

    /// Returns the id as signed. With the text that follows it in the signed text, the split of that text into id,
    /// timestamp and body would be ambiguous; the Standard Webhooks specification warns of it.
    pub(crate) fn read_id<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], SignatureError> {
        if self.id.is_empty() {
            return Ok(&[]);
        }
        let id = only(request, &self.id)?;
        if self.is_id(id) { Ok(id) } else { Err(SignatureError::Malformed { header: self.id.first().to_owned() }) }
    }

    /// Returns whether a text can be signed as an id.
    pub(crate) fn is_id(&self, id: &[u8]) -> bool {
        let after = self.signed.0.iter().filter_map(|text| text.after_id());
        !id.is_empty() && after.map(str::as_bytes).all(|after| !id.windows(after.len()).any(|part| part == after))
    }

    pub(crate) fn header_value<'r>(&self, request: &Request<'r>) -> Result<&'r [u8], SignatureError> {
        let Signature { header, prefix, .. } = &self.signature;
        let value = only(request, header)?;
        value
            .strip_prefix(prefix.as_bytes())
            .ok_or_else(|| SignatureError::Malformed { header: header.first().to_owned() })
    }

    /// Returns the signatures of the request, or of an item of its body.
    fn found<'r>(&self, request: &Request<'r>, item: Item<'_>) -> Result<Found<'r>, SignatureError> {
        if let Some(pointer) = &self.signature.body {
            let place = || format!("the signature at {pointer} in the body");
            let text = item.text(pointer).ok_or_else(|| SignatureError::Missing { place: place() })?;
            let signature = self.signature.decode(text.as_bytes(), self.algorithm);
            let signature = signature.ok_or_else(|| SignatureError::MalformedPart { place: place() })?;
            return Ok(Found { signatures: vec![signature], timestamp: None });
        }
        let header = || self.signature.header.first().to_owned();
        let time_field = self.timestamp.as_ref().and_then(|timestamp| timestamp.field.as_deref());
        let (mut found, mut headers) = (Found::default(), 0);
        for name in self.signature.header.iter().flat_map(numbered) {
            let value = request.header(&name).ok_or_else(|| SignatureError::Ambiguous { header: header() })?;
            let Some(value) = value else { continue };
            headers += 1;
            let read = self.signature.read(value, time_field, self.algorithm, &mut found);
            read.ok_or_else(|| SignatureError::Ambiguous { header: header() })?;
            if found.signatures.len() > SIGNATURES_MAX {
                return Err(SignatureError::TooMany { header: header() });
            }
        }
        match headers {
            0 => Err(SignatureError::MissingHeader { header: header() }),
            _ if found.signatures.is_empty() => Err(SignatureError::Malformed { header: header() }),
            _ => Ok(found),
        }
    }
}

impl Algorithm {
    /// Returns the length of a signature in bytes; `None` if it varies.
    fn signature_bytes(self) -> Option<usize> {
        match self {
            Self::HmacSha1 => Some(20),
            Self::HmacSha256 => Some(32),
            Self::HmacSha512 | Self::Ed25519 | Self::EcdsaP256Fixed => Some(64),
            Self::EcdsaP256Der | Self::RsaPkcs1Sha1 | Self::RsaPkcs1Sha256 | Self::RsaPssSha512 | Self::Token => None,
        }
    }
}

impl Signature {
    /// Adds the signatures in a value of the header, and the timestamp named `time_field` in its list. Skips what is
    /// not in the form of the scheme: a list may have signatures of other versions. Returns `None` if the list has two
    /// timestamps.
    fn read<'r>(
        &self,
        value: &'r [u8],
        time_field: Option<&str>,
        algorithm: Algorithm,
        found: &mut Found<'r>,
    ) -> Option<()> {
        if let Some(tag) = &self.tag {
            for entry in value.split(|byte| *byte == b' ').filter(|entry| !entry.is_empty()) {
                let signature = entry.strip_prefix(tag.as_bytes()).and_then(|rest| rest.strip_prefix(b","));
                found.add(signature.and_then(|text| self.decode(text, algorithm)));
            }
        } else if let (Some(field), Some(separator)) = (&self.field, self.separator) {
            let separator = u8::try_from(separator).ok()?;
            for entry in value.split(|byte| *byte == separator).map(<[u8]>::trim_ascii) {
                let Some(at) = entry.iter().position(|byte| *byte == b'=') else { continue };
                let (name, text) = (&entry[..at], &entry[at + 1..]);
                if name == field.as_bytes() {
                    found.add(self.decode(text, algorithm));
                } else if time_field.is_some_and(|field| name == field.as_bytes())
                    && found.timestamp.replace(text).is_some()
                {
                    return None;
                }
            }
        } else if let Some(text) = value.strip_prefix(self.prefix.as_bytes()) {
            found.add(self.decode(text, algorithm));
        }
        Some(())
    }

    /// Returns the bytes of a signature; `None` if they cannot be one of this algorithm.
    fn decode(&self, text: &[u8], algorithm: Algorithm) -> Option<Vec<u8>> {
        let decoded = if algorithm == Algorithm::Token { Some(text.to_vec()) } else { self.encoding.decode(text) };
        decoded.filter(|signature| match algorithm.signature_bytes() {
            Some(length) => signature.len() == length,
            None => !signature.is_empty(),
        })
    }
}

impl Found<'_> {
    /// Adds a signature. Keeps one more than the limit, which is then refused.
    fn add(&mut self, signature: Option<Vec<u8>>) {
        self.signatures.extend(signature.filter(|_| self.signatures.len() <= SIGNATURES_MAX));
    }
}

/// Returns the headers of this name; those numbered from 1 for a name with `{n}`.
fn numbered(name: &str) -> Vec<Cow<'_, str>> {
    if !name.contains("{n}") {
        return vec![Cow::Borrowed(name)];
    }
    (1..=SIGNATURES_MAX).map(|number| Cow::Owned(name.replacen("{n}", &number.to_string(), 1))).collect()
}

/// Returns the single value of a header. Each of its names may have it once, and with the same value.
fn only<'r>(request: &Request<'r>, names: &Names) -> Result<&'r [u8], SignatureError> {
    let ambiguous = || SignatureError::Ambiguous { header: names.first().to_owned() };
    let mut only: Option<&[u8]> = None;
    for name in names.iter() {
        match (only, request.header(name).ok_or_else(ambiguous)?) {
            (Some(before), Some(value)) if before != value => return Err(ambiguous()),
            (_, value) => only = only.or(value),
        }
    }
    only.ok_or_else(|| SignatureError::MissingHeader { header: names.first().to_owned() })
}
