//! `FilterCriteria` of an event source mapping: which records reach the function.
//!
//! A pattern is checked in full before anything runs. Patterns are OR-ed; the fields within one are AND-ed; the values of a
//! field are OR-ed. `body` (`data` of RabbitMQ) is looked into only if it and its pattern have the same format; otherwise the record does not match.
//! <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs-filtering.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-mq-filtering.html>

mod pattern;

use serde_json::Value;

use pattern::{Fields, Subject};

/// The filters of one mapping: 5, raisable to 10.
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html#filtering-basics>
pub(crate) const FILTERS_MAX: usize = 10;

/// The characters of one pattern, white space between its parts not counted.
/// <https://docs.aws.amazon.com/lambda/latest/api/API_Filter.html>
pub(crate) const PATTERN_CHARS_MAX: usize = 4_096;

/// A pattern is not one that Lambda takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("filter {}{}: {reason}", index + 1, path)]
pub struct FilterError {
    /// Which filter, from 0.
    pub index: usize,
    /// Where in its pattern, as a JSON pointer.
    pub path: String,
    /// What is wrong there.
    pub reason: String,
}

/// Checked filters.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filters {
    patterns: Vec<Fields>,
}

impl Filters {
    /// Checks the patterns: one parsed `Pattern` each. None at all lets every record pass.
    ///
    /// # Errors
    /// The first pattern that breaks a rule, and which.
    pub(crate) fn parse(patterns: &[Value]) -> Result<Filters, FilterError> {
        let parse = |(index, pattern): (usize, &Value)| {
            let fail = |(path, reason)| FilterError { index, path, reason };
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

    /// True if every record passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Does a record, as it is in the event, reach the function?
    pub(crate) fn pass(&self, record: &Value) -> bool {
        let body = record["body"].as_str().map(str::as_bytes).unwrap_or_default();
        self.pass_with(record, "body", body)
    }

    /// The same for a record whose `data` stands for these bytes. As text they are what UTF-8 makes of them.
    pub(crate) fn pass_decoded(&self, record: &Value, data: &[u8]) -> bool {
        let mut record = record.clone();
        record["data"] = String::from_utf8_lossy(data).into();
        self.pass_with(&record, "data", data)
    }

    fn pass_with(&self, record: &Value, content: &'static str, bytes: &[u8]) -> bool {
        let subject = Subject::of(record, content, bytes);
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| subject.matches(pattern))
    }
}

#[cfg(test)]
mod tests;
