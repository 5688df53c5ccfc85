//! `FilterCriteria` of an event source mapping: which records reach the function.
//!
//! All patterns are checked before the mapping starts. Patterns are OR-ed, the fields within a pattern AND-ed, and the
//! values of a field OR-ed. `body` (`data` for RabbitMQ, `value` for Kafka) matches only if it and its pattern have the
//! same format, JSON or text.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-mq-filtering.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-filtering.html>

mod pattern;

use serde_json::Value;

use pattern::{Fields, Subject};

/// Largest number of filters of a mapping: a quota of 5 that AWS raises to 10 on request.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-basics>
pub(crate) const FILTERS_MAX: usize = 10;

/// Longest pattern, in characters, without white space between its parts.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Filter.html>
pub(crate) const PATTERN_CHARS_MAX: usize = 4_096;

/// A pattern that Lambda rejects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter {}{}: {reason}", index + 1, path)]
pub struct FilterCriteriaError {
    /// The filter's index, from 0.
    pub index: usize,
    /// The place in its pattern, as a JSON pointer.
    pub path: String,
    /// The rule it breaks.
    pub reason: String,
}

/// Checked filters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    patterns: Vec<Fields>,
}

impl Filters {
    /// Checks the patterns, one parsed `Pattern` each. Without patterns, every record passes.
    ///
    /// # Errors
    /// The first pattern that breaks a rule.
    pub(crate) fn parse(patterns: &[Value]) -> Result<Filters, FilterCriteriaError> {
        let parse = |(index, pattern): (usize, &Value)| {
            let fail = |(path, reason)| FilterCriteriaError { index, path, reason };
            if index >= FILTERS_MAX {
                return Err(fail((String::new(), format!("a mapping has at most {FILTERS_MAX} filters"))));
            }
            if pattern.to_string().chars().count() > PATTERN_CHARS_MAX {
                return Err(fail((String::new(), format!("a pattern has at most {PATTERN_CHARS_MAX} characters"))));
            }
            Fields::parse(pattern, "").map_err(fail)
        };
        Ok(Filters { patterns: patterns.iter().enumerate().map(parse).collect::<Result<_, _>>()? })
    }

    /// Returns whether every record passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Returns whether a record, as written in the event, reaches the function.
    pub(crate) fn pass(&self, record: &Value) -> bool {
        let body = record["body"].as_str().map(str::as_bytes).unwrap_or_default();
        self.pass_with(record, "body", body)
    }

    /// Returns the result of [`pass`](Self::pass) for a record whose field `content` encodes these bytes, which
    /// patterns see as text decoded from UTF-8.
    #[cfg(any(feature = "kafka", feature = "rabbitmq", test))]
    pub(crate) fn pass_decoded(&self, record: &Value, content: &'static str, bytes: &[u8]) -> bool {
        let mut record = record.clone();
        record[content] = String::from_utf8_lossy(bytes).into();
        self.pass_with(&record, content, bytes)
    }

    fn pass_with(&self, record: &Value, content: &'static str, bytes: &[u8]) -> bool {
        let subject = Subject::of(record, content, bytes);
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| subject.matches(pattern))
    }
}

#[cfg(test)]
mod tests;
