//! [`Pattern`] and [`Glob`]: regular expressions, and globs converted to them.

use std::str::FromStr;

use regex::bytes::Regex;

use super::FilterError;

/// A regular expression that is searched for in text or bytes.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// Returns whether the pattern occurs in `text`.
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

/// A name in which `*` matches any text and `?` one character.
#[derive(Clone, Debug)]
pub struct Glob(Regex);

impl Glob {
    /// Returns whether the glob matches the whole text.
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
