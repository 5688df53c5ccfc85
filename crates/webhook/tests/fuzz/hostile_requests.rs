//! Hostile requests: headers, URLs and bodies of the words that parsers look for. None is accepted.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseResult;
use sluicegate_webhook::{Algorithm, Provider, Scheme, Secret, decode_hex};

use super::run::Target;
use super::valid::Parts;

/// The time at which requests are verified.
const NOW_UNIX_S: i64 = 1_700_000_000;

const WORDS: &[&str] = &[
    "v0",
    "v1",
    "v1a",
    "t",
    "s",
    "ts",
    "h1",
    "sha256",
    "sha1",
    "sig1",
    "HMAC ",
    "=",
    ",",
    ";",
    ":",
    ".",
    " ",
    "\t",
    "\"",
    "\\",
    "(",
    ")",
    "?1",
    "1700000000",
    "1700000000000",
    "2023-11-14T22:13:20Z",
    "-1",
    "99999999999999999999",
    "1e9",
    "\"@method\"",
    "\"content-digest\"",
    "\"@query-param\";name=\"a\"",
    ";created=1700000000",
    ";keyid=\"a\"",
    ";alg=\"hmac-sha256\"",
    ";expires=1",
    "sha-256=:AAAA:",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "eyJhbGciOiJIUzI1NiJ9",
    "e30",
    "{",
    "}",
    "[",
    "]",
    "{\"a\":1}",
    "null",
    "\"id\":",
    "/a~1b",
    "%",
    "%2",
    "%C3%A9",
    "&",
    "a=b",
    "+",
    "\u{e9}",
    "\u{1f600}",
    "https://",
    "api.example.com",
    "/path",
    "?",
    "#",
    "@",
    "http",
];

/// Returns a text of words and of other bytes.
fn soup(words_max: usize) -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        8 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..4),
        1 => (select(WORDS), 1..200_usize).prop_map(|(word, times)| word.repeat(times).into_bytes()),
    ];
    proptest::collection::vec(word, 0..words_max).prop_map(|words| words.concat())
}

/// Returns a body whose JSON has the members that schemes and handshakes look for, or a soup.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let names = select(
        &[
            "type",
            "challenge",
            "signature",
            "timestamp",
            "token",
            "event",
            "payload",
            "webhookTimestamp",
            "notificationItems",
            "NotificationRequestItem",
            "additionalData",
            "hmacSignature",
            "events",
            "verification_token",
            "plainToken",
            "id",
            "amount",
            "value",
        ][..],
    );
    let leaf = prop_oneof![
        select(WORDS).prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        Just(serde_json::Value::Null),
        Just(serde_json::Value::from("url_verification")),
    ];
    let json = leaf.prop_recursive(6, 32, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    });
    prop_oneof![soup(24), json.prop_map(|value| value.to_string().into_bytes())]
}

/// Returns the names of the headers that a scheme reads.
fn names(scheme: &Scheme) -> Vec<String> {
    let timestamp = scheme.timestamp.iter().flat_map(|timestamp| timestamp.header.iter());
    let read = scheme.signature.header.iter().chain(scheme.id.iter()).chain(timestamp);
    let more = ["signature-input", "content-digest", "content-type", "idempotency-key", "x-contentful-signed-headers"];
    read.chain(more).map(|name| name.replacen("{n}", "1", 1)).collect()
}

/// Returns a secret that is on no list of words.
fn secret(scheme: &Scheme) -> Option<Secret> {
    let texts = [
        "c2VjcmV0IHRoYXQgbm8gb25lIGNvdWxkIGd1ZXNzIQ==",
        "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
        "26b40b8f93fff3d897112f7ebc582b232dbd72517d082fe83cfb30ddce43d1bb",
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==",
    ];
    texts
        .iter()
        .find_map(|text| scheme.secret(text).ok())
        .or_else(|| scheme.secret(&"unguessable".repeat(6)[..64]).ok())
}

/// Returns every provider, with a secret if one of ours has the form of its secrets.
fn providers() -> Vec<(&'static Provider, Vec<Secret>)> {
    let providers: Vec<_> =
        Provider::all().iter().map(|provider| (provider, secret(&provider.scheme).into_iter().collect())).collect();
    assert!(providers.iter().filter(|(_, secrets): &&(_, Vec<_>)| !secrets.is_empty()).count() > 60);
    providers
}

