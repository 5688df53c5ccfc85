//! [`Edit`]: sets one member of a message's body and keeps every other byte.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::value::RawValue;
use sluicegate_envelope::Envelope;

use crate::DeadLetter;

/// `/json/pointer=JSON` in the payload, or `name=JSON` for an attribute of the envelope.
///
/// The member is replaced, or added to its object; `-` as the last step adds to an array (RFC 6901, section 4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    pointer: String,
    of_payload: bool,
    json: String,
}

/// An edit that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EditError(String);

fn wrong(reason: impl Into<String>) -> EditError {
    EditError(reason.into())
}

impl FromStr for Edit {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        let (place, json) = text.split_once('=').ok_or_else(|| wrong("expected /json/pointer=JSON or name=JSON"))?;
        let json: Box<RawValue> = serde_json::from_str(json)
            .map_err(|error| wrong(format!("{json} is not JSON ({error}); text needs quotes")))?;
        let of_payload = place.starts_with('/');
        if place.is_empty() {
            return Err(wrong("expected /json/pointer=JSON or name=JSON"));
        }
        let pointer =
            if of_payload { place.to_owned() } else { format!("/{}", place.replace('~', "~0").replace('/', "~1")) };
        Ok(Self { pointer, of_payload, json: json.get().to_owned() })
    }
}

/// Returns the body with all edits applied in order. A payload is that of the envelope, or else the body itself.
///
/// # Errors
/// The body or payload is not JSON, or has no such place.
pub fn edited(body: &[u8], edits: &[Edit]) -> Result<Vec<u8>, EditError> {
    let mut text = std::str::from_utf8(body).map_err(|_| wrong("the body is not text"))?.to_owned();
    for edit in edits {
        let envelope = Envelope::decode(&text).is_ok();
        let pointer = match (envelope, edit.of_payload) {
            (true, true) if holds(&text, "data_base64") => {
                return Err(wrong("the payload is not JSON: give the whole body"));
            }
            (true, true) => format!("/data{}", edit.pointer),
            (true, false) | (false, true) => edit.pointer.clone(),
            (false, false) => {
                return Err(wrong("the message has no envelope: /json/pointer=JSON is a place in its body"));
            }
        };
        let steps =
            pointer.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect::<Vec<_>>();
        text =
            set(&text, &steps, &edit.json).map_err(|EditError(reason)| wrong(format!("{}: {reason}", edit.pointer)))?;
    }
    Ok(text.into_bytes())
}

/// Checks that a corrected body can replace that of `letter`: the message of an envelope must stay one.
///
/// # Errors
/// The body is not an envelope.
pub fn check_edited(letter: &DeadLetter, body: &[u8]) -> Result<(), EditError> {
    let is_envelope = std::str::from_utf8(body).is_ok_and(|text| Envelope::decode(text).is_ok());
    if (letter.envelope().is_some() || letter.pointer.is_some()) && !is_envelope {
        return Err(wrong(
            "the message has an envelope, and the corrected body is not one: write a CloudEvent in JSON with \
             specversion, id, source and type",
        ));
    }
    Ok(())
}

fn holds(json: &str, name: &str) -> bool {
    members(json).is_ok_and(|members| members.contains_key(name))
}

/// Returns `json` with the value at `steps` replaced.
fn set(json: &str, steps: &[String], value: &str) -> Result<String, EditError> {
    let Some((step, rest)) = steps.split_first() else {
        return Ok(value.to_owned());
    };
    let trimmed = json.trim_ascii();
    let found = match trimmed.as_bytes().first() {
        Some(b'{') => members(json)?.get(step).copied(),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json).map_err(|error| wrong(error.to_string()))?;
            let index = step.parse::<usize>().ok().filter(|index| index.to_string() == *step);
            let item = index.and_then(|index| items.get(index).copied());
            if item.is_none() && step != "-" {
                return Err(wrong(format!("no item {step} in an array of {}", items.len())));
            }
            item
        }
        _ => return Err(wrong(format!("no member {step}: this is neither object nor array"))),
    };
    let (before, new, after) = match found {
        Some(raw) => {
            // A raw value is a slice of the text that it was read from.
            let at = raw.get().as_ptr() as usize - json.as_ptr() as usize;
            let (before, from) = json.split_at(at);
            (before, set(raw.get(), rest, value)?, &from[raw.get().len()..])
        }
        None if rest.is_empty() => {
            let end = json.trim_ascii_end().len() - 1;
            let (before, after) = json.split_at(end);
            let is_empty = trimmed[1..].trim_ascii_start().len() == 1;
            let comma = if is_empty { "" } else { "," };
            let name = serde_json::Value::String(step.clone());
            let member = if trimmed.starts_with('{') { format!("{name}:") } else { String::new() };
            (before, format!("{comma}{member}{value}"), after)
        }
        None => return Err(wrong(format!("no member {step}"))),
    };
    Ok(format!("{before}{new}{after}"))
}

