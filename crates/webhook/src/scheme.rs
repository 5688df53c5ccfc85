//! [`Scheme`]: how a provider signs its requests, as data.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;
use crate::handshake::Handshake;
use crate::key_source::KeySource;
use crate::message_signature::MessageSignature;
use crate::signed_text::SignedText;

/// The way a provider signs its requests. It is data: a contract may define one, and [`Provider`](crate::Provider)
/// lists those of known providers.
///
/// Only `signature` is required. The rest defaults to the most common way: HMAC-SHA256 over the body, keyed with the
/// text of the secret, in hexadecimal digits.
///
/// ```
/// use sluicegate_webhook::{Request, Scheme};
///
/// // https://docs.slack.dev/authentication/verifying-requests-from-slack
/// let slack: Scheme = serde_json::from_str(r#"{
///     "signature": {"header": "x-slack-signature", "prefix": "v0="},
///     "signed": "v0:{timestamp}:{body}",
///     "timestamp": {"header": "x-slack-request-timestamp", "unit": "s", "pastSeconds": 300, "futureSeconds": 300}
/// }"#)?;
/// let secrets = [slack.secret("8f742231b10e8888abcd99yyyzzz85a5")?];
/// let mut headers = http::HeaderMap::new();
/// for (name, value) in slack.sign(&secrets[0], "", 1_531_420_618, &Request::new(&headers, b"token=xyz"))? {
///     headers.insert(http::HeaderName::try_from(name)?, value.parse()?);
/// }
/// let request = Request::new(&headers, b"token=xyz");
/// assert!(slack.verify(&request, &secrets, 1_531_420_618 + 300).is_ok());
/// assert!(slack.verify(&request, &secrets, 1_531_420_618 + 301).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Scheme {
    /// Where the signature is, and its form.
    pub signature: Signature,
    /// The algorithm of the signature.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// For a provider that names one of several algorithms in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm_by: Option<AlgorithmBy>,
    /// Where the provider publishes its keys; `None` if the secrets are the keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeySource>,
    /// What is signed: one text, or several of which any may be the signed one.
    #[serde(default)]
    pub signed: SignedTexts,
    /// The form of the secret, or of the provider's public key.
    #[serde(default)]
    pub secret: SecretForm,
    /// The time of signing; `None` for a scheme without one, which accepts a replay at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Timestamp>,
    /// The headers of a signed id, by all their names. The first is used for signing.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub id: Names,
    /// For a body of several items with a signature each: the JSON pointer of their list. Pointers in the body are
    /// relative to an item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub each: Option<String>,
    /// What a valid signature proves.
    #[serde(default)]
    pub assurance: Assurance,
    /// Whether the body is JSON although the provider sends it with another media type.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub json: bool,
    /// The requests by which the provider checks an endpoint. The first that fits is answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handshakes: Vec<Handshake>,
}

/// The names of a header, in lower case. The first is used for signing and in errors. A name with `{n}` stands for the
/// headers numbered from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "OneOrMany<String>", into = "OneOrMany<String>")]
pub struct Names(Vec<String>);

/// The texts of which any may be the signed one. The first is used for signing.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "OneOrMany<SignedText>", into = "OneOrMany<SignedText>")]
pub struct SignedTexts(pub(crate) Vec<SignedText>);

#[derive(Clone, Serialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

/// Not derived: an untagged enum hides what is wrong with its text.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrManyVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrManyVisitor<T> {
            type Value = OneOrMany<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(text.into_deserializer()).map(OneOrMany::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = items.next_element()? {
                    values.push(value);
                }
                Ok(OneOrMany::Many(values))
            }
        }

        deserializer.deserialize_any(OneOrManyVisitor(PhantomData))
    }
}

impl<T> From<OneOrMany<T>> for Vec<T> {
    fn from(values: OneOrMany<T>) -> Self {
        match values {
            OneOrMany::One(value) => vec![value],
            OneOrMany::Many(values) => values,
        }
    }
}

impl<T> From<Vec<T>> for OneOrMany<T> {
    fn from(mut values: Vec<T>) -> Self {
        match values.pop() {
            Some(only) if values.is_empty() => Self::One(only),
            last => Self::Many(values.into_iter().chain(last).collect()),
        }
    }
}

