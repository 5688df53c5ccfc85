//! Answers to handshakes.

use http::HeaderName;
use serde_json::Value;

use crate::body::json;
use crate::handshake::{AnswerTemplate, Form, Handshake, Origin, Part, When};
use crate::request::{Item, Request};
use crate::secret::{Key, Secret, mac};

/// The longest value that an answer repeats, in bytes. Ours: the challenges of the providers have at most 100.
const VALUE_BYTES_MAX: usize = 512;

/// The answer to a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandshakeAnswer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(HeaderName, String)>,
    /// The body; empty for none.
    pub body: String,
}

/// The reason why a handshake cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// There is no secret to sign the answer with.
    #[error("the answer is signed, and there is no live secret")]
    NoSecret,
    /// The verify token of the request is not a live one.
    #[error("the verify token is not a live one")]
    Token,
    /// A value is not fit to be repeated or signed.
    #[error("a value of the request is missing, too long, or has characters that no provider sends")]
    Value,
}

/// Returns whether an answer may sign this value. [`Scheme::verify`](crate::Scheme::verify) refuses such a body where
/// answers to anyone are signed.
pub(crate) fn is_signable(value: &[u8]) -> bool {
    value.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.=+/".contains(b))
}

impl Handshake {
    /// Returns whether this is the request of the handshake. The body is parsed only for one that is known by its body.
    #[must_use]
    pub fn is(&self, request: &Request<'_>) -> bool {
        let When { method, query, header, body, empty_list } = &self.when;
        let document = || self.when.reads_body().then(|| json(request.body)).flatten();
        method == request.method
            && query.as_ref().is_none_or(|(name, expected)| {
                let value = request.query(name);
                value.is_some_and(|value| expected.as_ref().is_none_or(|expected| *expected == value))
            })
            && header.as_ref().is_none_or(|(name, expected)| {
                let value = request.header(name).flatten();
                value.is_some_and(|value| expected.as_ref().is_none_or(|expected| value == expected.as_bytes()))
            })
            && body.as_ref().is_none_or(|(pointer, expected)| {
                let value = Item(document().as_ref()).text(pointer);
                value.is_some_and(|value| expected.as_ref().is_none_or(|expected| *expected == value))
            })
            && empty_list.as_ref().is_none_or(|pointer| {
                document()
                    .as_ref()
                    .and_then(|document| document.pointer(pointer)?.as_array())
                    .is_some_and(Vec::is_empty)
            })
    }

    /// Returns the secret that the provider sends in the request; `None` for a handshake without one.
    ///
    /// # Errors
    /// [`HandshakeError::Value`]: it is missing or unfit.
    pub fn received_secret(&self, request: &Request<'_>) -> Option<Result<String, HandshakeError>> {
        let document = json(request.body);
        self.secret.as_ref().map(|secret| secret.fill(request, Item(document.as_ref()), &[]))
    }

    /// Returns the answer to the request. `secrets` are the live secrets or, for a handshake with a
    /// [`token`](Self::token), the live [verify tokens](Secret::verify_token), which are compared in constant time.
    ///
    /// A value is repeated only if it is short and of visible ASCII characters. It is signed only if it is of letters,
    /// digits, `-`, `_`, `.`, `=`, `+` and `/`. A scheme that signs answers to unsigned handshakes accepts no webhook
    /// whose body has these characters alone, so an answer is never the signature of a webhook.
    ///
    /// # Errors
    /// [`HandshakeError`]: a value is missing or unfit, the token is not live, or there is no secret.
    pub fn answer(&self, request: &Request<'_>, secrets: &[Secret]) -> Result<HandshakeAnswer, HandshakeError> {
        let document = json(request.body);
        let fill = |template: &AnswerTemplate| template.fill(request, Item(document.as_ref()), secrets);
        if let Some(token) = &self.token {
            let token = fill(token)?;
            let fits = secrets.iter().fold(false, |fits, Secret { key, .. }| key.fits(&[], token.as_bytes()) | fits);
            fits.then_some(()).ok_or(HandshakeError::Token)?;
        }
        let headers = self.headers.iter().map(|(name, template)| {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| HandshakeError::Value)?;
            Ok((name, fill(template)?))
        });
        Ok(HandshakeAnswer {
            status: self.status,
            headers: headers.collect::<Result<_, _>>()?,
            body: self.body.as_ref().map(fill).transpose()?.unwrap_or_default(),
        })
    }
}

impl AnswerTemplate {
    fn fill(&self, request: &Request<'_>, body: Item<'_>, secrets: &[Secret]) -> Result<String, HandshakeError> {
        let mut text = String::new();
        for part in &self.0 {
            let (form, from) = match part {
                Part::Literal(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Part::Value { form, from } => (form, from),
            };
            let value = match from {
                Origin::Body(pointer) => body.text(pointer),
                Origin::Query(name) => request.query(name),
                Origin::Header(name) => {
                    request.header(name).flatten().and_then(|value| String::from_utf8(value.to_vec()).ok())
                }
            };
            let visible = |value: &String| {
                let is_visible = |b: u8| b.is_ascii_graphic() || (*form == Form::Text && b == b' ');
                value.len() <= VALUE_BYTES_MAX && value.bytes().all(is_visible)
            };
            let value = value.filter(visible).ok_or(HandshakeError::Value)?;
            match form {
                Form::Plain | Form::Text => text.push_str(&value),
                Form::Json => {
                    let quoted = Value::from(value).to_string();
                    text.push_str(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default());
                }
                Form::Hmac(encoding) => {
                    if !is_signable(value.as_bytes()) {
                        return Err(HandshakeError::Value);
                    }
                    let Some(Secret { key: Key::Hmac(key), .. }) = secrets.first() else {
                        return Err(HandshakeError::NoSecret);
                    };
                    text.push_str(&encoding.encode(mac(key, &[value.as_bytes().into()]).as_ref()));
                }
            }
        }
        Ok(text)
    }
}
