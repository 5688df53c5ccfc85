//! Encoding and decoding of hex, and of base64 in both alphabets, with or without padding.

use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::encoding::{Encoding, decode_hex};

const ANY_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Padding is optional, because a copied secret often lacks its `=`.
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, ANY_PADDING);

const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, ANY_PADDING.with_encode_padding(false));

impl Encoding {
    /// Returns the text of these bytes.
    #[must_use]
    pub fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base64url => BASE64_URL.encode(bytes),
        }
    }

    /// Returns the bytes of this text; `None` if it is not in this encoding.
    #[must_use]
    pub fn decode(self, text: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Hex => decode_hex(text),
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Base64url => BASE64_URL.decode(text).ok(),
        }
    }
}