impl From<OneOrMany<String>> for Names {
    fn from(names: OneOrMany<String>) -> Self {
        Self(Vec::from(names).into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }
}

impl From<Names> for OneOrMany<String> {
    fn from(names: Names) -> Self {
        names.0.into()
    }
}

impl From<OneOrMany<SignedText>> for SignedTexts {
    fn from(texts: OneOrMany<SignedText>) -> Self {
        Self(texts.into())
    }
}

impl From<SignedTexts> for OneOrMany<SignedText> {
    fn from(texts: SignedTexts) -> Self {
        texts.0.into()
    }
}

impl Default for SignedTexts {
    fn default() -> Self {
        Self(vec![SignedText::body()])
    }
}

impl Names {
    /// Returns whether there is no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names, in lower case.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Returns the first name, which errors and signing use; empty if there is none.
    #[must_use]
    pub fn first(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// Returns whether this is one of the names, in lower case; a number may be in the place of `{n}`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.iter().any(|known| match known.split_once("{n}") {
            None => known == name,
            Some((before, after)) => {
                let number = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
            }
        })
    }
}

/// The separators of a list of `name=value`: characters that no value has.
const SEPARATORS: [char; 5] = [',', ';', '&', '|', ' '];

/// Where the signature is, and its form there. Exactly one of `header` and `body` is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Signature {
    /// The header, by all its names.
    #[serde(skip_serializing_if = "Names::is_empty")]
    pub header: Names,
    /// The JSON pointer (RFC 6901) of the signature in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The text before the signature, exactly: `sha256=`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// For a list of signatures separated by spaces: the word before the comma, `v1` for `v1,<signature>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// For a list of `name=value`: the name of a signature in it. Every value of that name is a signature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The separator of the list of `name=value`; spaces around it are ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// The encoding of the signature.
    pub encoding: Encoding,
    /// For a JSON Web Token (RFC 7519): the claim with the SHA-256 of the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// For an HTTP Message Signature (RFC 9421): what it must cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageSignature>,
    /// For a JSON Web Token: the claims that it must have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimValues>,
}

impl Signature {
    /// Returns whether the signature is a JSON Web Token.
    #[must_use]
    pub fn is_token(&self) -> bool {
        self.claim.is_some() || !self.claims.is_empty()
    }
}

/// A claim that a token must have with one of these values. A claim with a list must have one of them in its list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimValues {
    /// The claim's name.
    pub name: String,
    /// The values, as text; `{secret}` is the secret. Without values, which a contract then has to set, no token is
    /// accepted.
    pub values: Vec<String>,
}

/// The claim of a token that binds the body to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The claim's name.
    pub name: String,
    /// The encoding of the SHA-256 of the body in it.
    #[serde(default)]
    pub encoding: Encoding,
}

/// The algorithm of a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-1. SHA-1 collisions do not break HMAC; RFC 6194, section 3.3.
    HmacSha1,
    /// HMAC with SHA-256.
    #[default]
    HmacSha256,
    /// HMAC with SHA-512.
    HmacSha512,
    /// Ed25519, RFC 8032.
    Ed25519,
    /// ECDSA on P-256 with SHA-256; the signature is ASN.1 DER.
    EcdsaP256Der,
    /// ECDSA on P-256 with SHA-256; the signature is both numbers of 32 bytes, as in RFC 7518, section 3.4.
    EcdsaP256Fixed,
    /// RSA PKCS#1 1.5 with SHA-1, with a key of 2,048 to 8,192 bits. SHA-1 has collisions: only for a provider that
    /// names it in the request, in [`AlgorithmBy`].
    RsaPkcs1Sha1,
    /// RSA PKCS#1 1.5 with SHA-256, with a key of 2,048 to 8,192 bits.
    RsaPkcs1Sha256,
    /// RSA-PSS with SHA-512, with a key of 2,048 to 8,192 bits.
    RsaPssSha512,
    /// No signature: the secret itself is sent.
    Token,
}

impl Algorithm {
    /// Returns whether the provider signs with a private key, so that the configured secret is its public key.
    #[must_use]
    pub fn has_public_key(self) -> bool {
        !matches!(self, Self::HmacSha1 | Self::HmacSha256 | Self::HmacSha512 | Self::Token)
    }
}

/// The algorithm that a request names. Exactly one of `header` and `body` is set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AlgorithmBy {
    /// The header with the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The JSON pointer of the name in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Each name with its algorithm. Another name is refused.
    pub values: Vec<(String, Algorithm)>,
}

/// The form of a configured secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct SecretForm {
    /// The encoding of the key in the text of the secret.
    pub encoding: KeyEncoding,
    /// Texts before the encoded key, which may be left out: `whsec_`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    /// The shortest key, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_min: Option<usize>,
    /// The longest key, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<usize>,
    /// For a scheme with published keys: the JSON pointer of the value in the body that must be the secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
}