/// Returns the members of an object; of members with the same name the last, which is the one that most readers use.
fn members(json: &str) -> Result<BTreeMap<String, &RawValue>, EditError> {
    serde_json::from_str(json).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, edits: &[&str], expected: Result<&str, &str>) {
        let edits: Vec<Edit> = edits.iter().map(|edit| edit.parse().unwrap()).collect();
        let edited = edited(body.as_bytes(), &edits).map(|bytes| String::from_utf8(bytes).unwrap());
        match expected {
            Ok(expected) => assert_eq!(edited.as_deref(), Ok(expected), "{body} {edits:?}"),
            Err(part) => {
                let error = edited.expect_err(body).to_string();
                assert!(error.contains(part), "{body} {edits:?}: {error}");
            }
        }
    }

    #[test]
    fn an_edit_changes_only_its_member() {
        let raw = r#" { "a" : 1.10, "b":[ 1 , {"c":"x"} ], "a/b":{}, "e":[] } "#;
        for (edit, expected) in [
            (r#"/a="x=y""#, r#" { "a" : "x=y", "b":[ 1 , {"c":"x"} ], "a/b":{}, "e":[] } "#),
            ("/b/1/c= null", r#" { "a" : 1.10, "b":[ 1 , {"c":null} ], "a/b":{}, "e":[] } "#),
            ("/b/0=[2]", r#" { "a" : 1.10, "b":[ [2] , {"c":"x"} ], "a/b":{}, "e":[] } "#),
            ("/b/-=2", r#" { "a" : 1.10, "b":[ 1 , {"c":"x"} ,2], "a/b":{}, "e":[] } "#),
            ("/e/-=2", r#" { "a" : 1.10, "b":[ 1 , {"c":"x"} ], "a/b":{}, "e":[2] } "#),
            ("/a~1b/n~0=true", r#" { "a" : 1.10, "b":[ 1 , {"c":"x"} ], "a/b":{"n~":true}, "e":[] } "#),
            ("/new=0", r#" { "a" : 1.10, "b":[ 1 , {"c":"x"} ], "a/b":{}, "e":[] ,"new":0} "#),
        ] {
            check(raw, &[edit], Ok(expected));
        }
        check(r#"{"a":1,"a":2}"#, &["/a=3"], Ok(r#"{"a":1,"a":3}"#));
        check("{ }", &["/a=3", "/b=4"], Ok(r#"{ "a":3,"b":4}"#));
        for (edit, reason) in [
            ("/b/2=0", "no item 2"),
            ("/b/01=0", "no item 01"),
            ("/x/y=0", "no member x"),
            ("/a/y=0", "neither object nor array"),
        ] {
            check(raw, &[edit], Err(reason));
        }
        check("no JSON", &["/a=1"], Err("neither object nor array"));
        check(raw, &["type=1"], Err("no envelope"));
    }

    #[test]
    fn the_payload_of_an_envelope_and_its_attributes() {
        let envelope = r#"{"specversion":"1.0","id":"i","source":"s","type":"t","data":{"n": 1.10}}"#;
        check(
            envelope,
            &["/m=2", r#"type="u""#],
            Ok(r#"{"specversion":"1.0","id":"i","source":"s","type":"u","data":{"n": 1.10,"m":2}}"#),
        );
        let binary = r#"{"specversion":"1.0","id":"i","source":"s","type":"t","data_base64":"AA=="}"#;
        check(binary, &["/m=2"], Err("the payload is not JSON"));
        check(binary, &[r#"type="u""#], Ok(&binary.replace("\"t\"", "\"u\"")));
    }

    #[test]
    fn invalid_edits_are_refused() {
        for wrong in ["", "/a", "=1", "/a=", "/a=x", "/a=1 2"] {
            assert!(wrong.parse::<Edit>().is_err(), "{wrong:?}");
        }
    }
}
