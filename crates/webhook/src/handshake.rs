//! [`Handshake`]: a request by which a provider checks an endpoint before, or while, it sends webhooks.

use http::HeaderName;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::codec::Encoding;
use crate::request::{Item, Request};
use crate::secret::{Key, Secret, mac};

/// The longest value that an answer repeats, in bytes. Ours: the challenges of the providers have at most 100.
const VALUE_BYTES_MAX: usize = 512;

/// A request by which a provider checks an endpoint, and its answer. Nothing of it is enqueued.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Handshake {
    /// What the request has.
    pub when: When,
    /// Whether the provider signs it. If so, it is answered only after its signature was verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer; a value is a template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, AnswerTemplate)>,
    /// The body of the answer; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<AnswerTemplate>,
}

/// The signs by which the request of a handshake is known.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct When {
    /// The method, in upper case.
    pub method: String,
    /// A parameter of the query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// A header, in lower case, and its value unless any counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<(String, Option<String>)>,
    /// A JSON pointer in the body, and its value unless any counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<(String, Option<String>)>,
    /// The JSON pointer of a list in the body that is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_list: Option<String>,
}

/// The text of an answer, with values of the request in braces: `{body#/pointer}`, `{query.NAME}` and `{header.NAME}`;
/// `json:` before one makes it the content of a JSON string, and `hmac-hex:` or `hmac-base64:` its HMAC under the
/// first live secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AnswerTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value { form: Form, from: Origin },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Json,
    Hmac(Encoding),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    Body(String),
    Query(String),
    Header(String),
}

/// The forms of a value, by the text before it.
const FORMS: [(&str, Form); 3] =
    [("json:", Form::Json), ("hmac-hex:", Form::Hmac(Encoding::Hex)), ("hmac-base64:", Form::Hmac(Encoding::Base64))];

/// A text that is not a template of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a template with {{body#/pointer}}, {{query.NAME}} or {{header.NAME}}")]
pub struct AnswerTemplateError(String);

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
    /// A value is not fit to be repeated or signed.
    #[error("a value of the request is missing, too long, or has characters that no provider sends")]
    Value,
}

impl Handshake {
    /// Returns whether this is the request of the handshake. The body is parsed only for one that is known by its body.
    #[must_use]
    pub fn is(&self, request: &Request<'_>) -> bool {
        let When { method, query, header, body, empty_list } = &self.when;
        let reads_body = body.is_some() || empty_list.is_some();
        let document = || reads_body.then(|| serde_json::from_slice::<Value>(request.body).ok()).flatten();
        method == request.method
            && query.as_ref().is_none_or(|name| request.query(name).is_some())
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

    /// Returns whether the answer is signed with the secret, and so needs one.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        let templates = self.body.iter().chain(self.headers.iter().map(|(_, template)| template));
        templates.flat_map(|template| &template.0).any(|part| matches!(part, Part::Value { form: Form::Hmac(_), .. }))
    }

    /// Returns the answer to the request.
    ///
    /// A value is repeated only if it is short and of visible ASCII characters, and signed only if it is of letters,
    /// digits, `-`, `_`, `.`, `=`, `+` and `/`: no body of a webhook is, so an answer is never the signature of one.
    ///
    /// # Errors
    /// [`HandshakeError`]: a value is missing or unfit, or there is no secret.
    pub fn answer(&self, request: &Request<'_>, secrets: &[Secret]) -> Result<HandshakeAnswer, HandshakeError> {
        let document = serde_json::from_slice::<Value>(request.body).ok();
        let fill = |template: &AnswerTemplate| template.fill(request, Item(document.as_ref()), secrets);
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
            let visible =
                |value: &String| value.len() <= VALUE_BYTES_MAX && value.bytes().all(|b| b.is_ascii_graphic());
            let value = value.filter(visible).ok_or(HandshakeError::Value)?;
            match form {
                Form::Plain => text.push_str(&value),
                Form::Json => {
                    let quoted = Value::from(value).to_string();
                    text.push_str(quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default());
                }
                Form::Hmac(encoding) => {
                    if !value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.=+/".contains(&b)) {
                        return Err(HandshakeError::Value);
                    }
                    let Some(Secret(Key::Hmac(key))) = secrets.first() else { return Err(HandshakeError::NoSecret) };
                    text.push_str(&encoding.encode(mac(key, &[value.as_bytes().into()]).as_ref()));
                }
            }
        }
        Ok(text)
    }
}

impl TryFrom<String> for AnswerTemplate {
    type Error = AnswerTemplateError;

    fn try_from(text: String) -> Result<Self, AnswerTemplateError> {
        let error = || AnswerTemplateError(text.clone());
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        // JSON has braces too: only a brace before the name of a value opens a placeholder.
        while let Some((start, length, part)) = placeholder(rest) {
            if start > 0 {
                parts.push(Part::Literal(rest[..start].to_owned()));
            }
            parts.push(part);
            rest = &rest[start + length..];
        }
        if ["{body", "{query", "{header", "{json", "{hmac"].iter().any(|opening| rest.contains(opening)) {
            return Err(error());
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self(parts))
    }
}

/// Returns the start, the length and the part of the first placeholder.
fn placeholder(text: &str) -> Option<(usize, usize, Part)> {
    text.match_indices('{').find_map(|(start, _)| {
        let inner = text[start + 1..].split_once('}')?.0;
        let form = FORMS.into_iter().find_map(|(prefix, form)| Some((form, inner.strip_prefix(prefix)?)));
        let (form, name) = form.unwrap_or((Form::Plain, inner));
        let from = if let Some(pointer) = name.strip_prefix("body#") {
            Origin::Body(pointer.to_owned())
        } else if let Some(name) = name.strip_prefix("query.") {
            Origin::Query(name.to_owned())
        } else {
            Origin::Header(name.strip_prefix("header.")?.to_owned())
        };
        Some((start, inner.len() + 2, Part::Value { form, from }))
    })
}

impl From<AnswerTemplate> for String {
    fn from(template: AnswerTemplate) -> Self {
        let part = |part: &Part| match part {
            Part::Literal(literal) => literal.clone(),
            Part::Value { form, from } => {
                let form = FORMS.into_iter().find(|(_, known)| known == form).map_or("", |(prefix, _)| prefix);
                match from {
                    Origin::Body(pointer) => format!("{{{form}body#{pointer}}}"),
                    Origin::Query(name) => format!("{{{form}query.{name}}}"),
                    Origin::Header(name) => format!("{{{form}header.{name}}}"),
                }
            }
        };
        template.0.iter().map(part).collect()
    }
}
