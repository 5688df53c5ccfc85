//! Signature computation: the headers of a signed request, and the values that a provider writes into the body.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderName, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaKeyPair};
use serde_json::{Map, Value, json};

use crate::encoding::Encoding;
use crate::request::{Item, Request};
use crate::scheme::{Algorithm, Scheme, TimeUnit, Timestamp};
use crate::secret::{Key, Secret, SecretError, decoded, mac, sha256};
use crate::signed_text::{Signed, SignedText};

/// The time for which a signed token is valid, in seconds: LiveKit's, whose SDK refuses a token that does not expire.
const TOKEN_LIFE_S: i64 = 300;

/// The reason why a request cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The id is empty, is not the value of a header, or has the text that follows it in the signed text.
    #[error("the id cannot be signed: {0:?}")]
    Id(String),
    /// The time is before 1970 or after the year 9999.
    #[error("the time cannot be written: {0} s")]
    Time(i64),
    /// The provider signs with a private key; a public key cannot sign.
    #[error("the provider signs with a private key, and this is its public key")]
    PublicKey,
    /// The private key does not sign: an RSA key of fewer than 2,048 bits.
    #[error("the private key cannot sign")]
    PrivateKey,
    /// The provider writes the signature or the time into the body: [`Scheme::sign_request`] does.
    #[error("the provider writes into the body what it signs")]
    InBody,
    /// The body has no place for what the provider writes into it.
    #[error("the body is not JSON with a place for {0}")]
    Body(String),
    /// The request lacks something that is signed.
    #[error("the request lacks a header, or the URL, that is signed")]
    NoText,
}

/// The key that a provider signs with: a shared secret, or the private key of its key pair. `Debug` does not show it.
pub struct SigningKey {
    signer: Signer,
    /// The name of the key in HTTP Message Signatures.
    pub(crate) keyid: Option<Box<str>>,
}

enum Signer {
    Shared(Secret),
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn signature::RsaEncoding),
}

/// A signed request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignedRequest {
    /// The headers to add.
    pub headers: Vec<(String, String)>,
    /// The body, if the provider writes a time or a signature into it.
    pub body: Option<Vec<u8>>,
    /// The URL, if the provider adds a hash of the body to it.
    pub url: Option<String>,
}

