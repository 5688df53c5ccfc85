//! JSON without duplicate members, for bodies whose values are signed rather than their bytes.
//!
//! Readers differ on which of two members counts (RFC 8259, section 4). With a second one, a sender could pair a signed
//! value with another that the handler reads.

use std::cell::Cell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// An object has a member twice.
pub(crate) struct Duplicate;

/// Returns the value; `None` for a text that is not JSON.
pub(crate) fn parse(text: &[u8]) -> Result<Option<Value>, Duplicate> {
    let duplicate = Cell::new(false);
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = Unique(&duplicate).deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    if duplicate.get() { Err(Duplicate) } else { Ok(value.ok()) }
}

/// Reads a value, and notes a duplicate member.
struct Unique<'d>(&'d Cell<bool>);

impl<'de> DeserializeSeed<'de> for Unique<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without duplicate members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
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

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Unique(self.0))? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Unique(self.0))?;
            if object.insert(name, value).is_some() {
                self.0.set(true);
                return Err(de::Error::custom("a duplicate member"));
            }
        }
        Ok(object.into())
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

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
            assert_eq!(parse(text.as_bytes()).ok(), Some(expected), "{text}");
        }
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"b":{"a":1,"c":2,"a":3}}]"#] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        // Nesting is limited as everywhere.
        assert!(parse("[".repeat(200_000).as_bytes()).is_ok_and(|value| value.is_none()));
    }
}
