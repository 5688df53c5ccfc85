//! [`Encoding`]: how bytes are written as text, and the decoding of hex.

use serde::{Deserialize, Serialize};

/// An encoding of bytes as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// Hexadecimal digits; written in lower case, read in either.
    #[default]
    Hex,
    /// Base64, RFC 4648, section 4; written with padding, read with or without.
    Base64,
    /// Base64 with the alphabet for URLs, RFC 4648, section 5; written without padding, read with or without.
    Base64url,
}

/// Returns the bytes of a text of hexadecimal digits in either case, `None` for any other text.
pub fn decode_hex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_chunks() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

fn digit(hex: u8) -> Option<u8> {
    char::from(hex).to_digit(16).and_then(|value| u8::try_from(value).ok())
}
