//! JSON parsing in one pass, with duplicate members refused.
//!
//! RFC 8259, section 4, leaves open which of two members of one name counts. A reader that uses the last and one that
//! uses the first would see different documents: a validator and a handler, or the check of a signed value and the
//! handler.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, map::Entry};

use crate::BodyError;

/// Parses a document whose objects have each member once. Uses no memory beyond the [`Value`].
///
/// # Errors
/// The first fault, in the order of the text. Nesting deeper than `serde_json`'s 128 levels is a fault of syntax.
pub fn parse_unique(text: &str) -> Result<Value, BodyError> {
    let duplicate = RefCell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = Strict { duplicate: &duplicate }.deserialize(&mut deserializer);
    parsed.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| match duplicate.take() {
        Some(mut path) => {
            path.reverse();
            BodyError::Duplicate(path)
        }
        None => BodyError::Syntax { line: error.line(), column: error.column() },
    })
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
    use super::parse_unique;
    use crate::BodyError;

    #[test]
    fn a_member_is_there_once() {
        for text in [
            r#"{"a":[1,-1,0.5,null,true,"\u00e9",{}],"b":{"a":{"a":""}}}"#,
            "[]",
            "1",
            " {} ",
            "{",
            "{}x",
            "",
            "\"\\ud800\"",
        ] {
            let expected = serde_json::from_str(text).ok();
            assert_eq!(parse_unique(text).ok(), expected, "{text}");
        }
        for (text, expected) in [
            (r#"{"a":1,"a":1}"#, &["a"][..]),
            (r#"{"a":1,"\u0061":2}"#, &["a"]),
            (r#"[{"b":{"a":1,"c":2,"a":3}}]"#, &["0", "b", "a"]),
        ] {
            let Err(BodyError::Duplicate(path)) = parse_unique(text) else { panic!("{text}") };
            assert_eq!(path, expected, "{text}");
        }
        // Nesting is limited as everywhere.
        assert!(matches!(parse_unique(&"[".repeat(200_000)), Err(BodyError::Syntax { .. })));
    }
}
