//! [`Encoding`]: how bytes are written as text.

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
