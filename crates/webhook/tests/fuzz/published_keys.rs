//! Files at the URLs of published keys: damaged certificates and hostile key sets. And values of damaged JSON bodies.

use std::sync::Arc;

use http::HeaderMap;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use sluicegate_webhook::{BodyError, Encoding, KeyUrl, Provider, Request, Scheme, SignatureError, values_at};

use super::run::Target;

/// Returns the first message of SNS in the vectors: its body, its certificate and the time of signing.
fn message() -> (String, String, i64) {
    let vectors: Value =
        serde_json::from_str(include_str!("../../../../tests/vectors/webhook/certificates.json")).unwrap();
    let vector = &vectors["vectors"][0];
    let text = |name: &str| vector[name].as_str().unwrap().to_owned();
    (text("body"), text("key"), vector["now_unix_s"].as_i64().unwrap())
}

/// Returns the URL of the certificate of a message that was signed for this topic.
fn certificate_url(body: &str, now_unix_s: i64) -> KeyUrl {
    let sns = &Provider::named("sns").unwrap().scheme;
    let topic = serde_json::from_str::<Value>(body).unwrap()["TopicArn"].as_str().unwrap().to_owned();
    let secrets = [sns.secret(&topic).unwrap()];
    match sns.verify(&Request::new(&HeaderMap::new(), body.as_bytes()), &secrets, now_unix_s) {
        Err(SignatureError::KeyNeeded { url }) => url,
        other => panic!("no key needed: {other:?}"),
    }
}

/// Damage: a place, how many bytes are taken out there, and what stands there instead.
fn damage(instead: &'static str) -> impl Strategy<Value = Vec<(Index, usize, Vec<u8>)>> {
    let text = instead.prop_map(String::into_bytes);
    let bytes = prop_oneof![text, proptest::collection::vec(any::<u8>(), 0..8)];
    proptest::collection::vec((any::<Index>(), 0..40_usize, bytes), 0..4)
}

fn damaged(text: &[u8], damage: Vec<(Index, usize, Vec<u8>)>) -> Vec<u8> {
    let mut damaged = text.to_vec();
    for (place, taken, instead) in damage {
        let at = place.index(damaged.len() + 1);
        let end = (at + taken).min(damaged.len());
        damaged.splice(at..end, instead);
    }
    damaged
}

/// The base64 of a certificate is damaged, or the DER in it. No other key than that of the certificate is read.
pub(crate) fn certificates() -> Target {
    let (body, certificate, now_unix_s) = message();
    let url = certificate_url(&body, now_unix_s);
    let lines: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = Encoding::Base64.decode(lines.as_bytes()).unwrap();
    let strategy = (any::<bool>(), damage("[A-Za-z0-9+/=\\n-]{0,40}"));
    Target::new(strategy, move |(in_der, damage)| {
        let file = match in_der {
            false => damaged(certificate.as_bytes(), damage),
            true => {
                let base64 = Encoding::Base64.encode(&damaged(&der, damage));
                format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n").into_bytes()
            }
        };
        if let Ok(keys) = url.read(&file, Vec::new, now_unix_s) {
            let _ = keys.is_valid(now_unix_s);
        }
        Ok(())
    })
}

/// A body is damaged, and read at pointers: what is read is what a strict reader finds, if it reads the body at all.
pub(crate) fn values_of_bodies() -> Target {
    let body = r#"{"id":"1","a":{"b/c":[1,{"d":"é\n"},true],"~":"\ud83d\ude00"},"n":-1.5e3,"list":[[],{},"x"]}"#;
    let pointers = ["/id", "/a/b~1c/1/d", "/a/~0", "/n", "/list/2", "/list/0/0", "", "/a"];
    let strategy = damage("[\\[\\]{}\",:0-9a-z\\\\]{0,12}").prop_map(|damage| damaged(body.as_bytes(), damage));
    Target::of_bytes(strategy, move |text| {
        let strict = serde_json::from_slice::<Value>(text);
        for pointers in pointers.chunks(1).chain(pointers.chunks(3)) {
            let read = values_at(text, pointers.iter().copied());
            let is_syntax = matches!(read, Err(BodyError::Syntax { .. }));
            prop_assert!(strict.is_err() || !is_syntax);
            let (Ok(strict), Ok(read)) = (&strict, read) else { continue };
            for pointer in pointers {
                let scalar = |value: &&Value| !value.is_object() && !value.is_array() && !value.is_null();
                let expected = strict.pointer(pointer).filter(scalar);
                prop_assert_eq!(read.pointer(pointer).filter(scalar), expected, "{}", pointer);
            }
        }
        Ok(())
    })
}

/// A key set is damaged. What is read has a key, and verifies no token without a signature.
pub(crate) fn key_sets() -> Target {
    let scheme: Scheme = serde_json::from_value(json!({
        "signature": {"header": "authorization", "claims": [{"name": "sub", "values": ["{secret}"]}]},
        "algorithm": "ed25519", "keys": {"jwks": "https://a.example/keys"}, "assurance": "token",
    }))
    .unwrap();
    let secrets = [scheme.secret("a").unwrap()];
    let segment = |text: &str| Encoding::Base64url.encode(text.as_bytes());
    let token = format!(
        "{}.{}.{}",
        segment(r#"{"alg":"EdDSA"}"#),
        segment(r#"{"sub":"a","exp":9}"#),
        Encoding::Base64url.encode(&[1; 64])
    );
    let headers: HeaderMap = [(http::header::AUTHORIZATION, token.parse().unwrap())].into_iter().collect();
    let url = match scheme.verify(&Request::new(&headers, b""), &secrets, 0) {
        Err(SignatureError::KeyNeeded { url }) => url,
        other => panic!("no key needed: {other:?}"),
    };
    let file = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
    let strategy = damage("[\\[\\]{}\",:0-9a-zA-Z_-]{0,12}").prop_map(|damage| damaged(file.as_bytes(), damage));
    Target::of_bytes(strategy, move |file| {
        let Ok(keys) = url.read(file, Vec::new, 0) else { return Ok(()) };
        let strict: Value = serde_json::from_slice(file).unwrap();
        prop_assert!(strict["keys"].as_array().is_some_and(|keys| !keys.is_empty()));
        let keys = [Arc::new(keys)];
        let verified = scheme.verify(&Request::new(&headers, b"").with_keys(&keys), &secrets, 0);
        prop_assert!(verified.is_err(), "{verified:?}");
        Ok(())
    })
}
