//! Each scheme against the vectors in `tests/vectors/webhook/<scheme>.json`: published vectors and failing ones.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sluicegate_webhook::{Scheme, Secret, SignedPart};

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    secrets: Vec<String>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
    now_unix_s: i64,
    /// The expected error, or null for a valid request.
    error: Option<String>,
    /// If present: signing as this id with the first secret gives exactly these headers.
    signed_as: Option<String>,
}

#[derive(Deserialize)]
struct SecretVector {
    scheme: String,
    secret: String,
    error: Option<String>,
}

fn read<T: DeserializeOwned>(path: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(path);
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn check(scheme: &Scheme, vector: &Vector) {
    let name = format!("{}: {}", scheme.name(), vector.name);
    let secrets: Vec<Secret> = vector.secrets.iter().map(|text| scheme.secret(text).unwrap()).collect();
    let mut headers = HeaderMap::new();
    for (header, value) in &vector.headers {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        headers.append(header.parse::<HeaderName>().unwrap(), value);
    }
    let body = match (&vector.body, &vector.body_base64) {
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
        _ => panic!("{name}: needs one body"),
    };
    let verdict = scheme.verify(&headers, &body, &secrets, vector.now_unix_s);
    assert_eq!(verdict.err().map(|error| error.to_string()), vector.error, "{name}");

    if let Some(id) = &vector.signed_as {
        let signed = scheme.sign(&secrets[0], id, vector.now_unix_s, &body).unwrap();
        let signed: Vec<_> = signed.into_iter().map(|(header, value)| (header.to_owned(), value)).collect();
        assert_eq!(signed, vector.headers, "{name}");
    }
}

#[test]
fn every_scheme_agrees_with_its_vectors() {
    for scheme in Scheme::all() {
        let file: File = read(&format!("webhook/{}.json", scheme.name()));
        assert!(file.vectors.iter().any(|vector| vector.signed_as.is_some()), "{} is signed", scheme.name());
        file.vectors.iter().for_each(|vector| check(scheme, vector));
    }
}

#[test]
fn a_secret_is_parsed_in_the_form_its_provider_shows() {
    for SecretVector { scheme, secret, error } in read::<Vec<_>>("webhook-secrets.json") {
        let read = Scheme::named(&scheme).unwrap().secret(&secret);
        assert_eq!(read.err().map(|refusal| refusal.to_string()), error, "{scheme}: {secret:?}");
    }
}

#[test]
fn debug_does_not_show_the_secret() {
    for (scheme, text) in [("github", "hush"), ("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")] {
        let secret = Scheme::named(scheme).unwrap().secret(text).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}

#[test]
fn schemes_are_found_by_their_exact_name() {
    assert!(Scheme::all().iter().all(|scheme| Scheme::named(scheme.name()).is_some()));
    assert!(["", "GitHub", "github ", "svix"].iter().all(|name| Scheme::named(name).is_none()));
}

/// <https://docs.slack.dev/authentication/verifying-requests-from-slack>
#[test]
fn a_custom_scheme_agrees_with_the_vector_of_its_provider() {
    static SLACK: Scheme = Scheme::new("slack", &["x-slack-signature"])
        .prefix("v0=")
        .timestamp(&["x-slack-request-timestamp"], 300)
        .signed_before_body(&[SignedPart::Literal("v0:"), SignedPart::Timestamp, SignedPart::Literal(":")]);
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let secrets = [SLACK.secret("8f742231b10e8888abcd99yyyzzz85a5").unwrap()];
    let signed = SLACK.sign(&secrets[0], "", 1_531_420_618, body).unwrap();
    let expected = [
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ];
    assert_eq!(signed, expected.map(|(name, value)| (name, value.to_owned())));
}

#[test]
fn an_id_or_time_that_verify_refuses_is_not_signed() {
    let check = |scheme: &str, id: &str, at_unix_s: i64, error: Option<&str>| {
        let scheme = Scheme::named(scheme).unwrap();
        let secret = scheme.secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = scheme.sign(&secret, id, at_unix_s, b"{}");
        assert_eq!(signed.err().map(|error| error.to_string()).as_deref(), error, "{id:?} {at_unix_s}");
    };
    let malformed = Some("the header webhook-id is malformed");
    for id in ["", "msg.1", "msg\n1", "msg\u{7f}"] {
        check("standard-webhooks", id, 7, malformed);
        check("github", id, 7, None);
    }
    check("standard-webhooks", "msg_1", -1, Some("the header webhook-timestamp is not a time in seconds"));
    check("standard-webhooks", "msg_1", 0, None);
    check("github", "", -1, None);
}

#[test]
fn signed_requests_verify_and_flipped_bits_do_not() {
    for (scheme, text) in [("github", "hush"), ("standard-webhooks", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")] {
        let scheme = Scheme::named(scheme).unwrap();
        let secrets = [scheme.secret(text).unwrap()];
        let body: Vec<u8> = (0..=255).collect();
        let mut headers = HeaderMap::new();
        for (name, value) in scheme.sign(&secrets[0], "m1", 7, &body).unwrap() {
            headers.insert(name, value.parse().unwrap());
        }
        assert_eq!(scheme.verify(&headers, &body, &secrets, 7), Ok(()));
        for bit in 0..body.len() * 8 {
            let mut flipped = body.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(scheme.verify(&headers, &flipped, &secrets, 7).is_err(), "bit {bit}");
        }
    }
}