impl From<Secret> for SigningKey {
    fn from(secret: Secret) -> Self {
        Self { keyid: secret.keyid.clone(), signer: Signer::Shared(secret) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl SigningKey {
    /// Returns the public key, as [`Scheme::secret`] decodes it; `None` for a shared secret.
    #[must_use]
    pub fn public_key(&self) -> Option<&[u8]> {
        match &self.signer {
            Signer::Shared(_) => None,
            Signer::Ed25519(pair) => Some(pair.public_key().as_ref()),
            Signer::Ecdsa(pair) => Some(pair.public_key().as_ref()),
            Signer::Rsa(pair, _) => Some(pair.public_key().as_ref()),
        }
    }

    /// Returns the signature of the text made of `pieces`.
    pub(crate) fn sign(&self, pieces: &[Cow<'_, [u8]>]) -> Result<Vec<u8>, SignError> {
        let failed = |_| SignError::PrivateKey;
        match &self.signer {
            Signer::Shared(secret) => match &secret.key {
                Key::Hmac(key) => Ok(mac(key, pieces).as_ref().to_vec()),
                Key::Token(_, token) => Ok(token.clone().into_bytes()),
                Key::Public { .. } | Key::Expected(_) => Err(SignError::PublicKey),
            },
            Signer::Ed25519(pair) => Ok(pair.sign(&pieces.concat()).as_ref().to_vec()),
            Signer::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), &pieces.concat()).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Signer::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(*encoding, &SystemRandom::new(), &pieces.concat(), &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl Scheme {
    /// Parses the key that the provider signs with: the secret as for [`secret_of`](Self::secret_of) or, of a scheme
    /// with a key pair, the private key in PKCS#8 (RFC 5208), in PEM or as base64 of its DER.
    ///
    /// # Errors
    /// The text is not a key of this scheme, or the scheme has no names for its keys.
    pub fn signing_key(&self, keyid: Option<&str>, text: &str) -> Result<SigningKey, SecretError> {
        let random = SystemRandom::new();
        let ecdsa = |algorithm| {
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, &decoded(text)?, &random);
            pair.ok().map(Signer::Ecdsa)
        };
        let rsa = |encoding| Some(Signer::Rsa(RsaKeyPair::from_pkcs8(&decoded(text)?).ok()?, encoding));
        let signer = match self.algorithm {
            Algorithm::Ed25519 => {
                let pair = decoded(text).and_then(|der| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok());
                pair.map(Signer::Ed25519)
            }
            Algorithm::EcdsaP256Der => ecdsa(&signature::ECDSA_P256_SHA256_ASN1_SIGNING),
            Algorithm::EcdsaP256Fixed => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::RsaPkcs1Sha256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RsaPssSha512 => rsa(&signature::RSA_PSS_SHA512),
            _ => return self.secret_of(keyid, text).map(SigningKey::from),
        };
        let keyid = self.keyid(keyid)?;
        Ok(SigningKey { signer: signer.ok_or(SecretError::PrivateKey)?, keyid })
    }

    /// Returns the headers that sign a request as message `id` at this time, in seconds since 1970. Schemes without an
    /// id or a timestamp omit it.
    ///
    /// # Errors
    /// [`SignError`]: the scheme signs with a private key or in the body, or [`Scheme::verify`] would refuse the
    /// request.
    pub fn sign(
        &self,
        secret: &Secret,
        id: &str,
        now_unix_s: i64,
        request: &Request<'_>,
    ) -> Result<Vec<(String, String)>, SignError> {
        if self.signature.body.is_some() {
            return Err(SignError::InBody);
        }
        self.headers(&secret.clone().into(), id, now_unix_s, request)
    }

    /// Signs a request as its provider does, as message `id` at this time, in seconds since 1970: returns the headers
    /// to add and, for the providers that write into the body or the URL, those.
    ///
    /// # Errors
    /// [`SignError`]: [`Scheme::verify`] would refuse the request.
    pub fn sign_request(
        &self,
        key: &SigningKey,
        id: &str,
        now_unix_s: i64,
        request: &Request<'_>,
    ) -> Result<SignedRequest, SignError> {
        let body = self.written_body(key, now_unix_s, request)?;
        let request = Request { body: body.as_deref().unwrap_or(request.body), ..*request };
        let hashes_body = self.signs_form() && !request.is_form();
        let url = (hashes_body && request.query("bodySHA256").is_none()).then(|| {
            let separator = if request.url.contains('?') { '&' } else { '?' };
            format!("{}{separator}bodySHA256={}", request.url, Encoding::Hex.encode(&sha256(request.body)))
        });
        let request = Request { url: url.as_deref().unwrap_or(request.url), ..request };
        let headers = self.headers(key, id, now_unix_s, &request)?;
        Ok(SignedRequest { headers, body, url })
    }

    /// Returns the headers that sign the request.
    fn headers(
        &self,
        key: &SigningKey,
        id: &str,
        now_unix_s: i64,
        request: &Request<'_>,
    ) -> Result<Vec<(String, String)>, SignError> {
        if let Some(message) = &self.signature.message {
            return message.sign(self, key, id, now_unix_s, request);
        }
        let mut signed = Vec::new();
        if !self.id.is_empty() {
            let fits = self.is_id(id.as_bytes()) && HeaderValue::from_str(id).is_ok();
            fits.then_some(()).ok_or_else(|| SignError::Id(id.to_owned()))?;
            signed.push((self.id.first().to_owned(), id.to_owned()));
        }
        let (mut timestamp, mut timestamp_header) = (String::new(), "");
        let in_request = |timestamp: &&Timestamp| timestamp.body.is_none() && timestamp.claim.is_none();
        if let Some(limits) = self.timestamp.as_ref().filter(in_request) {
            timestamp = limits.unit.write(now_unix_s).ok_or(SignError::Time(now_unix_s))?;
            timestamp_header = limits.header.first();
            if !timestamp_header.is_empty() {
                signed.push((timestamp_header.to_owned(), timestamp.clone()));
            }
        }
        if self.signature.body.is_some() {
            return Ok(signed);
        }
        let text = self.signed.0.first().ok_or(SignError::NoText)?;
        for list in text.lists().filter(|list| !request.headers.contains_key(*list)) {
            let mut names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).chain([list]).collect();
            names.sort_unstable();
            signed.push((list.to_owned(), names.join(",")));
        }
        // What is signed may be another of these headers.
        let mut headers = request.headers.clone();
        for (name, value) in &signed {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| SignError::NoText)?;
            headers.insert(name, HeaderValue::try_from(value.as_str()).map_err(|_| SignError::NoText)?);
        }
        let request = Request { headers: &headers, ..*request };
        let parts = Signed { timestamp: timestamp.as_bytes(), id: id.as_bytes(), timestamp_header, secret: b"" };
        let value = match &self.signature.claim {
            Some(claim) => {
                let head = json!({"alg": self.algorithm.token_name(), "typ": "JWT"});
                let hash = claim.encoding.encode(&sha256(request.body));
                let exp = now_unix_s.saturating_add(TOKEN_LIFE_S);
                let mut claims = json!({"nbf": now_unix_s, "exp": exp, claim.name.as_str(): hash});
                if let Some(name) = self.timestamp.as_ref().and_then(|timestamp| timestamp.claim.as_ref()) {
                    claims[name.as_str()] = now_unix_s.into();
                }
                let segment = |json: Value| Encoding::Base64url.encode(json.to_string().as_bytes());
                let text = format!("{}.{}", segment(head), segment(claims));
                let tag = key.sign(&[text.as_bytes().into()])?;
                format!("{}{text}.{}", self.signature.prefix, Encoding::Base64url.encode(&tag))
            }
            None => self.value(&self.signature_text(key, text, &request, Item(None), parts)?, &timestamp),
        };
        signed.push((self.signature.header.first().replacen("{n}", "1", 1), value));
        Ok(signed)
    }

    /// Returns the body with the time and the signatures that the provider writes into it; `None` if it writes none.
    fn written_body(
        &self,
        key: &SigningKey,
        now_unix_s: i64,
        request: &Request<'_>,
    ) -> Result<Option<Vec<u8>>, SignError> {
        let time = self.timestamp.as_ref().and_then(|timestamp| Some((timestamp, timestamp.body.as_ref()?)));
        if time.is_none() && self.signature.body.is_none() {
            return Ok(None);
        }
        let no_place = |pointer: &str| SignError::Body(pointer.to_owned());
        let mut document: Value =
            serde_json::from_slice(request.body).map_err(|_| no_place("what the provider writes into it"))?;
        if let Some((limits, pointer)) = time {
            let text = limits.unit.write(now_unix_s).ok_or(SignError::Time(now_unix_s))?;
            let is_text = limits.unit == TimeUnit::Rfc3339 || document.pointer(pointer).is_some_and(Value::is_string);
            let number = text.parse::<i64>().ok().filter(|_| !is_text);
            let written = number.map_or_else(|| Value::from(text), Value::from);
            set(&mut document, pointer, written).ok_or_else(|| no_place(pointer))?;
        }
        if let Some(pointer) = &self.signature.body {
            let text = self.signed.0.first().ok_or(SignError::NoText)?;
            let parts = Signed { timestamp: b"", id: b"", timestamp_header: "", secret: b"" };
            let items = match &self.each {
                Some(list) => {
                    let items = document.pointer_mut(list).and_then(Value::as_array_mut);
                    items.map(Vec::as_mut_slice).filter(|items| !items.is_empty()).ok_or_else(|| no_place(list))?
                }
                None => std::slice::from_mut(&mut document),
            };
            for item in items {
                let signature = self.signature_text(key, text, request, Item(Some(item)), parts)?;
                set(item, pointer, signature.into()).ok_or_else(|| no_place(pointer))?;
            }
        }
        Ok(Some(document.to_string().into_bytes()))
    }

    /// Returns a signature in its encoding.
    fn signature_text(
        &self,
        key: &SigningKey,
        text: &SignedText,
        request: &Request<'_>,
        item: Item<'_>,
        parts: Signed<'_>,
    ) -> Result<String, SignError> {
        if let Signer::Shared(Secret { key: Key::Token(_, token), .. }) = &key.signer {
            return Ok(token.clone());
        }
        let pieces = text.pieces(request, item, parts).ok_or(SignError::NoText)?;
        Ok(self.signature.encoding.encode(&key.sign(&pieces)?))
    }

    /// Returns the value of the header with this signature.
    fn value(&self, signature: &str, timestamp: &str) -> String {
        let form = &self.signature;
        match (&form.tag, &form.field, form.separator) {
            (Some(tag), ..) => format!("{tag},{signature}"),
            (None, Some(field), Some(separator)) => {
                let time = self.timestamp.as_ref().and_then(|timestamp| timestamp.field.as_ref());
                let time = time.map(|name| format!("{name}={timestamp}{separator}")).unwrap_or_default();
                format!("{time}{field}={signature}")
            }
            _ => format!("{}{signature}", form.prefix),
        }
    }

    /// Returns whether [`sign`](Self::sign) can sign for this scheme: with a shared secret, and in headers alone.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.signature.body.is_none() && !self.algorithm.has_public_key()
    }
}

/// Writes a value at a JSON pointer, with the objects on the way to it. Returns `None` if something else is there.
fn set(document: &mut Value, pointer: &str, value: Value) -> Option<()> {
    let mut at = document;
    for segment in pointer.split('/').skip(1) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = Value::Object(Map::new());
        }
        at = match at {
            Value::Object(members) => members.entry(name).or_insert(Value::Null),
            Value::Array(items) => items.get_mut(name.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    *at = value;
    Some(())
}
