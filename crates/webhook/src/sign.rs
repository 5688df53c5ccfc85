//! Signature computation, and the headers of a signed request.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::encoding::Encoding;
use crate::request::{Item, Request};
use crate::scheme::{Algorithm, Scheme};
use crate::secret::{Key, Secret, mac, sha256};
use crate::signed_text::Signed;

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
    #[error("the provider signs with a private key, which only it has")]
    PublicKey,
    /// The signature stands in the body.
    #[error("the provider writes the signature into the body; send a body that it signed")]
    InBody,
    /// The request lacks something that is signed.
    #[error("the request lacks a header, or the URL, that is signed")]
    NoText,
}

impl Scheme {
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
        if let Some(message) = &self.signature.message {
            return message.sign(self, secret, id, now_unix_s, request);
        }
        if self.signature.body.is_some() {
            return Err(SignError::InBody);
        }
        let mut signed = Vec::new();
        if !self.id.is_empty() {
            let fits = self.is_id(id.as_bytes()) && HeaderValue::from_str(id).is_ok();
            fits.then_some(()).ok_or_else(|| SignError::Id(id.to_owned()))?;
            signed.push((self.id.first().to_owned(), id.to_owned()));
        }
        let timestamp = match &self.timestamp {
            Some(timestamp) if timestamp.body.is_none() && timestamp.claim.is_none() => {
                let text = timestamp.unit.write(now_unix_s).ok_or(SignError::Time(now_unix_s))?;
                if !timestamp.header.is_empty() {
                    signed.push((timestamp.header.first().to_owned(), text.clone()));
                }
                text
            }
            _ => String::new(),
        };
        let listed = self.listed_headers(request.headers, &mut signed);
        let request = &Request { headers: listed.as_ref().unwrap_or(request.headers), ..*request };
        let value = match &secret.key {
            Key::Public { .. } | Key::Expected(_) => return Err(SignError::PublicKey),
            Key::Token(_, token) => format!("{}{token}", self.signature.prefix),
            Key::Hmac(key) => match &self.signature.claim {
                Some(claim) => {
                    let header = serde_json::json!({"alg": self.algorithm.token_name(), "typ": "JWT"});
                    let hash = claim.encoding.encode(&sha256(request.body));
                    let exp = now_unix_s.saturating_add(TOKEN_LIFE_S);
                    let claims = serde_json::json!({"nbf": now_unix_s, "exp": exp, claim.name.as_str(): hash});
                    let segment = |json: serde_json::Value| Encoding::Base64url.encode(json.to_string().as_bytes());
                    let text = format!("{}.{}", segment(header), segment(claims));
                    let tag = mac(key, &[text.as_bytes().into()]);
                    format!("{}{text}.{}", self.signature.prefix, Encoding::Base64url.encode(tag.as_ref()))
                }
                None => {
                    let parts = Signed {
                        timestamp: timestamp.as_bytes(),
                        id: id.as_bytes(),
                        timestamp_header: "",
                        secret: b"",
                    };
                    let text = self.signed.0.first().and_then(|text| text.pieces(request, Item(None), parts));
                    let tag = mac(key, &text.ok_or(SignError::NoText)?);
                    self.value(&self.signature.encoding.encode(tag.as_ref()), &timestamp)
                }
            },
        };
        signed.push((self.signature.header.first().replacen("{n}", "1", 1), value));
        Ok(signed)
    }

    /// Adds the header that lists the signed headers, if the scheme has one and the request does not: it lists itself
    /// and the timestamp. Returns the headers with it and the timestamp, which are signed.
    fn listed_headers(&self, given: &HeaderMap, signed: &mut Vec<(String, String)>) -> Option<HeaderMap> {
        let list = self.signed.0.first()?.listed()?;
        if !given.contains_key(list) {
            let mut names: Vec<&str> = signed.iter().map(|(name, _)| name.as_str()).chain([list]).collect();
            names.sort_unstable();
            signed.push((list.to_owned(), names.join(",")));
        }
        let mut headers = given.clone();
        for (name, value) in signed {
            headers.insert(HeaderName::try_from(&*name).ok()?, HeaderValue::try_from(&*value).ok()?);
        }
        Some(headers)
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

    /// Returns whether [`sign`](Self::sign) can sign for this scheme.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.signature.body.is_none() && !self.algorithm.has_public_key() || self.algorithm == Algorithm::Token
    }
}
