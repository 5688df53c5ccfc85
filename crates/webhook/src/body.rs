//! Values of a JSON body at JSON pointers, without a demand on the rest of the body.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The reason why a body has no values.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The body is not JSON.
    #[error("the body is not JSON at line {line}, column {column}")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// An object has two members of one name, compared unescaped, so its value is ambiguous.
    #[error("the object has this member twice: {0:?}")]
    Duplicate(
        /// The names and positions that lead to the member, from the outside in.
        Vec<String>,
    ),
}

/// Returns the body with no more than the numbers, texts and booleans at these JSON pointers (RFC 6901), in their
/// places.
///
/// The provider has signed the bytes, and they are passed on as they are. So the rest of the body may have what a
/// strict reader refuses: half a surrogate pair (`"\ud83d"`), a number beyond floats, deep nesting, or a member that is
/// there twice. A value that cannot be read is `null`.
///
/// # Errors
/// [`BodyError`].
pub fn values_at<'p>(body: &[u8], pointers: impl IntoIterator<Item = &'p str>) -> Result<Value, BodyError> {
    let raw: &RawValue = serde_json::from_slice(body)
        .map_err(|error| BodyError::Syntax { line: error.line(), column: error.column() })?;
    let paths: Vec<Vec<String>> = pointers.into_iter().map(names).collect();
    let paths: Vec<&[String]> = paths.iter().map(Vec::as_slice).collect();
    read(raw, &paths).map_err(|mut path| {
        path.reverse();
        BodyError::Duplicate(path)
    })
}

/// Returns the document that the bytes are; `None` if they are not JSON.
pub(crate) fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_str(str::from_utf8(bytes).ok()?).ok()
}

/// Returns the names of a pointer, from the outside in.
fn names(pointer: &str) -> Vec<String> {
    pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~")).collect()
}

/// Returns the value with what is at the paths; or the path of a duplicate member, from the inside out.
fn read(raw: &RawValue, paths: &[&[String]]) -> Result<Value, Vec<String>> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'{' | b'[') => {
            let below: Vec<_> = paths.iter().filter_map(|path| path.split_first()).collect();
            if below.is_empty() {
                return Ok(Value::Null);
            }
            let mut deserializer = serde_json::Deserializer::from_str(text);
            // The text was read before, so the only fault is a duplicate.
            deserializer.deserialize_any(Below(&below)).unwrap_or(Ok(Value::Null))
        }
        _ if paths.iter().any(|path| path.is_empty()) => Ok(serde_json::from_str(text).unwrap_or_default()),
        _ => Ok(Value::Null),
    }
}

/// Reads what is below a value: each first name, with the rest of its path.
struct Below<'p>(&'p [(&'p String, &'p [String])]);

impl Below<'_> {
    fn paths(&self, name: &str) -> Vec<&[String]> {
        self.0.iter().filter(|(first, _)| *first == name).map(|(_, rest)| *rest).collect()
    }
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = Result<Value, Vec<String>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut members = Map::new();
        while let Some(Name(name)) = object.next_key()? {
            let name = String::from_utf8_lossy(&name);
            let paths = self.paths(&name);
            if paths.is_empty() {
                object.next_value::<IgnoredAny>()?;
                continue;
            }
            match read(object.next_value()?, &paths) {
                Ok(_) if members.contains_key(&*name) => return Ok(Err(vec![name.into_owned()])),
                Ok(value) => members.insert(name.into_owned(), value),
                Err(mut path) => {
                    path.push(name.into_owned());
                    return Ok(Err(path));
                }
            };
        }
        Ok(Ok(Value::Object(members)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        let last = self.0.iter().filter_map(|(first, _)| first.parse().ok()).max();
        while last.is_some_and(|last: usize| items.len() <= last) {
            let Some(item) = list.next_element::<&RawValue>()? else { return Ok(Ok(Value::Array(items))) };
            let position = items.len().to_string();
            match read(item, &self.paths(&position)) {
                Ok(value) => items.push(value),
                Err(mut path) => {
                    path.push(position);
                    return Ok(Err(path));
                }
            }
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Ok(Value::Array(items)))
    }
}

/// The name of a member, in bytes: half a surrogate pair in it is not UTF-8.
struct Name<'n>(Cow<'n, [u8]>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_bytes<E>(self, name: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_bytes(NameVisitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{BodyError, values_at};

    #[test]
    fn values_are_read_past_what_a_strict_reader_refuses() {
        let deep = format!(r#"{{"deep": {}{}, "id": "a"}}"#, "[".repeat(10_000), "]".repeat(10_000));
        for (body, pointers, expected) in [
            (r#"{"id": "a", "n": {"t": 1}, "x": [1]}"#, &["/id", "/n/t"][..], json!({"id": "a", "n": {"t": 1}})),
            (r#" ["a", {"b": true}, "c"] "#, &["/1/b"], json!([null, {"b": true}])),
            (r#"{"a/b": {"~": "x"}}"#, &["/a~1b/~0"], json!({"a/b": {"~": "x"}})),
            (r#""text""#, &["", "/a"], json!("text")),
            (r#"{"a": 1}"#, &[""], json!(null)),
            (r#"{"text": "\ud83d", "\ud83d": 1, "id": "a"}"#, &["/id"], json!({"id": "a"})),
            (r#"{"id": "\ud83d"}"#, &["/id"], json!({"id": null})),
            (r#"{"n": 1e400, "id": "a"}"#, &["/id", "/n"], json!({"id": "a", "n": null})),
            (r#"{"x": 1, "x": 2, "id": "a", "o": {"y": 1, "y": 2}}"#, &["/id"], json!({"id": "a"})),
            (r#"{"id": "a"}"#, &["/other", "/id/below"], json!({"id": null})),
            (r#"["a"]"#, &["/00", "/-", "/1"], json!([null])),
            (&deep, &["/id"], json!({"id": "a"})),
        ] {
            let found = values_at(body.as_bytes(), pointers.iter().copied()).expect(body);
            assert_eq!(found, expected, "{body} {pointers:?}");
        }
    }

    #[test]
    fn an_ambiguous_value_and_a_body_that_is_not_json_are_refused() {
        for (body, pointer, path) in [
            (r#"{"id": 1, "id": 2}"#, "/id", &["id"][..]),
            (r#"{"id": 1, "\u0069d": 2}"#, "/id", &["id"]),
            (r#"{"a": [0, {"b": 1, "b": 2}]}"#, "/a/1/b", &["a", "1", "b"]),
            (r#"{"a": {"b": 1}, "a": 2}"#, "/a/b", &["a"]),
        ] {
            match values_at(body.as_bytes(), [pointer]) {
                Err(BodyError::Duplicate(found)) => assert_eq!(found, path, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
        for body in [&b""[..], b"{", b"{} x", b"\xff", b"\"\xff\"", b"\xef\xbb\xbf{}"] {
            assert!(matches!(values_at(body, ["/id"]), Err(BodyError::Syntax { .. })), "{body:?}");
        }
    }
}