/// The encoding of a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The bytes of the text are the key.
    #[default]
    Text,
    /// Hexadecimal digits.
    Hex,
    /// Base64.
    Base64,
    /// Base64 after one of the prefixes; a text without a prefix is itself the key.
    Base64OrText,
    /// A public key: base64 of its DER (SubjectPublicKeyInfo, RFC 5280), or PEM.
    Spki,
    /// A public key as a JSON Web Key, RFC 7517.
    Jwk,
}

/// The time of signing. Exactly one of `header`, `field`, `body` and `claim` is set.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Timestamp {
    /// The header, by all its names.
    #[serde(default, skip_serializing_if = "Names::is_empty")]
    pub header: Names,
    /// The name in the list of the signature; `created` for an HTTP Message Signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The JSON pointer (RFC 6901) in the body. It is read after the signature was verified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The claim of the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<String>,
    /// The unit.
    pub unit: TimeUnit,
    /// The longest time in the past, in seconds; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub past_seconds: Option<u64>,
    /// The longest time in the future, in seconds; `None`: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub future_seconds: Option<u64>,
}

/// The unit of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimeUnit {
    /// Whole seconds since 1970.
    S,
    /// Whole milliseconds since 1970.
    Ms,
    /// A date and time, RFC 3339.
    Rfc3339,
}

/// What a valid signature proves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Assurance {
    /// The sender has the secret. Nothing of the request is signed.
    Token,
    /// Some of the body is signed.
    Partial,
    /// Every byte of the body is signed.
    #[default]
    Signed,
}

impl Scheme {
    /// Returns every name of a header of the scheme, by any of its names in lower case; empty for other headers.
    /// [`verify`](Self::verify) accepts an id or a timestamp only if all its names in the request have the same value,
    /// so the names are interchangeable.
    pub fn aliases(&self, header: &str) -> impl Iterator<Item = &str> {
        let timestamp = self.timestamp.as_ref().map(|timestamp| &timestamp.header);
        let mut known = [Some(&self.signature.header), Some(&self.id), timestamp].into_iter().flatten();
        known.find(|names| names.contains(header)).into_iter().flat_map(Names::iter)
    }

    /// Returns the claim whose values a contract has to set, if any.
    pub fn open_claim(&mut self) -> Option<&mut ClaimValues> {
        self.signature.claims.iter_mut().find(|claim| claim.values.is_empty())
    }

    /// Returns whether the URL that the provider called is signed.
    #[must_use]
    pub fn signs_url(&self) -> bool {
        self.signature.message.is_some() || self.signed.0.iter().any(SignedText::has_url)
    }

    /// Returns whether the fields of a form are signed, so that the provider sends forms.
    #[must_use]
    pub fn signs_form(&self) -> bool {
        self.signed.0.iter().any(SignedText::has_form)
    }

