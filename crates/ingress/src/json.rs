//! JSON documents, and why a body is none: the position of the fault, or the pointer to a duplicate member.

use serde::de::IgnoredAny;
use serde_json::Value;

use sluicegate_webhook::BodyError;

use crate::pointer::Pointer;

/// The reason why a text is not a JSON document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    /// Not JSON, or nested deeper than `serde_json`'s 128 levels.
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// An object has two members of one name, compared unescaped.
    Duplicate(Pointer),
}

/// Parses a document. See [`sluicegate_webhook::parse_unique`].
///
/// # Errors
/// The first fault, in the order of the text.
pub(crate) fn parse(text: &str) -> Result<Value, JsonError> {
    Ok(sluicegate_webhook::parse_unique(text)?)
}

/// Checks only the syntax, without memory for the document. Strings with half a surrogate pair and duplicate members
/// pass, because a recipient of the bytes may accept them.
///
/// # Errors
/// [`JsonError::Syntax`].
pub(crate) fn check_syntax(text: &str) -> Result<(), JsonError> {
    serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(JsonError::from)
}

/// Parses a document that its sender has signed: no more than the values at the pointers. See
/// [`sluicegate_webhook::values_at`].
///
/// # Errors
/// [`JsonError`], a duplicate only if a pointer leads through it.
pub(crate) fn values_at<'p>(text: &str, pointers: impl IntoIterator<Item = &'p str>) -> Result<Value, JsonError> {
    Ok(sluicegate_webhook::values_at(text.as_bytes(), pointers)?)
}

impl From<BodyError> for JsonError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Syntax { line, column } => Self::Syntax { line, column },
            BodyError::Duplicate(path) => Self::Duplicate(Pointer::of(path.iter().map(String::as_str))),
        }
    }
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax { line: error.line(), column: error.column() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{JsonError, check_syntax, parse};

    #[test]
    fn a_document_is_read_as_serde_json_reads_it() {
        for text in [
            "null",
            " [1, -1, 1.0, 1e2, 18446744073709551615, true, \"\\u00e9\", {}, []] ",
            r#"{"a": {"b": [{"c": "d"}]}, "$serde_json::private::Number": "1", "": null}"#,
        ] {
            assert_eq!(parse(text).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        assert_eq!(parse(r#"{"$serde_json::private::RawValue": "["}"#).unwrap()["$serde_json::private::RawValue"], "[");
    }

    #[test]
    fn invalid_json_is_refused_with_its_position() {
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        for (text, line, column) in
            [("", 1, 0), ("{\n]", 2, 1), ("[1] 2", 1, 5), (r#""\ud800""#, 1, 8), (&deep, 1, 128)]
        {
            assert_eq!(parse(text), Err(JsonError::Syntax { line, column }), "{text}");
        }
    }

    #[test]
    fn a_duplicate_member_is_refused_with_its_pointer() {
        let long = "n".repeat(5_000);
        for (text, pointer) in [
            (r#"{"a": 0, "a": 1}"#.to_owned(), "/a"),
            (r#"{"a": 0, "\u0061": 1}"#.to_owned(), "/a"),
            (r#"{"": 0, "": 1}"#.to_owned(), "/"),
            (r#"[{"a/b": [0, {"~": {"c": 0, "d": 1, "c": {}}}]}]"#.to_owned(), "/0/a~1b/1/~0/c"),
            (r#"{"é": {"\u00e9": 0, "é": 1}}"#.to_owned(), "/é/é"),
            (format!(r#"{{"a": {{"{long}": 0, "{long}": 1}}}}"#), "/a"),
        ] {
            let Err(JsonError::Duplicate(found)) = parse(&text) else { panic!("{text}") };
            assert_eq!((found.text.as_str(), found.is_cut), (pointer, text.len() > 5_000), "{text}");
        }
        assert_eq!(parse(r#"[{"a": 0}, {"a": 0}, {"a": {"a": 0}}]"#).unwrap()[2], json!({"a": {"a": 0}}));
    }

    #[test]
    fn a_syntax_check_accepts_duplicates_half_surrogates_and_deep_nesting() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in [r#"{"a": "\ud800", "a": 1}"#, r#"["\udc00\ud800"]"#, &deep] {
            assert_eq!(check_syntax(text), Ok(()), "{text}");
        }
        for text in ["", "{", "[1,]", r#""\ud8"#, r#""\u{d800}""#, "[1] 2", "Hello"] {
            assert!(check_syntax(text).is_err(), "{text}");
        }
    }
}
