//! Events on a queue outlive the release that wrote them, so every vector in `tests/vectors/envelope` must stay
//! decodable. Add vectors; never change one.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sluicegate_envelope::{DecodeError, Envelope, EnvelopeBuildError, deterministic_id, fresh_id};
use time::OffsetDateTime;

#[derive(Deserialize)]
struct Decodes {
    name: String,
    wire: String,
    /// Everything but `specversion` and the payload.
    attributes: Map<String, Value>,
    payload: Option<String>,
    payload_base64: Option<String>,
    /// Whether this is what `encode` writes, to the byte.
    #[serde(default)]
    canonical: bool,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    wire: String,
    error: String,
}

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors")
}

fn read<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn check(vector: &Decodes) {
    let name = &vector.name;
    let envelope = Envelope::decode(&vector.wire).unwrap_or_else(|error| panic!("{name}: {error}"));
    let payload = match (&vector.payload, &vector.payload_base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
        _ => panic!("{name}: needs one payload"),
    };
    assert_eq!(envelope.payload(), payload, "{name}");

    let again = envelope.encode();
    assert_eq!(Envelope::decode(&again).as_ref(), Ok(&envelope), "{name}");
    assert_eq!(attributes(&again), vector.attributes, "{name}");
    if vector.canonical {
        assert_eq!(again, vector.wire, "{name}");
    }
}

/// The attributes on the wire. The payload is left out, because `Value` does not hold every number.
fn attributes(wire: &str) -> Map<String, Value> {
    let members: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(wire).unwrap();
    let payload = ["specversion", "data", "data_base64"];
    let attributes = members.into_iter().filter(|(name, _)| !payload.contains(&name.as_str()));
    attributes.map(|(name, raw)| (name, serde_json::from_str(raw.get()).unwrap())).collect()
}

#[test]
fn envelopes_of_earlier_versions_decode() {
    let files: Vec<_> = fs::read_dir(vectors().join("envelope")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty());
    files.iter().flat_map(|path| read(path)).for_each(|vector| check(&vector));
}

#[test]
fn an_invalid_event_is_refused_with_its_reason() {
    for Refused { name, wire, error } in read(&vectors().join("envelope-refused.json")) {
        assert_eq!(Envelope::decode(&wire).map_err(|refusal| refusal.to_string()), Err(error), "{name}");
    }
    let mut wire = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t""#.to_owned();
    (0..100_000).for_each(|n| wire.push_str(&format!(r#","x{n}":1"#)));
    assert_eq!(
        Envelope::decode(&(wire + "}")),
        Err(DecodeError::TooMany),
        "decoding stops after the allowed number of attributes"
    );
}

#[test]
fn every_getter_reads_its_attribute() {
    let wire = &read::<Decodes>(&vectors().join("envelope/written-by-0.1.0.json"))[0].wire;
    let time = OffsetDateTime::from_unix_timestamp_nanos(1_795_222_923_040_000_000).unwrap();
    let built =
        Envelope::builder("7d2a1d0e-6c1b-8f3a-9b1c-2f7e5a4d3c21", "https://api.example.com/orders", "order.placed")
            .subject("o-1 \"tea\" \\ é")
            .time(time)
            .payload(Some("application/json; charset=utf-8"), "{\"z\": 1.10, \"a\":\t[1e400],\"a\":\"€\"}")
            .traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .tracestate("vendor=1")
            .group("c-1")
            .principal("dev")
            .operation("placeOrder")
            .idempotency_key("k-1")
            .build()
            .unwrap();
    assert_eq!(&built.encode(), wire);

    let read = Envelope::decode(wire).unwrap();
    assert_eq!(read, built);
    assert_eq!(read.id(), "7d2a1d0e-6c1b-8f3a-9b1c-2f7e5a4d3c21");
    assert_eq!(read.source(), "https://api.example.com/orders");
    assert_eq!(read.event_type(), "order.placed");
    assert_eq!(read.subject(), Some("o-1 \"tea\" \\ é"));
    assert_eq!(read.time(), Some(time));
    assert_eq!(read.content_type(), Some("application/json; charset=utf-8"));
    assert_eq!(read.traceparent(), Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
    assert_eq!(read.tracestate(), Some("vendor=1"));
    assert_eq!(read.group(), Some("c-1"));
    assert_eq!(read.principal(), Some("dev"));
    assert_eq!(read.operation(), Some("placeOrder"));
    assert_eq!(read.idempotency_key(), Some("k-1"));
}

#[test]
fn building_refuses_invalid_attribute_values() {
    let build = |id: &str, subject: &str| Envelope::builder(id, "/s", "t").subject(subject).build().map(|_| ());
    assert_eq!(build("1", ""), Ok(()), "an empty optional attribute is not set");
    assert_eq!(build("1", &"é".repeat(1_024)), Ok(()));
    assert_eq!(build("1", &"a".repeat(2_049)), Err(EnvelopeBuildError::TooLong { attribute: "subject", bytes: 2_049 }));
    assert_eq!(build("", "a"), Err(EnvelopeBuildError::Empty { attribute: "id" }));
    for refused in ["\0", "a\nb", "\t", "\u{7f}", "\u{9f}", "\u{fdd0}", "\u{ffff}", "\u{10fffe}"] {
        assert_eq!(build("1", refused), Err(EnvelopeBuildError::Character { attribute: "subject" }), "{refused:?}");
    }
    let offset = time::UtcOffset::from_hms(0, 0, 1).unwrap();
    let odd = OffsetDateTime::UNIX_EPOCH.to_offset(offset);
    assert_eq!(Envelope::builder("1", "/s", "t").time(odd).build(), Err(EnvelopeBuildError::Time));
}

#[test]
fn a_payload_of_another_shape_is_an_error_that_does_not_quote_it() {
    let fault = |payload: &str| {
        let envelope = Envelope::builder("1", "/s", "t").payload(Some("application/json"), payload).build().unwrap();
        assert!(!format!("{envelope:?}").contains("hush"));
        let error = envelope.json::<Vec<u8>>().unwrap_err();
        assert!(!format!("{error:?}").contains("hush"));
        error.to_string()
    };
    assert_eq!(fault("\"hush\""), "the payload does not have the expected shape (line 1, column 6)");
    assert_eq!(fault("hush"), "the payload is not JSON (line 1, column 1)");
    assert_eq!(fault(""), "the payload is not JSON (line 1, column 0)");

    let envelope = Envelope::builder("1", "/s", "t").payload(Some("application/json"), "null").build().unwrap();
    assert_eq!(envelope.json::<Option<u8>>().unwrap(), None);
}

#[test]
fn ids_are_stable_over_releases() {
    let check = |parts: [&str; 3], id: &str| assert_eq!(deterministic_id(parts), id);
    check(["dev", "placeOrder", "k-1"], "b8bebb8c-fa3a-8c30-a50f-736847407a22");
    check(["dev", "placeOrderk", "-1"], "647f46de-b7f8-898a-8fbf-d5a9aaf9fa23");
    check(["", "", ""], "49b8784e-cda8-8db2-a647-72aaef7d9d4c");
    let (first, second) = (fresh_id(), fresh_id());
    assert!(first < second, "fresh ids sort by age");
    assert_eq!(first.as_bytes()[14], b'7');
}
