//! Properties that hold for every envelope, whatever its payload and attributes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use sluicegate_envelope::{Envelope, deterministic_id};

/// Returns whether SQS accepts the character in a message body.
fn sqs_accepts(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

fn content_type() -> impl Strategy<Value = Option<&'static str>> {
    prop::sample::select(vec![
        None,
        Some("application/json"),
        Some("Application/JSON; charset=\"utf-8\""),
        Some("application/cloudevents+json"),
        Some("application/problem+JSON ;a=b"),
        Some("text/plain"),
        Some("application/x-www-form-urlencoded"),
        Some("json"),
        Some("application/json-seq"),
    ])
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let json = prop::sample::select(vec![
        r#"{"b": 1.10,"a":1e400,"a":2}"#,
        " {}",
        "{}\n",
        "null",
        "\"\u{FFFF}\"",
        "\"\u{FFFE}\"",
        "\"\u{7F}\u{85}\u{1FFFF}\"",
        r#""\ud800""#,
        "[\t1,\r\n2]",
        "-0",
        "1 2",
        "",
        "\u{FEFF}{}",
        "NaN",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        any::<String>().prop_map(String::into_bytes),
        json.prop_map(|text| text.as_bytes().to_vec()),
        any::<String>().prop_map(|text| serde_json::to_vec(&text).unwrap()),
    ]
}

proptest! {
    #[test]
    fn an_envelope_survives_the_queue_byte_for_byte(
        content_type in content_type(),
        payload in payload(),
        subject in any::<String>(),
        key in "[ -~]{0,20}",
        seconds in -62_167_219_200_i64..=253_402_300_799,
        nanosecond in 0_u32..1_000_000_000,
    ) {
        let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap().replace_nanosecond(nanosecond).unwrap();
        let builder = Envelope::builder("1", "/s", "t").subject(subject).idempotency_key(key).time(time);
        let Ok(envelope) = builder.payload(content_type, payload.as_slice()).build() else { return Ok(()) };

        let wire = envelope.encode();
        prop_assert!(wire.chars().all(sqs_accepts), "{wire:?}");
        let decoded = Envelope::decode(&wire).unwrap();
        prop_assert_eq!(&decoded, &envelope);
        prop_assert_eq!(decoded.payload().into_owned(), payload);
        prop_assert_eq!(decoded.content_type(), content_type);
        prop_assert_eq!(decoded.time(), Some(time));
        prop_assert_eq!(decoded.encode(), wire);
    }

    #[test]
    fn a_decoded_event_can_be_encoded_again(data in payload(), text in any::<String>(), number in any::<i64>()) {
        let text = serde_json::to_string(&text).unwrap();
        for content_type in [r#""application/json""#, r#""text/plain""#, "null"] {
            let data = String::from_utf8_lossy(&data);
            let wire = format!(
                r#"{{"specversion":"1.0","id":{text},"source":"/s","type":"t","x":{text},"n":{number},"datacontenttype":{content_type},"data":{data}}}"#
            );
            let Ok(envelope) = Envelope::decode(&wire) else { continue };
            let again = envelope.encode();
            prop_assert!(again.chars().all(sqs_accepts), "{again:?}");
            prop_assert_eq!(Envelope::decode(&again).unwrap(), envelope);
        }
    }

    #[test]
    fn decoding_never_panics(text in any::<String>(), json in r#"[\[\]{}:,"a-z0-9\\ .]{0,60}"#) {
        let _ = Envelope::decode(&text);
        let _ = Envelope::decode(&json);
        let _ = Envelope::decode(&format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{json}}}"#));
    }

    #[test]
    fn moving_characters_between_the_parts_of_an_id_changes_it(text in "[a/:\0]{1,12}", cuts in prop::array::uniform4(0_usize..=12)) {
        let id = |a: usize, b: usize| {
            let (low, high) = (a.min(b).min(text.len()), a.max(b).min(text.len()));
            ([low, high], deterministic_id([&text[..low], &text[low..high], &text[high..]]))
        };
        let ((one_cut, one), (other_cut, other)) = (id(cuts[0], cuts[1]), id(cuts[2], cuts[3]));
        prop_assert_eq!(one_cut == other_cut, one == other);
    }
}
