//! [`SignedText`]: the text that a provider signs, as a template with the parts of the request.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::request::{Item, Request};

/// The text that is signed: literals, and parts of the request in braces.
///
/// | part | its value |
/// |---|---|
/// | `{body}` | every byte of the body |
/// | `{body.escaped}` | the body with each character outside ASCII as `\uxxxx` in lower case |
/// | `{body#/pointer}` | the text at this JSON pointer (RFC 6901); empty if absent |
/// | `{form}` | each name and value of a form, sorted by name; see below |
/// | `{timestamp}` | the timestamp as received |
/// | `{id}` | the id as received |
/// | `{header.NAME}` | the value of a header; empty if absent |
/// | `{listed.NAME}` | the headers that this header lists, as `name:value` sorted and joined with `;` |
/// | `{method}` | the method in upper case |
/// | `{url}` | the URL that the provider called |
/// | `{url.port}` | the same with the default port of its scheme |
/// | `{path}` | its path and query |
///
/// `{form}` is empty for a body of another media type than `application/x-www-form-urlencoded`. The parameter
/// `bodySHA256` of the query must then be the SHA-256 of the body in hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignedText(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Body,
    BodyEscaped,
    Pointer(String),
    Form,
    Timestamp,
    Id,
    Header(String),
    Listed(String),
    Method,
    Url,
    UrlWithPort,
    Path,
}

/// A text that is not a template of signed parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedTextError {
    /// A brace without its counterpart.
    #[error("a brace is not closed or not opened")]
    Brace,
    /// A part that does not exist.
    #[error(
        "{{{0}}} is not a part of a request; there are body, body#/pointer, body.escaped, form, timestamp, id, header.NAME, listed.NAME, method, url, url.port and path"
    )]
    Unknown(String),
}

impl TryFrom<String> for SignedText {
    type Error = SignedTextError;

    fn try_from(text: String) -> Result<Self, SignedTextError> {
        let (mut parts, mut rest) = (Vec::new(), text.as_str());
        while !rest.is_empty() {
            let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
            if literal.contains('}') {
                return Err(SignedTextError::Brace);
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            if literal.len() == rest.len() {
                break;
            }
            let (name, after) = after.split_once('}').ok_or(SignedTextError::Brace)?;
            parts.push(Part::named(name).ok_or_else(|| SignedTextError::Unknown(name.to_owned()))?);
            rest = after;
        }
        Ok(Self(parts))
    }
}

impl From<SignedText> for String {
    fn from(text: SignedText) -> Self {
        text.to_string()
    }
}

impl fmt::Display for SignedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(text),
            Part::Body => f.write_str("{body}"),
            Part::BodyEscaped => f.write_str("{body.escaped}"),
            Part::Pointer(pointer) => write!(f, "{{body#{pointer}}}"),
            Part::Form => f.write_str("{form}"),
            Part::Timestamp => f.write_str("{timestamp}"),
            Part::Id => f.write_str("{id}"),
            Part::Header(name) => write!(f, "{{header.{name}}}"),
            Part::Listed(name) => write!(f, "{{listed.{name}}}"),
            Part::Method => f.write_str("{method}"),
            Part::Url => f.write_str("{url}"),
            Part::UrlWithPort => f.write_str("{url.port}"),
            Part::Path => f.write_str("{path}"),
        })
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "body" => Self::Body,
            "body.escaped" => Self::BodyEscaped,
            "form" => Self::Form,
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "method" => Self::Method,
            "url" => Self::Url,
            "url.port" => Self::UrlWithPort,
            "path" => Self::Path,
            _ => {
                if let Some(pointer) = name.strip_prefix("body#").filter(|pointer| pointer.starts_with('/')) {
                    Self::Pointer(pointer.to_owned())
                } else if let Some(header) = name.strip_prefix("header.") {
                    Self::Header(header.to_ascii_lowercase())
                } else {
                    Self::Listed(name.strip_prefix("listed.")?.to_ascii_lowercase())
                }
            }
        })
    }
}

/// The values of a request that its headers or the list of the signature hold.
#[derive(Clone, Copy)]
pub(crate) struct Signed<'r> {
    pub(crate) timestamp: &'r [u8],
    pub(crate) id: &'r [u8],
    /// The name of the timestamp's header, which a list of signed headers must include; empty for none.
    pub(crate) timestamp_header: &'r str,
}

