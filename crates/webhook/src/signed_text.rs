//! [`SignedText`]: the text that a provider signs, as a template with the parts of the request.

use std::fmt;

use serde::{Deserialize, Serialize};

#[cfg(feature = "verify")]
mod pieces;

#[cfg(feature = "verify")]
pub(crate) use pieces::Signed;

/// The media type of a form (WHATWG URL Standard, section 5).
pub const FORM_MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// The text that is signed: literals, and parts of the request in braces.
///
/// | part | its value |
/// |---|---|
/// | `{body}` | every byte of the body |
/// | `{body.escaped}` | the body with each character outside ASCII as `\uxxxx` in lower case, and `/` as `\/` |
/// | `{body.crc32}` | the CRC-32 of the body, in decimal digits |
/// | `{body#/pointer}` | the text at this JSON pointer (RFC 6901); empty if absent |
/// | `{lines.NAME,NAME?}` | members of the body, each as its name and its value in a line; see below |
/// | `{secret}` | the secret, in a scheme with published keys |
/// | `{form}` | each name and value of a form, sorted by name; see below |
/// | `{timestamp}` | the timestamp as received |
/// | `{id}` | the id as received |
/// | `{header.NAME}` | the value of a header; empty if absent |
/// | `{listed.NAME}` | the headers that this header lists, as `name:value` sorted and joined with `;` |
/// | `{method}` | the method in upper case |
/// | `{url}` | the URL that the provider called |
/// | `{url.port}` | the same without its port or, if it has none, with the default port of its scheme |
/// | `{path}` | its path and query |
/// | `{path.encoded}` | the query percent-encoded as one component, then the path and the query as a URI |
///
/// `{form}` is empty for a body of another media type than [`FORM_MEDIA_TYPE`]. The parameter
/// `bodySHA256` of the query must then be the SHA-256 of the body in hexadecimal digits.
///
/// `{lines.…}` ends each name and each value with a line feed. A member with `?` is left out if it is absent. Another
/// absent member, one that is not a string, or a line feed in any but the first makes the request invalid: the lines
/// could be split in another way.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignedText(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Body,
    BodyEscaped,
    BodyCrc32,
    Pointer(String),
    Lines(Vec<Member>),
    Secret,
    Form,
    Timestamp,
    Id,
    Header(String),
    Listed(String),
    Method,
    Url,
    UrlWithPort,
    Path,
    PathEncoded,
}

/// A member of the body in a list of lines.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    optional: bool,
}

/// A text that is not a template of signed parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedTextError {
    /// A brace without its counterpart.
    #[error("a brace is not closed or not opened")]
    Brace,
    /// A part that does not exist.
    #[error(
        "{{{0}}} is not a part of a request; there are body, body#/pointer, body.escaped, body.crc32, lines.NAME, secret, form, timestamp, id, header.NAME, listed.NAME, method, url, url.port, path and path.encoded"
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
            Part::BodyCrc32 => f.write_str("{body.crc32}"),
            Part::Pointer(pointer) => write!(f, "{{body#{pointer}}}"),
            Part::Lines(members) => {
                let member = |member: &Member| format!("{}{}", member.name, if member.optional { "?" } else { "" });
                write!(f, "{{lines.{}}}", members.iter().map(member).collect::<Vec<_>>().join(","))
            }
            Part::Secret => f.write_str("{secret}"),
            Part::Form => f.write_str("{form}"),
            Part::Timestamp => f.write_str("{timestamp}"),
            Part::Id => f.write_str("{id}"),
            Part::Header(name) => write!(f, "{{header.{name}}}"),
            Part::Listed(name) => write!(f, "{{listed.{name}}}"),
            Part::Method => f.write_str("{method}"),
            Part::Url => f.write_str("{url}"),
            Part::UrlWithPort => f.write_str("{url.port}"),
            Part::Path => f.write_str("{path}"),
            Part::PathEncoded => f.write_str("{path.encoded}"),
        })
    }
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "body" => Self::Body,
            "body.escaped" => Self::BodyEscaped,
            "body.crc32" => Self::BodyCrc32,
            "secret" => Self::Secret,
            "form" => Self::Form,
            "timestamp" => Self::Timestamp,
            "id" => Self::Id,
            "method" => Self::Method,
            "url" => Self::Url,
            "url.port" => Self::UrlWithPort,
            "path" => Self::Path,
            "path.encoded" => Self::PathEncoded,
            _ => {
                if let Some(pointer) = name.strip_prefix("body#").filter(|pointer| pointer.starts_with('/')) {
                    Self::Pointer(pointer.to_owned())
                } else if let Some(names) = name.strip_prefix("lines.").filter(|names| !names.is_empty()) {
                    let member = |name: &str| match name.strip_suffix('?') {
                        Some(name) => Member { name: name.to_owned(), optional: true },
                        None => Member { name: name.to_owned(), optional: false },
                    };
                    Self::Lines(names.split(',').map(member).collect())
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

    pub(crate) fn has_secret(&self) -> bool {
        self.0.contains(&Part::Secret)
    }

    /// Returns whether the signed text depends on the URL that the provider called.
    pub(crate) fn has_url(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Url | Part::UrlWithPort | Part::Path | Part::PathEncoded))
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
            "{method}{url}{url.port}{path}{path.encoded}{form}",
            "{secret}|{body.crc32}{lines.a,b?,c}",
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
