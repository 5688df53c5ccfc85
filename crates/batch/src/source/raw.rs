//! Tolerant access to parts of a JSON event: a value of an unexpected type counts as absent.

use std::borrow::Cow;

#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::value::RawValue;
use sluicegate_envelope::json::{self, Member};

/// Base64 with or without padding, and with bits after the last byte, which the key in the event of Lambda's guide has.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A message whose bytes cannot be read from the event.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) reason: &'static str,
    /// The text that the event has in place of the bytes, kept for the dead-letter queue.
    pub(crate) kept: Vec<u8>,
}

/// Returns the bytes of a value in base64; `refusals` are the reasons if it is not text, or not base64.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) fn from_base64(raw: &RawValue, [not_text, not_base64]: [&'static str; 2]) -> Result<Vec<u8>, Unreadable> {
    let text = string(Some(raw)).ok_or_else(|| Unreadable { reason: not_text, kept: raw.get().into() })?;
    let bytes = BASE64.decode(text.as_bytes());
    bytes.map_err(|_| Unreadable { reason: not_base64, kept: text.into_owned().into() })
}

/// Returns the text of a string.
pub(crate) fn string(raw: Option<&RawValue>) -> Option<Cow<'_, str>> {
    json::string(raw?.get()).ok()
}

/// Returns the members of an object in order, repeats included.
pub(crate) fn object<'a>(raw: Option<&'a RawValue>) -> impl Iterator<Item = Member<'a>> {
    raw.and_then(|raw| json::members(raw.get(), usize::MAX).ok()).unwrap_or_default().into_iter()
}

/// Returns the byte that a number stands for: one of Java, which are signed, or an unsigned one.
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) fn byte(number: i64) -> Option<u8> {
    match i8::try_from(number) {
        Ok(signed) => Some(signed.cast_unsigned()),
        Err(_) => u8::try_from(number).ok(),
    }
}
