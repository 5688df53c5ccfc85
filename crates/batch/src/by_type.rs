//! [`ByType`]: values by event type, or by the prefix of one. An exact type takes precedence over a prefix, and a
//! longer prefix over a shorter one.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Values by pattern.
pub(crate) struct ByType<T> {
    exact: HashMap<String, T>,
    /// Sorted by length, the longest first.
    prefixes: Vec<(String, T)>,
}

impl<T> Default for ByType<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: Vec::new() }
    }
}

/// A pattern that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PatternFault {
    /// It matches no event type.
    NoMatch,
    /// It has a value already.
    Second,
}

impl PatternFault {
    /// Returns the mistake of a pattern. `values` is what it is a pattern of, in the plural.
    pub(crate) fn of(&self, pattern: &str, values: &str) -> String {
        match self {
            Self::NoMatch => format!("{pattern:?} matches no event type: a `*` is allowed only at the end"),
            Self::Second => format!("{pattern:?} has two {values}"),
        }
    }
}

impl<T> ByType<T> {
    /// Sets the value of an event type, or of every type with a prefix if `pattern` ends in `*`.
    pub(crate) fn insert(&mut self, pattern: &str, value: T) -> Result<(), PatternFault> {
        let (prefix, is_prefix) = pattern.strip_suffix('*').map_or((pattern, false), |prefix| (prefix, true));
        if pattern.is_empty() || prefix.contains('*') {
            return Err(PatternFault::NoMatch);
        }
        let is_second = match is_prefix {
            false => self.exact.insert(pattern.to_owned(), value).is_some(),
            true => {
                let is_second = self.prefixes.iter().any(|(other, _)| other == prefix);
                self.prefixes.push((prefix.to_owned(), value));
                self.prefixes.sort_by_key(|(prefix, _)| Reverse(prefix.len()));
                is_second
            }
        };
        if is_second { Err(PatternFault::Second) } else { Ok(()) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.prefixes.is_empty()
    }

    /// Returns whether exactly this type has a value.
    #[cfg(any(feature = "kafka", feature = "sqs"))]
    pub(crate) fn has_exact(&self, event_type: &str) -> bool {
        self.exact.contains_key(event_type)
    }

    pub(crate) fn find(&self, event_type: &str) -> Option<&T> {
        let by_prefix = || self.prefixes.iter().find(|(prefix, _)| event_type.starts_with(prefix));
        self.exact.get(event_type).or_else(|| by_prefix().map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_counts() {
        let mut values = ByType::default();
        for pattern in ["order.placed", "order.*", "*", "order.placed.*"] {
            assert_eq!(values.insert(pattern, pattern), Ok(()));
        }
        for (event_type, expected) in [
            ("order.placed", "order.placed"),
            ("order.placed.again", "order.placed.*"),
            ("order.paid", "order.*"),
            ("order", "*"),
        ] {
            assert_eq!(values.find(event_type), Some(&expected), "{event_type}");
        }
        for pattern in ["order.placed", "order.*", "*"] {
            assert_eq!(values.insert(pattern, ""), Err(PatternFault::Second), "{pattern}");
        }
        for pattern in ["order.*.placed", "**", ""] {
            assert_eq!(values.insert(pattern, ""), Err(PatternFault::NoMatch), "{pattern:?}");
        }
    }
}
