//! [`SignedText`]: the text that a provider signs, as a template with the parts of the request.

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(feature = "verify")]
mod pieces;

#[cfg(feature = "verify")]
pub(crate) use pieces::Signed;

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

impl SignedText {
    /// Returns the text of a scheme that signs the body alone.
    pub(crate) fn body() -> Self {
        Self(vec![Part::Body])
    }

    /// Returns the headers that list the headers that are signed.
    #[cfg(feature = "verify")]
    pub(crate) fn lists(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|part| match part {
            Part::Listed(name) => Some(name.as_str()),
            _ => None,
        })
    }

    #[cfg(feature = "verify")]
    pub(crate) fn has_form(&self) -> bool {
        self.0.contains(&Part::Form)
    }

    pub(crate) fn has_body(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Body | Part::BodyEscaped | Part::Form))
    }

    pub(crate) fn has_timestamp(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// Returns whether a change of the timestamp changes the text: a list of signed headers includes its header.
    pub(crate) fn signs_timestamp(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Timestamp | Part::Listed(_)))
    }

    pub(crate) fn has_id(&self) -> bool {
        self.0.contains(&Part::Id)
    }

    /// Returns whether the signed text depends on the URL that the provider called.
    pub(crate) fn has_url(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Url | Part::UrlWithPort | Part::Path))
    }
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
}
