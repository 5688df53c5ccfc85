//! Members of a JSON object, in order and with repeats, as slices of the text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Members that are allocated for an object at first.
const MEMBERS_EXPECTED: usize = 16;

/// A member's name and its raw value.
pub type Member<'a> = (Cow<'a, str>, &'a RawValue);

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the first `max` members of the object in `json`.
///
/// # Errors
/// The text is not JSON, or not an object.
pub fn members(json: &str, max: usize) -> serde_json::Result<Vec<Member<'_>>> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let members = Members { max }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(members)
}

/// Returns the text of a JSON string.
///
/// # Errors
/// The text is not JSON, or not a string.
pub fn string(json: &str) -> serde_json::Result<Cow<'_, str>> {
    serde_json::from_str::<Text<'_>>(json).map(|text| text.0)
}

struct Members {
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::with_capacity(MEMBERS_EXPECTED);
        while members.len() < self.max {
            let Some((Text(name), value)) = map.next_entry()? else { return Ok(members) };
            members.push((name, value));
        }
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(members)
    }
}
