//! CloudEvents of the sender (HTTP binding 1.0.2): in structured mode a body, in binary mode headers and a body.
//!
//! The event is read as an [`Envelope`], the type that crosses the queue, so the handler sees the same event in every
//! mode, with the data byte for byte.

use percent_encoding::percent_decode_str;
use sluicegate_envelope::{DecodeError, Envelope};

use crate::{
    event::Arrival,
    rejection::{Code, Rejection},
};

/// The extension attribute with the `id` that the sender chose. Two senders may choose the same.
pub(crate) const EVENT_ID: &str = "eventid";

/// The prefix of the headers with attributes.
const PREFIX: &str = "ce-";

/// Reads an event in structured mode.
///
/// # Errors
/// 400 with the name of the attribute at fault.
pub(crate) fn structured(text: &str) -> Result<Box<Envelope>, Rejection> {
    Envelope::decode(text).map(Box::new).map_err(|error| invalid(&error))
}

/// Reads an event in binary mode.
///
/// # Errors
/// 400 with the name of the header at fault.
pub(crate) fn binary(arrival: &Arrival, media_type: Option<&str>, body: &[u8]) -> Result<Box<Envelope>, Rejection> {
    let wrong = |name: &str, reason: &str| {
        Err(Rejection::new(Code::CloudEventInvalid, format!("The header {PREFIX}{name} {reason}.")))
    };
    let mut version = None;
    let mut builder = Envelope::builder("", "", "");
    for header in arrival.headers.keys() {
        let Some(name) = header.as_str().strip_prefix(PREFIX) else { continue };
        let Some(text) = arrival.header(header.as_str()) else {
            return wrong(name, "was sent more than once, or is not UTF-8");
        };
        let Some(value) = decoded(text) else { return wrong(name, "is not percent-encoded UTF-8") };
        match name {
            "specversion" => version = Some(value),
            // HTTP binding 1.0.2, section 3.1.1.
            "datacontenttype" => return wrong(name, "must not be sent: the media type is in content-type"),
            _ => builder = builder.attribute(name, &value).map_err(|error| invalid(&error))?,
        }
    }
    match version.as_deref() {
        None => return wrong("specversion", "is required: this route accepts CloudEvents in binary mode"),
        Some("1.0") => {}
        Some(_) => return wrong("specversion", "is not 1.0"),
    }
    if !body.is_empty() {
        builder = builder.payload(media_type, body);
    }
    builder.build().map(Box::new).map_err(|error| invalid(&error))
}

fn invalid(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::new(Code::CloudEventInvalid, format!("The request is not a CloudEvent: {error}."))
}

/// Returns the value of a header (HTTP binding 1.0.2, section 3.1.3.2): without double quotes, then percent-decoded.
fn decoded(text: &str) -> Option<String> {
    let unquoted = match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(quoted) => {
            let (mut unescaped, mut is_escaped) = (String::with_capacity(quoted.len()), false);
            for c in quoted.chars() {
                is_escaped = c == '\\' && !is_escaped;
                if !is_escaped {
                    unescaped.push(c);
                }
            }
            unescaped
        }
        None => text.to_owned(),
    };
    percent_decode_str(&unquoted).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// Returns the value of an attribute.
pub(crate) fn attribute<'e>(event: &'e Envelope, name: &str) -> Option<std::borrow::Cow<'e, str>> {
    event.attributes().find(|(known, _)| *known == name).map(|(_, value)| value)
}

impl From<DecodeError> for Rejection {
    fn from(error: DecodeError) -> Self {
        invalid(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn a_header_value_is_unquoted_then_percent_decoded() {
        for (text, value) in [
            ("plain", Some("plain")),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro € 😀")),
            ("%e2%82%ac", Some("€")),
            ("\"a \\\"b\\\\ %41\"", Some("a \"b\\ A")),
            ("\"%22\"", Some("\"")),
            ("100%", Some("100%")),
            ("%2541", Some("%41")),
            ("%C0%AF", None),
            ("", Some("")),
        ] {
            assert_eq!(decoded(text).as_deref(), value, "{text}");
        }
    }
}