impl SignedText {
    /// Returns the text of a scheme that signs the body alone.
    pub(crate) fn body() -> Self {
        Self(vec![Part::Body])
    }

    pub(crate) fn has_body(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Body | Part::BodyEscaped | Part::Form))
    }

    pub(crate) fn has_timestamp(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Timestamp | Part::Listed(_)))
    }

    pub(crate) fn has_id(&self) -> bool {
        self.0.contains(&Part::Id)
    }

    /// Returns whether the signed text depends on the URL that the provider called.
    pub(crate) fn has_url(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Url | Part::UrlWithPort | Part::Path))
    }

    /// Returns the literal after the id. An id with it would make the split of the signed text ambiguous.
    pub(crate) fn after_id(&self) -> Option<&str> {
        self.0.windows(2).find_map(|pair| match pair {
            [Part::Id, Part::Literal(text)] => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns the bytes of each part, in order; `None` if the request has no such text.
    pub(crate) fn pieces<'r>(
        &'r self,
        request: &Request<'r>,
        item: Item<'r>,
        signed: Signed<'r>,
    ) -> Option<Vec<Cow<'r, [u8]>>> {
        let text = |text: &'r str| Cow::Borrowed(text.as_bytes());
        let owned = |text: String| Cow::Owned(text.into_bytes());
        let piece = |part: &'r Part| {
            Some(match part {
                Part::Literal(literal) => text(literal),
                Part::Body => Cow::Borrowed(request.body),
                Part::BodyEscaped => owned(escaped(std::str::from_utf8(request.body).ok()?)),
                Part::Pointer(pointer) => owned(item.text(pointer).unwrap_or_default()),
                Part::Form => owned(request.form_text()?),
                Part::Timestamp => Cow::Borrowed(signed.timestamp),
                Part::Id => Cow::Borrowed(signed.id),
                Part::Header(name) => Cow::Borrowed(request.header(name)?.unwrap_or_default()),
                Part::Listed(name) => owned(request.listed(name, signed.timestamp_header)?),
                Part::Method => text(request.method),
                Part::Url => text(request.url),
                Part::UrlWithPort => owned(with_port(request.url)?),
                Part::Path => text(path_and_query(request.url)?),
            })
        };
        self.0.iter().map(piece).collect()
    }
}

/// Writes each character outside ASCII as the escapes of its UTF-16 units, `\uxxxx` in lower case.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

/// Returns the URL with the default port of its scheme, if it has no port.
fn with_port(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let port = if scheme == "http" { 80 } else { 443 };
    Some(format!("{scheme}://{authority}:{port}{path}"))
}

fn path_and_query(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    Some(rest.find(['/', '?']).map_or("/", |start| &rest[start..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_written_as_it_was_read() {
        for text in [
            "",
            "v0:{timestamp}:{body}",
            "{id}.{timestamp}.{body.escaped}",
            "{body#/a~1b}{header.x-a}{listed.x-b}",
            "{method}{url}{url.port}{path}{form}",
        ] {
            assert_eq!(SignedText::try_from(text.to_owned()).unwrap().to_string(), text);
        }
        for text in ["{body", "body}", "a}b{c", "{", "}"] {
            assert_eq!(SignedText::try_from(text.to_owned()), Err(SignedTextError::Brace), "{text}");
        }
        for text in ["", "bodies", "body#a", "query.a", "Body"] {
            let error = SignedText::try_from(format!("{{{text}}}")).unwrap_err();
            assert_eq!(error, SignedTextError::Unknown(text.to_owned()));
        }
    }

    #[test]
    fn a_url_gets_the_default_port() {
        for (url, expected) in [
            ("https://a.example/b?c", Some("https://a.example:443/b?c")),
            ("http://a.example", Some("http://a.example:80")),
            ("https://a.example?c:1", Some("https://a.example:443?c:1")),
            ("https://a.example:8443/b", None),
            ("/b", None),
        ] {
            assert_eq!(with_port(url).as_deref(), expected);
        }
    }

    #[test]
    fn characters_outside_ascii_are_escaped_as_utf16() {
        assert_eq!(escaped("aé\u{1f600}"), "a\\u00e9\\ud83d\\ude00");
    }
}
