//! Strict decoding of a CloudEvents 1.0 JSON event. Errors name the attribute at fault.
//!
//! `null` means absent, as CloudEvents defines for attributes; for `data` too, because most libraries write a missing
//! payload as `null`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::attribute::{ATTRIBUTE_NAME_BYTES_MAX, Attribute, EXTENSIONS_MAX, Extension, Values, is_name, is_text};
use crate::envelope::Envelope;
use crate::json::{members, string};
use crate::payload::{Payload, is_json};

/// `specversion`, `data` and `data_base64`, besides the known attributes and the extensions.
const MEMBERS_MAX: usize = Attribute::ALL.len() + EXTENSIONS_MAX + 3;

impl Envelope {
    /// Decodes an event. Everything that an earlier release of this crate wrote can be decoded.
    ///
    /// # Errors
    /// The first reason for which `text` is not a CloudEvents 1.0 JSON event.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let members = members(text, MEMBERS_MAX + 1).map_err(|error| match error.classify() {
            serde_json::error::Category::Data => DecodeError::NotObject,
            _ => DecodeError::NotJson { line: error.line(), column: error.column() },
        })?;
        if members.len() > MEMBERS_MAX {
            return Err(DecodeError::TooMany);
        }
        let mut version = None;
        let mut values = Values::default();
        let mut extensions = Vec::new();
        let (mut data, mut data_base64) = (None, None);
        for (index, (name, raw)) in members.iter().enumerate() {
            if members.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(DecodeError::Duplicate { attribute: shown(name) });
            }
            match (raw.get(), name.as_ref()) {
                ("null", "data" | "data_base64") => {}
                (_, "data") => data = Some(*raw),
                (_, "data_base64") => data_base64 = Some(*raw),
                (_, "specversion") => version = scalar(name, raw)?,
                (_, name) if !is_name(name) => return Err(DecodeError::Name { name: shown(name) }),
                (_, name) => match (Attribute::named(name), scalar(name, raw)?) {
                    (_, None) => {}
                    (None, Some(value)) => extensions.push((name.to_owned(), value)),
                    (Some(_), Some(Extension::Text(text))) if text.is_empty() => {
                        return Err(DecodeError::Empty { attribute: shown(name) });
                    }
                    (Some(known), Some(Extension::Text(text))) => values[known as usize] = text,
                    (Some(_), Some(_)) => return Err(DecodeError::Type { attribute: shown(name) }),
                },
            }
        }
        match version {
            None => return Err(DecodeError::Missing { attribute: "specversion" }),
            Some(Extension::Text(text)) if text == "1.0" => {}
            Some(_) => return Err(DecodeError::SpecVersion),
        }
        if let Some(missing) = Attribute::REQUIRED.into_iter().find(|known| values[*known as usize].is_empty()) {
            return Err(DecodeError::Missing { attribute: missing.name() });
        }
        if extensions.len() > EXTENSIONS_MAX {
            return Err(DecodeError::TooMany);
        }
        let time = match values[Attribute::Time as usize].as_str() {
            "" => None,
            text => Some(OffsetDateTime::parse(text, &Rfc3339).map_err(|_| DecodeError::Time)?),
        };
        let payload = match (data, data_base64) {
            (None, None) => None,
            (Some(raw), None) => Some(from_data(&values[Attribute::ContentType as usize], raw)?),
            (None, Some(raw)) => Some(from_base64(raw)?),
            (Some(_), Some(_)) => return Err(DecodeError::TwoPayloads),
        };
        Ok(Self { values, time, extensions, payload })
    }
}

/// Returns the payload of `data` by the CloudEvents JSON format, section 3.1: no media type means JSON.
fn from_data(content_type: &str, raw: &RawValue) -> Result<Payload, DecodeError> {
    if content_type.is_empty() || is_json(content_type) {
        return Ok(Payload::from_json(raw.get().to_owned()));
    }
    if !raw.get().starts_with('"') {
        return Ok(Payload::Bytes(raw.get().as_bytes().to_vec()));
    }
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Ok(Payload::Bytes(text.into_bytes())),
        Err(_) => Err(DecodeError::Character { attribute: "data".to_owned() }),
    }
}

fn from_base64(raw: &RawValue) -> Result<Payload, DecodeError> {
    let text = string(raw.get()).map_err(|_| DecodeError::Base64)?;
    STANDARD.decode(text.as_bytes()).map(Payload::Bytes).map_err(|_| DecodeError::Base64)
}

/// Returns the value of an attribute; `None` for null.
fn scalar(name: &str, raw: &RawValue) -> Result<Option<Extension>, DecodeError> {
    let value = match raw.get() {
        "null" => return Ok(None),
        "true" => Extension::Boolean(true),
        "false" => Extension::Boolean(false),
        text if text.starts_with('"') => match serde_json::from_str::<String>(text) {
            Ok(text) if is_text(&text) => Extension::Text(text),
            _ => return Err(DecodeError::Character { attribute: shown(name) }),
        },
        text => match text.parse() {
            Ok(number) => Extension::Integer(number),
            Err(_) => return Err(DecodeError::Type { attribute: shown(name) }),
        },
    };
    Ok(Some(value))
}

/// Returns a name shortened for an error message.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(ATTRIBUTE_NAME_BYTES_MAX).collect()
}

/// A message that is not an event. A retry does not change that, so the message belongs in the dead-letter queue. The
/// errors contain names of attributes, and no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON at all.
    #[error("not JSON (line {line}, column {column})")]
    NotJson {
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotObject,
    /// More attributes than the known ones and [`EXTENSIONS_MAX`] others.
    #[error("more than {EXTENSIONS_MAX} extension attributes")]
    TooMany,
    /// `specversion` is not "1.0".
    #[error("attribute specversion is not \"1.0\"")]
    SpecVersion,
    /// A required attribute is missing.
    #[error("attribute {attribute} is missing")]
    Missing {
        /// Its name.
        attribute: &'static str,
    },
    /// An attribute that must not be empty is empty.
    #[error("attribute {attribute} is empty")]
    Empty {
        /// Its name.
        attribute: String,
    },
    /// A value of a JSON type that this attribute cannot have, or a number outside the range of a CloudEvents Integer.
    #[error("attribute {attribute:?} has a value of the wrong type")]
    Type {
        /// Its name.
        attribute: String,
    },
    /// A control character, a Unicode noncharacter or half a surrogate pair.
    #[error("{attribute:?} contains a character that CloudEvents does not allow")]
    Character {
        /// Its name.
        attribute: String,
    },
    /// A name that is not 1 to [`ATTRIBUTE_NAME_BYTES_MAX`] lower-case letters and digits.
    #[error("{name:?} is not a valid attribute name")]
    Name {
        /// The name, cut if long.
        name: String,
    },
    /// A name that occurs twice.
    #[error("{attribute:?} occurs twice")]
    Duplicate {
        /// The name.
        attribute: String,
    },
    /// `time` is not an RFC 3339 time.
    #[error("attribute time is not an RFC 3339 time")]
    Time,
    /// Both `data` and `data_base64`.
    #[error("both data and data_base64")]
    TwoPayloads,
    /// `data_base64` is not a string of padded base64 in the standard alphabet.
    #[error("data_base64 is not base64")]
    Base64,
}
