//! Each scheme against the vectors in `tests/vectors/webhook`: published ones, computed ones, those that
//! providers' SDKs signed, and failing ones.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sluicegate_webhook::{Algorithm, Assurance, Provider, PublishedKeys, Request, Scheme, Secret, SignatureError};

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    scheme: String,
    name: String,
    secrets: Vec<String>,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    url: Option<String>,
    now_unix_s: i64,
    /// The expected error, or null for a valid request.
    error: Option<String>,
    /// The position of the secret that fits.
    #[serde(default)]
    secret: Option<usize>,
    /// The file at the URL of the published key.
    #[serde(default)]
    key: Option<String>,
    /// The audience in the contract.
    #[serde(default)]
    audience: Vec<String>,
    /// If present: signing as this id with the first secret gives exactly these headers.
    signed_as: Option<String>,
}

impl Vector {
    fn scheme(&self) -> Scheme {
        let provider = Provider::named(&self.scheme).unwrap_or_else(|| panic!("no provider {}", self.scheme));
        let mut scheme = provider.scheme.clone();
        if let Some(open) = scheme.open_claim() {
            open.values.clone_from(&self.audience);
        }
        scheme
    }

    /// Verifies a request, with the published key if one is needed.
    fn verify(
        &self,
        scheme: &Scheme,
        request: &Request<'_>,
        secrets: &[Secret],
        now_unix_s: i64,
    ) -> Result<sluicegate_webhook::Verified, SignatureError> {
        match scheme.verify(request, secrets, now_unix_s) {
            Err(SignatureError::KeyNeeded { url }) => {
                let file = self.key.as_ref().unwrap_or_else(|| panic!("{}: {} needs a key", self.scheme, self.name));
                let keys = url.read(file.as_bytes(), Vec::new, self.now_unix_s).unwrap();
                let keys: [Arc<PublishedKeys>; 1] = [Arc::new(keys)];
                scheme.verify(&request.with_keys(&keys), secrets, now_unix_s)
            }
            result => result,
        }
    }

    fn secrets(&self) -> Vec<Secret> {
        self.secrets.iter().map(|text| self.scheme().secret(text).unwrap()).collect()
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (header, value) in &self.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            headers.append(header.parse::<HeaderName>().unwrap(), value);
        }
        headers
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(base64)) => STANDARD.decode(base64).unwrap(),
            _ => panic!("{}: {} needs one body", self.scheme, self.name),
        }
    }

    fn request<'r>(&'r self, headers: &'r HeaderMap, body: &'r [u8]) -> Request<'r> {
        let method = self.method.as_deref().unwrap_or("POST");
        Request::new(headers, body).at(method, self.url.as_deref().unwrap_or_default())
    }
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

fn vectors() -> Vec<Vector> {
    let files =
        ["github", "standard-webhooks", "published", "computed", "sdk", "message-signatures", "certificates", "tokens"];
    files.iter().flat_map(|file| read::<File>(&format!("webhook/{file}.json")).vectors).collect()
}

#[test]
fn every_vector_has_its_result() {
    for vector in vectors() {
        let (name, headers, body) = (format!("{}: {}", vector.scheme, vector.name), vector.headers(), vector.body());
        let (scheme, secrets) = (vector.scheme(), vector.secrets());
        let result = vector.verify(&scheme, &vector.request(&headers, &body), &secrets, vector.now_unix_s);
        assert_eq!(result.clone().err().map(|error| error.to_string()), vector.error, "{name}");
        if vector.secret.is_some() {
            assert_eq!(result.map(|verified| verified.secret).ok(), vector.secret, "{name}");
        }
        if let Some(id) = &vector.signed_as {
            let unsigned = HeaderMap::new();
            let signed = scheme.sign(&secrets[0], id, vector.now_unix_s, &vector.request(&unsigned, &body)).unwrap();
            assert_eq!(signed, vector.headers, "{name}");
        }
    }
}

#[test]
fn every_provider_has_a_valid_vector_and_a_scheme_without_faults() {
    let vectors = vectors();
    let valid: BTreeSet<&str> =
        vectors.iter().filter(|vector| vector.error.is_none()).map(|vector| vector.scheme.as_str()).collect();
    let mut slugs = BTreeSet::new();
    assert!(Provider::all().len() > 60, "the catalog has {} providers", Provider::all().len());
    for Provider { slug, scheme, docs, .. } in Provider::all() {
        assert!(valid.contains(slug.as_str()), "{slug} has no vector");
        assert!(slugs.insert(slug), "{slug} is there twice");
        assert_eq!(scheme.faults(), [], "{slug}");
        assert!(docs.starts_with("https://"), "{slug}");
        let text = serde_json::to_string(scheme).unwrap();
        assert_eq!(&serde_json::from_str::<Scheme>(&text).unwrap(), scheme, "{slug} is written as it was read");
    }
}

