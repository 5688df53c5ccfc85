//! Encoding of an envelope as a CloudEvents JSON event, in one pass into one buffer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::attribute::{Attribute, Extension};
use crate::envelope::Envelope;
use crate::payload::Payload;

/// Bytes that a name, its quotes and its commas add to a value: an estimate for the size of the buffer.
const MEMBER_BYTES: usize = 24;

impl Envelope {
    /// Returns the event in the CloudEvents 1.0 JSON format, in characters that SQS accepts. [`Envelope::decode`]
    /// returns an equal envelope.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(self.encoded_bytes_guess());
        out.push_str(r#"{"specversion":"1.0""#);
        for attribute in Attribute::ALL {
            if let Some(text) = self.optional(attribute) {
                push_text(&mut out, attribute.name(), text);
            }
        }
        for (name, value) in &self.extensions {
            match value {
                Extension::Text(text) => push_text(&mut out, name, text),
                Extension::Integer(number) => push_bare(&mut out, name, &number.to_string()),
                Extension::Boolean(true) => push_bare(&mut out, name, "true"),
                Extension::Boolean(false) => push_bare(&mut out, name, "false"),
            }
        }
        match &self.payload {
            None => {}
            Some(Payload::Json(text)) => push_bare(&mut out, "data", text),
            Some(Payload::Bytes(bytes)) => {
                out.push_str(r#","data_base64":""#);
                STANDARD.encode_string(bytes, &mut out);
                out.push('"');
            }
        }
        out.push('}');
        out
    }

    fn encoded_bytes_guess(&self) -> usize {
        let attributes: usize = self.values.iter().map(|text| text.len() + MEMBER_BYTES).sum();
        let payload = match &self.payload {
            None => 0,
            Some(Payload::Json(text)) => text.len(),
            Some(Payload::Bytes(bytes)) => bytes.len().div_ceil(3) * 4,
        };
        attributes + self.extensions.len() * 2 * MEMBER_BYTES + payload + 2 * MEMBER_BYTES
    }
}

fn push_bare(out: &mut String, name: &str, json: &str) {
    out.push_str(",\"");
    out.push_str(name);
    out.push_str("\":");
    out.push_str(json);
}

/// Writes a JSON string. Attribute values have no control characters, so only the quote and the backslash are escaped.
fn push_text(out: &mut String, name: &str, text: &str) {
    push_bare(out, name, "\"");
    let mut rest = text;
    while let Some(at) = rest.find(['"', '\\']) {
        let (before, from) = rest.split_at(at);
        let (special, after) = from.split_at(1);
        out.push_str(before);
        out.push('\\');
        out.push_str(special);
        rest = after;
    }
    out.push_str(rest);
    out.push('"');
}
