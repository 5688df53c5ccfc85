//! Schemes that were written by hand, from altered entries of the catalog: without a fault, they sign what they verify.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use sluicegate_webhook::{AnswerTemplate, Provider, Scheme, SignatureError, SignedText};

use super::run::Target;
use super::valid::Parts;

/// Returns a value that a scheme could have somewhere.
fn value() -> impl Strategy<Value = Value> {
    select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(300),
        json!(1.5),
        json!(""),
        json!("a"),
        json!("signature"),
        json!("x-sign"),
        json!("{n}"),
        json!("x-{n}-{n}"),
        json!("é"),
        json!("/a/b~2"),
        json!("{timestamp}.{body}"),
        json!("{id}{timestamp}"),
        json!("{listed.x}"),
        json!("{body#/a}"),
        json!(["{body}", "{url.port}{path}"]),
        json!([]),
        json!({}),
        json!("hex"),
        json!("base64"),
        json!("spki"),
        json!("hmac-sha512"),
        json!("ed25519"),
        json!("token"),
        json!("partial"),
        json!("signed"),
        json!("created"),
        json!(["@method", "content-digest"]),
        json!("ms"),
        json!({ "field": "created", "unit": "s", "pastSeconds": 300 }),
        json!({ "header": "x-time", "unit": "ms" }),
        json!({ "components": ["content-digest", "idempotency-key"], "tag": "a" }),
        json!({ "name": "sha256" }),
        json!({ "header": ["x-a", "x-b"], "tag": "v1" }),
        json!({ "header": "x-c", "field": "v1", "separator": ";" }),
    ])
}

const FIELDS: &[&str] = &[
    "signature",
    "algorithm",
    "signed",
    "secret",
    "timestamp",
    "id",
    "each",
    "assurance",
    "handshakes",
    "header",
    "body",
    "prefix",
    "tag",
    "field",
    "separator",
    "encoding",
    "claim",
    "message",
    "components",
    "label",
    "bytesMin",
    "bytesMax",
    "prefixes",
    "unit",
    "pastSeconds",
    "when",
];

/// Sets or removes a member somewhere in a JSON value.
fn alter(value: &mut Value, path: &[Index], field: &str, new: Option<Value>) {
    match value {
        Value::Object(members) => {
            let inner = path.split_first().and_then(|(first, rest)| {
                let count = members.len();
                let value = members.values_mut().nth(first.index(count.max(1)))?;
                value.is_object().then_some((value, rest))
            });
            match (inner, new) {
                (Some((inner, rest)), new) => alter(inner, rest, field, new),
                (None, Some(new)) => drop(members.insert(field.to_owned(), new)),
                (None, None) => drop(members.remove(field)),
            }
        }
        _ => *value = new.unwrap_or_default(),
    }
}

pub(crate) fn schemes() -> Target {
    let entries: Vec<Value> =
        Provider::all().iter().map(|provider| serde_json::to_value(&provider.scheme).unwrap()).collect();
    let edit = (proptest::collection::vec(any::<Index>(), 0..3), select(FIELDS), proptest::option::of(value()));
    let strategy = (any::<Index>(), proptest::collection::vec(edit, 0..4), "[ -~]{0,24}");
    Target::new(strategy, move |(at, edits, body)| {
        let mut text = at.get(&entries).clone();
        for (path, field, new) in edits {
            alter(&mut text, &path, field, new);
        }
        let Ok(scheme) = serde_json::from_value::<Scheme>(text.clone()) else { return Ok(()) };
        let written = serde_json::to_value(&scheme).unwrap();
        prop_assert_eq!(&serde_json::from_value::<Scheme>(written).unwrap(), &scheme);
        for (pointer, reason) in scheme.faults() {
            prop_assert!(pointer.starts_with('/') && !reason.is_empty(), "{pointer}: {reason}");
        }
        if !scheme.faults().is_empty() {
            return Ok(());
        }
        let texts = [
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
        ];
        let Some(secret) = texts.iter().find_map(|text| scheme.secret(text).ok()) else { return Ok(()) };
        let mut parts = Parts {
            method: "POST".to_owned(),
            url: "https://a.example/b?c=d".to_owned(),
            headers: Vec::new(),
            body: body.into_bytes(),
        };
        let headers = parts.headers().unwrap();
        let secrets = [secret];
        prop_assert!(scheme.verify(&parts.request(&headers), &secrets, 1_700_000_000).is_err(), "{text}: not signed");
        let Ok(signed) = scheme.sign(&secrets[0], "id-1", 1_700_000_000, &parts.request(&headers)) else {
            return Ok(());
        };
        parts.headers.extend(signed.into_iter().map(|(name, value)| (name, value.into_bytes())));
        let Some(headers) = parts.headers() else { return Ok(()) };
        let in_body =
            scheme.each.is_some() || scheme.timestamp.as_ref().is_some_and(|timestamp| timestamp.body.is_some());
        match scheme.verify(&parts.request(&headers), &secrets, 1_700_000_000) {
            Ok(_) | Err(SignatureError::Signable) => {}
            Err(error) => prop_assert!(in_body, "{text}: {error}"),
        }
        Ok(())
    })
}

pub(crate) fn templates() -> Target {
    let part = select(vec![
        "{",
        "}",
        "{body",
        "{body}",
        "{timestamp}",
        "{header.",
        "a",
        "é",
        "#/",
        "{json:",
        "{hmac-hex:",
        "query.",
        "\u{0}",
    ]);
    let text = proptest::collection::vec(part, 0..8).prop_map(|parts| parts.concat().into_bytes());
    Target::of_bytes(text, |text| {
        let text = String::from_utf8_lossy(text).into_owned();
        if let Ok(template) = SignedText::try_from(text.clone()) {
            let again = SignedText::try_from(template.to_string());
            prop_assert_eq!(again, Ok(template));
        }
        let _ = AnswerTemplate::try_from(text);
        Ok(())
    })
}
