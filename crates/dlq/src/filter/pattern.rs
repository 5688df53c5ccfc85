//! Regular expressions, and globs made of them.

use std::str::FromStr;

use regex::bytes::Regex;

use super::FilterError;

/// A regular expression, searched for in text or bytes.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Whether it occurs.
    #[must_use]
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.is_match(bytes)
    }
}

impl FromStr for Pattern {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Regex::new(text).map(Self).map_err(|error| FilterError(error.to_string()))
    }
}

/// A name in which `*` stands for any text and `?` for one character.
#[derive(Clone, Debug)]
pub struct Glob(Regex);

impl Glob {
    /// Whether it is the whole text.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }
}

impl FromStr for Glob {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let pattern = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        Regex::new(&format!("^(?s:{pattern})$")).map(Self).map_err(|error| FilterError(error.to_string()))
    }
}
