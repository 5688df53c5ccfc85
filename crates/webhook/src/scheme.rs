//! [`Scheme`]: how a provider signs its requests, as data.

use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;
use crate::handshake::Handshake;
use crate::key_source::KeySource;
use crate::message_signature::MessageSignature;
use crate::signed_text::SignedText;

mod faults;
mod one_or_many;

use one_or_many::OneOrMany;

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
}

/// The placeholder of the secret in the values of a claim.
pub(crate) const SECRET: &str = "{secret}";

/// Returns whether a text is a `token` (RFC 9110, section 5.6.2), and so the name of a header.
#[must_use]
pub fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