    /// Returns the faults of a scheme that was written by hand: the JSON pointer of each within the scheme, and the
    /// reason.
    #[must_use]
    pub fn faults(&self) -> Vec<(String, String)> {
        if let Some(message) = &self.signature.message {
            return message.faults(self);
        }
        let mut faults = Vec::new();
        let mut fault = |pointer: &str, reason: &str| faults.push((pointer.to_owned(), reason.to_owned()));
        let Signature { header, body, tag, field, separator, prefix, .. } = &self.signature;
        let is_token = self.signature.is_token();
        if header.is_empty() == body.is_none() {
            fault("/signature", "set either `header` or `body`");
        }
        if tag.is_some() && field.is_some() {
            fault("/signature/tag", "`tag` and `field` are two kinds of lists; set one");
        }
        if field.is_some() != separator.is_some() {
            fault("/signature/field", "a list of `name=value` has a `field` and a `separator`; set both");
        }
        if separator.is_some_and(|separator| !SEPARATORS.contains(&separator)) {
            fault(
                "/signature/separator",
                "a value may have this character; the separator is `,`, `;`, `&`, `|` or a space",
            );
        }
        if body.is_some() && (tag.is_some() || field.is_some()) {
            fault("/signature/body", "a list of signatures is read from a header alone");
        }
        if is_token && (header.is_empty() || tag.is_some() || field.is_some()) {
            fault("/signature/claim", "a token with claims is read from a header, and is not in a list");
        }
        if !prefix.is_empty() && (tag.is_some() || field.is_some()) {
            fault("/signature/prefix", "a list has no prefix; the `tag` or `field` stands before the signature");
        }
        if self.algorithm == Algorithm::Token {
            if tag.is_some() || field.is_some() || is_token {
                fault("/signature", "the secret itself is sent; leave out `tag`, `field` and `claim`");
            }
            if self.signed != SignedTexts::default() {
                fault("/signed", "the secret itself is sent, and nothing is signed; leave out `signed`");
            }
        }
        let names = [("/signature/header", header), ("/id", &self.id)];
        let timestamp = self.timestamp.as_ref().map(|timestamp| ("/timestamp/header", &timestamp.header));
        for (pointer, names) in names.into_iter().chain(timestamp) {
            for name in names.iter() {
                // Only signatures are read from numbered headers, and a token from a single one.
                let is_numbered = pointer == "/signature/header" && !is_token;
                let numbered = || is_numbered && is_header_name(&name.replacen("{n}", "1", 1));
                if !is_header_name(name) && !numbered() {
                    fault(pointer, &format!("`{name}` is not a header name"));
                }
            }
        }
        if let Some(timestamp) = &self.timestamp {
            let Timestamp { header, field, body, claim, .. } = timestamp;
            let set = [!header.is_empty(), field.is_some(), body.is_some(), claim.is_some()];
            if set.into_iter().filter(|set| *set).count() != 1 {
                fault("/timestamp", "set one of `header`, `field`, `body` and `claim`");
            }
            if timestamp.field.is_some() && self.signature.field.is_none() {
                fault("/timestamp/field", "the signature is not in a list with fields");
            }
            let signs_time = self.signed.0.iter().all(SignedText::signs_timestamp);
            if timestamp.claim.is_some() && !is_token {
                fault("/timestamp/claim", "the signature is not a token with claims");
            }
            if timestamp.body.is_none() && timestamp.claim.is_none() && !signs_time {
                fault("/signed", "the timestamp is not signed, so anyone can change it; add {timestamp}");
            }
        }
        let signs = |wanted: fn(&SignedText) -> bool| self.signed.0.iter().all(wanted);
        if self.signed.0.is_empty() {
            fault("/signed", "the list of signed texts is empty");
        }
        if !self.id.is_empty() && !signs(SignedText::has_id) {
            fault("/id", "the id is not signed, so anyone can change it; add {id} to `signed`");
        }
        if self.id.is_empty() && self.signed.0.iter().any(SignedText::has_id) {
            fault("/signed", "{id} needs the header of the id in `id`");
        }
        if self.timestamp.as_ref().is_none_or(|timestamp| timestamp.body.is_some() || timestamp.claim.is_some())
            && self.signed.0.iter().any(SignedText::has_timestamp)
        {
            fault("/signed", "{timestamp} needs a `timestamp` in a header or a field");
        }
        for (position, handshake) in self.handshakes.iter().enumerate() {
            if !(200..=599).contains(&handshake.status) {
                fault(&format!("/handshakes/{position}/status"), "is not the status of an answer: 200 to 599");
            }
            if handshake.visits.is_some() && !(handshake.signed && matches!(self.keys, Some(KeySource::Certificate(_))))
            {
                fault(
                    &format!("/handshakes/{position}/visits"),
                    "only a signed handshake, with certificates, is confirmed",
                );
            }
            if handshake.headers.iter().any(|(name, _)| !is_header_name(name)) {
                fault(&format!("/handshakes/{position}/headers"), "a name is not a header name");
            }
        }
        let binds_body = if is_token { self.signature.claim.is_some() } else { signs(SignedText::has_body) };
        match self.assurance {
            Assurance::Signed if self.algorithm == Algorithm::Token => {
                fault("/assurance", "the secret itself is sent and nothing is signed; write `token`");
            }
            Assurance::Signed if !binds_body => {
                fault("/assurance", "not the whole body is signed; write `partial`, or add {body} to `signed`");
            }
            _ => {}
        }
        if self.keys.is_none() && self.algorithm.has_public_key() && self.secret.encoding == KeyEncoding::Text {
            fault("/secret/encoding", "a public key is hex, base64, spki or jwk");
        }
        self.key_faults(&mut fault);
        faults
    }
}

/// The placeholder of the secret in the values of a claim.
pub(crate) const SECRET: &str = "{secret}";

/// Returns whether a text is a `token` (RFC 9110, section 5.6.2), and so the name of a header.
#[must_use]
pub fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
