//! JSON parsing in one pass, with duplicate members refused.
//!
//! RFC 8259, section 4, leaves open which of two members of one name counts. A validator that uses the last and a
//! reader that uses the first would see different documents, so duplicates are refused.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, map::Entry};

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

/// Parses a document. Uses no memory beyond the [`Value`].
///
/// # Errors
/// The first fault, in the order of the text.
pub(crate) fn parse(text: &str) -> Result<Value, JsonError> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict { duplicate: &duplicate }.deserialize(&mut deserializer);
    parsed.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| match duplicate.take() {
        Some(path) => JsonError::Duplicate(Pointer::of(path.iter().rev().map(String::as_str))),
        None => error.into(),
    })
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
    sluicegate_webhook::values_at(text.as_bytes(), pointers).map_err(|error| match error {
        BodyError::Syntax { line, column } => JsonError::Syntax { line, column },
        BodyError::Duplicate(path) => JsonError::Duplicate(Pointer::of(path.iter().map(String::as_str))),
    })
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax { line: error.line(), column: error.column() }
    }
}

/// Builds a [`Value`] as `serde_json` does, but fails on duplicate members. Their path is collected from the inside
/// out.
#[derive(Clone, Copy)]
struct Strict<'p> {
    duplicate: &'p RefCell<Option<Vec<String>>>,
}

impl Strict<'_> {
    /// Adds a level to the path of the duplicate, if `error` is about one.
    fn above<E>(self, name: impl ToString, error: E) -> E {
        if let Some(path) = self.duplicate.borrow_mut().as_mut() {
            path.push(name.to_string());
        }
        error
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self).map_err(|error| self.above(items.len(), error))? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = object.next_key::<String>()? {
            match members.entry(name) {
                Entry::Vacant(free) => {
                    let value = object.next_value_seed(self).map_err(|error| self.above(free.key(), error))?;
                    free.insert(value);
                }
                Entry::Occupied(taken) => {
                    *self.duplicate.borrow_mut() = Some(vec![taken.key().clone()]);
                    return Err(A::Error::custom("duplicate member"));
                }
            }
        }
        Ok(Value::Object(members))
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
