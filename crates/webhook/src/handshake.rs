//! [`Handshake`]: a request by which a provider checks an endpoint before, or while, it sends webhooks.

use serde::{Deserialize, Serialize};

use crate::encoding::Encoding;

/// A request by which a provider checks an endpoint, and its answer. Nothing of it is enqueued.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Handshake {
    /// What the request has.
    pub when: When,
    /// Whether the provider signs it. If so, it is answered only after its signature was verified.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// The JSON pointer of a URL in the body that is visited with GET before the answer. It must be on a host of the
    /// scheme's certificates, and the handshake must be signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visits: Option<String>,
    /// The verify token in the request, which must be one of the live ones. Handshakes without one are for anyone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AnswerTemplate>,
    /// The secret that the provider sends in it, with which it signs from then on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<AnswerTemplate>,
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
    /// A parameter of the query, and its value unless any counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<(String, Option<String>)>,
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
/// `json:` before one makes it the content of a JSON string, `hmac-hex:` or `hmac-base64:` its HMAC under the first
/// live secret, and `text:` allows spaces in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AnswerTemplate(pub(crate) Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(String),
    Value { form: Form, from: Origin },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Text,
    Json,
    Hmac(Encoding),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Body(String),
    Query(String),
    Header(String),
}

/// The forms of a value, by the text before it.
const FORMS: [(&str, Form); 4] = [
    ("text:", Form::Text),
    ("json:", Form::Json),
    ("hmac-hex:", Form::Hmac(Encoding::Hex)),
    ("hmac-base64:", Form::Hmac(Encoding::Base64)),
];

/// A text that is not a template of an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a template with {{body#/pointer}}, {{query.NAME}} or {{header.NAME}}")]
pub struct AnswerTemplateError(String);

impl Handshake {
    /// Returns whether the answer is signed with the secret, and so needs one.
    #[must_use]
    pub fn needs_secret(&self) -> bool {
        let templates = self.body.iter().chain(self.headers.iter().map(|(_, template)| template));
        templates.flat_map(|template| &template.0).any(|part| matches!(part, Part::Value { form: Form::Hmac(_), .. }))
    }
}

impl When {
    /// Returns whether the request of the handshake is known by its body.
    #[must_use]
    pub fn reads_body(&self) -> bool {
        self.body.is_some() || self.empty_list.is_some()
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
        if ["{body", "{query", "{header", "{json", "{text", "{hmac"].iter().any(|opening| rest.contains(opening)) {
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