/// A request that is changed, late or signed with another secret is refused for each provider.
#[test]
fn no_altered_request_passes() {
    for vector in vectors().iter().filter(|vector| vector.error.is_none()) {
        let (scheme, secrets, headers, body) = (vector.scheme(), vector.secrets(), vector.headers(), vector.body());
        let name = format!("{}: {}", vector.scheme, vector.name);
        let verify = |headers: &HeaderMap, body: &[u8], secrets: &[Secret], now_unix_s: i64| {
            vector.verify(&scheme, &vector.request(headers, body), secrets, now_unix_s)
        };
        let now = vector.now_unix_s;

        assert_eq!(verify(&headers, &body, &[], now), Err(SignatureError::Mismatch), "{name}: without a secret");
        let other = match scheme.algorithm {
            algorithm if scheme.keys.is_none() && algorithm.has_public_key() => None,
            _ => Some(other_secret(&vector.secrets[vector.secret.unwrap_or_default()])),
        };
        if let Some(other) = other {
            let other = [scheme.secret(&other).unwrap()];
            assert_eq!(verify(&headers, &body, &other, now), Err(SignatureError::Mismatch), "{name}: another secret");
        }
        if scheme.algorithm != Algorithm::Token {
            for at in 0..body.len() {
                let mut altered = body.clone();
                altered[at] ^= 1;
                let partial = scheme.signature.body.is_some() || scheme.assurance == Assurance::Token;
                assert!(partial || verify(&headers, &altered, &secrets, now).is_err(), "{name}: byte {at}");
            }
        }
        if let Some(timestamp) = &scheme.timestamp {
            let limits = [(timestamp.past_seconds, 1), (timestamp.future_seconds, -1)];
            for (limit, direction) in limits.into_iter().filter_map(|(limit, direction)| Some((limit?, direction))) {
                let limit = i64::try_from(limit).unwrap();
                let late = verify(&headers, &body, &secrets, now + direction * (limit + 600));
                let expected = |error: &SignatureError| {
                    matches!(error, SignatureError::TimestampTooOld { .. } | SignatureError::TimestampTooNew { .. })
                };
                assert!(late.as_ref().is_err_and(expected), "{name}: {late:?}");
            }
        }
        // Each header that verification reads is needed, and is refused if it is there twice.
        for header in headers.keys() {
            let mut without = headers.clone();
            without.remove(header);
            if verify(&without, &body, &secrets, now).is_err() {
                let mut twice = headers.clone();
                twice.append(header, headers[header].clone());
                assert!(verify(&twice, &body, &secrets, now).is_err(), "{name}: {header} twice");
            }
        }
    }
}

/// Returns another secret of the same form: one letter in the middle is changed.
fn other_secret(secret: &str) -> String {
    let middle = secret.len() / 2;
    let other = if secret[middle..].starts_with('B') { "C" } else { "B" };
    format!("{}{other}{}", &secret[..middle], &secret[middle + 1..])
}

/// A request signed by this crate is verified by it, for each provider that it can sign for.
#[test]
fn a_signed_request_is_valid() {
    let mut signed = 0;
    // A vector has the public key of a provider with a key pair.
    let has_secret = |vector: &&Vector| vector.error.is_none() && !vector.scheme().algorithm.has_public_key();
    for vector in vectors().iter().filter(has_secret) {
        let (scheme, secrets, mut headers, body) = (vector.scheme(), vector.secrets(), vector.headers(), vector.body());
        let key = secrets[vector.secret.unwrap_or_default()].clone().into();
        let now = vector.now_unix_s;
        let new = scheme.sign_request(&key, "m1", now, &vector.request(&headers, &body));
        let new = new.unwrap_or_else(|error| panic!("{}: {}: {error}", vector.scheme, vector.name));
        let body = new.body.unwrap_or(body);
        for name in scheme.signature.header.iter().chain(scheme.id.iter()) {
            headers.remove(name.replacen("{n}", "1", 1));
            headers.remove(name.replacen("{n}", "2", 1));
        }
        if let Some(timestamp) = &scheme.timestamp {
            timestamp.header.iter().for_each(|name| drop(headers.remove(name)));
        }
        for (name, value) in new.headers {
            headers.insert(HeaderName::try_from(name).unwrap(), value.parse().unwrap());
        }
        let verified = scheme.verify(&vector.request(&headers, &body), &secrets, now);
        assert!(verified.is_ok(), "{}: {}: {verified:?}", vector.scheme, vector.name);
        signed += 1;
    }
    assert!(signed > 50, "{signed}");
}

#[test]
fn a_secret_is_parsed_in_the_form_its_provider_shows() {
    for SecretVector { scheme, secret, error } in read::<Vec<_>>("webhook-secrets.json") {
        let read = Provider::named(&scheme).unwrap().scheme.secret(&secret);
        assert_eq!(read.err().map(|refusal| refusal.to_string()), error, "{scheme}: {secret:?}");
    }
}

#[test]
fn a_secret_never_shows() {
    for (scheme, text) in
        [("github", "hush"), ("standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), ("okta", "hush")]
    {
        let secret = Provider::named(scheme).unwrap().scheme.secret(text).unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}

#[test]
fn an_id_or_time_that_verify_refuses_is_not_signed() {
    let check = |scheme: &str, id: &str, at_unix_s: i64, error: Option<&str>| {
        let scheme = &Provider::named(scheme).unwrap().scheme;
        let secret = scheme.secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = scheme.sign(&secret, id, at_unix_s, &Request::new(&HeaderMap::new(), b"{}"));
        assert_eq!(signed.err().map(|error| error.to_string()).as_deref(), error, "{id:?} {at_unix_s}");
    };
    for id in ["", "msg.1", "msg\n1", "msg\u{7f}"] {
        check("standard-webhooks", id, 7, Some(&format!("the id cannot be signed: {id:?}")));
        check("github", id, 7, None);
    }
    check("standard-webhooks", "msg_1", -1, Some("the time cannot be written: -1 s"));
    check("standard-webhooks", "msg_1", 0, None);
    check("twitch", "msg_1", i64::MAX, Some("the time cannot be written: 9223372036854775807 s"));
    check("github", "", -1, None);
}