/// Checks that a request is refused, and that no answer to a handshake has a header with a line break.
fn check(provider: &Provider, secrets: &[Secret], parts: &Parts) -> TestCaseResult {
    let Provider { slug, scheme, .. } = provider;
    let Some(headers) = parts.headers() else { return Ok(()) };
    let request = parts.request(&headers);
    let verified = scheme.verify(&request, secrets, NOW_UNIX_S);
    prop_assert!(verified.is_err(), "{slug}: {verified:?}");
    let _ = scheme.signed_texts(&request);
    for handshake in scheme.handshakes.iter().filter(|handshake| handshake.is(&request)) {
        if let Ok(answer) = handshake.answer(&request, secrets) {
            prop_assert!(answer.headers.iter().all(|(_, value)| !value.contains(['\r', '\n'])), "{slug}");
        }
    }
    Ok(())
}

/// A request as bytes: the positions of its provider and its method, the URL as a line, a line for each header, which
/// begins with the position of its name, an empty line, and the body.
pub(crate) fn hostile_requests() -> Target {
    let providers = providers();
    let methods = ["POST", "GET", "HEAD", "OPTIONS"];
    let line = |words_max| soup(words_max).prop_map(clean);
    // Each header of the scheme is there, so that its value is parsed; some are there twice.
    let headers = proptest::collection::vec((0..32_u8, line(12)), 0..6).prop_map(|headers| {
        let lines = headers.into_iter().zip(b' '..).map(|((any, value), at)| {
            [if any < 24 { at } else { any + b' ' }].into_iter().chain(value).chain(*b"\n").collect::<Vec<_>>()
        });
        lines.collect::<Vec<_>>().concat()
    });
    let strategy = (any::<[u8; 2]>(), line(6), headers, body())
        .prop_map(|(positions, url, headers, body)| [&positions[..], &url, b"\n", &headers, b"\n", &body].concat());
    Target::of_bytes(strategy, move |bytes| {
        let [at, method, rest @ ..] = bytes else { return Ok(()) };
        let (provider, secrets) = &providers[usize::from(*at) % providers.len()];
        let names = names(&provider.scheme);
        let mut rest = rest;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (line, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            line
        };
        let url = String::from_utf8_lossy(line()).into_owned();
        let mut headers = Vec::new();
        while let [at, value @ ..] = line() {
            headers.push((names[usize::from(*at) % names.len()].clone(), clean(value.to_vec())));
        }
        let method = methods[usize::from(*method) % methods.len()].to_owned();
        check(provider, secrets, &Parts { method, url, headers, body: rest.to_vec() })
    })
}

/// Removes what a header cannot have.
fn clean(value: Vec<u8>) -> Vec<u8> {
    value.into_iter().filter(|byte| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f).collect()
}

pub(crate) fn hostile_secrets() -> Target {
    let schemes: Vec<&Scheme> = Provider::all().iter().map(|provider| &provider.scheme).collect();
    let bases = [
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==",
    ];
    let der = proptest::collection::vec(
        prop_oneof![select(&[0x30, 0x03, 0x00, 0x80, 0x81, 0x82, 0x84, 0xff, 0x7f][..]), any::<u8>()],
        0..48,
    )
    .prop_map(|der| sluicegate_webhook::Encoding::Base64.encode(&der));
    let text = prop_oneof![
        soup(8).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        der.clone(),
        der.prop_map(|base64| format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----")),
        (any::<Index>(), any::<u8>()).prop_map(move |(at, byte)| {
            let mut key = bases[0].as_bytes().to_vec();
            key[at.index(bases[0].len())] = byte;
            String::from_utf8_lossy(&key).into_owned()
        }),
    ];
    // The position of the scheme, and the secret.
    let strategy = (any::<u8>(), text).prop_map(|(at, text)| [vec![at], text.into_bytes()].concat());
    Target::of_bytes(strategy, move |bytes| {
        let Some((at, text)) = bytes.split_first() else { return Ok(()) };
        let scheme = schemes[usize::from(*at) % schemes.len()];
        let text = String::from_utf8_lossy(text);
        if let Ok(secret) = scheme.secret(&text) {
            prop_assert_eq!(format!("{secret:?}"), "Secret(..)");
            // A key that is not one verifies nothing, and does not panic.
            let parts =
                Parts { method: "POST".to_owned(), url: String::new(), headers: Vec::new(), body: b"{}".to_vec() };
            let headers = parts.headers().unwrap();
            prop_assert!(scheme.verify(&parts.request(&headers), &[secret], NOW_UNIX_S).is_err());
        }
        let hex = decode_hex(text.as_bytes());
        prop_assert!(hex.is_none_or(|bytes| bytes.len() * 2 == text.len()));
        prop_assert!(scheme.algorithm != Algorithm::Token || scheme.secret("").is_err());
        Ok(())
    })
}
