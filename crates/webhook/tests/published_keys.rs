//! Published keys: the files at their URLs, the primitives, and the requests that must not cause a fetch.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sluicegate_webhook::{KeyUrl, Provider, Request, Scheme, SignatureError};

fn read<T: DeserializeOwned>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/webhook").join(file);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Returns a message that SNS signed, its certificate, and the time of signing.
fn message(position: usize) -> (Value, String, i64) {
    let vectors: Value = read("certificates.json");
    let vector = &vectors["vectors"][position];
    let body = serde_json::from_str(vector["body"].as_str().unwrap()).unwrap();
    (body, vector["key"].as_str().unwrap().to_owned(), vector["now_unix_s"].as_i64().unwrap())
}

const TOPIC: &str = "arn:aws:sns:us-west-2:131990247566:dongie-standard-topic";

/// Verifies a message of SNS for one allowed topic, without its key.
fn verify(body: &str, topic: &str, now_unix_s: i64) -> SignatureError {
    let sns = &Provider::named("sns").unwrap().scheme;
    let secrets = [sns.secret(topic).unwrap()];
    sns.verify(&Request::new(&HeaderMap::new(), body.as_bytes()), &secrets, now_unix_s).unwrap_err()
}

fn key_url() -> KeyUrl {
    let (body, _, now_unix_s) = message(0);
    match verify(&body.to_string(), TOPIC, now_unix_s) {
        SignatureError::KeyNeeded { url } => url,
        error => panic!("{error}"),
    }
}

#[test]
fn only_a_certificate_of_the_provider_is_read() {
    #[derive(Deserialize)]
    struct Files {
        files: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        name: String,
        file: String,
        root: String,
        now_unix_s: i64,
        /// The beginning of the error.
        error: Option<String>,
    }
    let url = key_url();
    for File { name, file, root, now_unix_s, error } in read::<Files>("certificate-files.json").files {
        let base64: String = root.lines().filter(|line| !line.starts_with("-----")).collect();
        let roots = || vec![STANDARD.decode(base64).unwrap(), b"not a certificate".to_vec()];
        let found = url.read(file.as_bytes(), roots, now_unix_s).map(drop).map_err(|error| error.to_string());
        match error {
            None => assert_eq!(found, Ok(()), "{name}"),
            Some(error) => assert!(found.as_ref().is_err_and(|found| found.starts_with(&error)), "{name}: {found:?}"),
        }
    }
}

/// The real certificate of SNS, valid from 10 November 2025 to 14 October 2026.
#[test]
fn a_certificate_counts_while_it_is_valid() {
    let (body, pem, signed_at) = message(0);
    let (url, sns) = (key_url(), &Provider::named("sns").unwrap().scheme);
    assert_eq!((url.host(), url.is_key_set()), ("sns.us-west-2.amazonaws.com", false));
    let (from, to) = (1_762_732_800, 1_792_022_399);
    for (now_unix_s, valid) in [(from - 1, false), (from, true), (to, true), (to + 1, false)] {
        assert_eq!(url.read(pem.as_bytes(), Vec::new, now_unix_s).is_ok(), valid, "{now_unix_s}");
    }
    let keys = [Arc::new(url.read(pem.as_bytes(), Vec::new, signed_at).unwrap())];
    let (secrets, body) = ([sns.secret(TOPIC).unwrap()], body.to_string());
    let request = HeaderMap::new();
    let request = Request::new(&request, body.as_bytes()).with_keys(&keys);
    assert!(sns.verify(&request, &secrets, to).is_ok());
    assert_eq!(sns.verify(&request, &secrets, to + 1), Err(SignatureError::KeyExpired));
}

/// A damaged file is refused or read, without a panic; with another byte in the key it does not verify.
#[test]
fn no_damaged_certificate_is_taken_for_another() {
    let (body, pem, now_unix_s) = message(0);
    let (url, sns, body) = (key_url(), &Provider::named("sns").unwrap().scheme, body.to_string());
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(base64).unwrap();
    let read = |der: &[u8]| {
        let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der));
        url.read(pem.as_bytes(), Vec::new, now_unix_s)
    };
    let mut fits = 0;
    for at in 0..der.len() {
        let mut damaged = der.clone();
        damaged[at] ^= 0x11;
        assert!(read(&der[..at]).is_err(), "cut at {at}");
        if let Ok(keys) = read(&damaged) {
            let (keys, headers) = ([Arc::new(keys)], HeaderMap::new());
            let request = Request::new(&headers, body.as_bytes()).with_keys(&keys);
            fits += usize::from(sns.verify(&request, &[sns.secret(TOPIC).unwrap()], now_unix_s).is_ok());
        }
    }
    // What is left is the issuer's part, which is not proven without its chain, and the digits of the dates.
    assert!((1..der.len()).contains(&fits), "{fits} of {}", der.len());
}

/// A request that cannot be valid is refused without its key.
#[test]
fn a_refused_request_asks_for_no_key() {
    let change = |name: &str, value: Value| {
        let (mut body, _, now_unix_s) = message(1);
        match value {
            Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
            value => body[name] = value,
        }
        verify(&body.to_string(), TOPIC, now_unix_s)
    };
    let missing = |place: &str| SignatureError::Missing { place: format!("{place} in the body") };
    assert!(matches!(change("None", Value::Null), SignatureError::KeyNeeded { .. }));
    assert_eq!(change("TopicArn", json!(format!("{TOPIC}2"))), SignatureError::Mismatch);
    assert_eq!(change("TopicArn", Value::Null), SignatureError::Mismatch);
    assert_eq!(change("SignatureVersion", json!("3")), SignatureError::Algorithm);
    assert_eq!(change("SignatureVersion", Value::Null), missing("/SignatureVersion"));
    assert_eq!(change("SigningCertURL", Value::Null), missing("/SigningCertURL"));
    assert!(matches!(change("Message", Value::Null), SignatureError::NoText { .. }));
    assert!(matches!(change("MessageId", json!("1\nSubject\n2")), SignatureError::NoText { .. }));
    assert_eq!(change("Signature", Value::Null), missing("the signature at /Signature"));
    for url in [
        "https://sns.us-west-2.amazonaws.com.evil.com/a.pem",
        "https://evil.com/a.pem",
        "http://sns.us-west-2.amazonaws.com/a.pem",
        "https://user@sns.us-west-2.amazonaws.com/a.pem",
        "https://sns.us-west-2.amazonaws.com:8443/a.pem",
        "https://sns.us-west-2.amazonaws.com/a%2epem",
        "https://sns.us-west-2.amazonaws.com/a.txt",
    ] {
        assert!(matches!(change("SigningCertURL", json!(url)), SignatureError::KeyUrl { .. }), "{url}");
    }
    // A second member, before or after the signed one.
    let (body, _, now_unix_s) = message(1);
    let body = body.to_string();
    for twice in [body.replacen('{', r#"{"Message":"other","#, 1), body.replacen('}', r#","MessageId":"2"}"#, 1)] {
        assert_ne!(twice, body);
        assert_eq!(verify(&twice, TOPIC, now_unix_s), SignatureError::DuplicateMember);
    }
    // Raw message delivery: the message of the publisher, unsigned.
    assert_eq!(verify(r#"{"order":1}"#, TOPIC, 0), missing("the signature at /Signature"));
    assert_eq!(verify("text", TOPIC, 0), missing("the signature at /Signature"));
}

/// The other version's digest is not accepted: the version is not signed.
#[test]
fn a_changed_signature_version_does_not_fit() {
    for position in 0..4 {
        let (mut body, pem, now_unix_s) = message(position);
        let sns = &Provider::named("sns").unwrap().scheme;
        let keys = [Arc::new(key_url().read(pem.as_bytes(), Vec::new, now_unix_s).unwrap())];
        let mut fits = |change: &[(&str, &str)]| {
            for (name, value) in change {
                body[*name] = (*value).into();
            }
            let (body, headers) = (body.to_string(), HeaderMap::new());
            let request = Request::new(&headers, body.as_bytes()).with_keys(&keys);
            sns.verify(&request, &[sns.secret(TOPIC).unwrap()], now_unix_s).is_ok()
        };
        assert!(fits(&[]), "{position}");
        let other = if position == 0 || position == 3 { "1" } else { "2" };
        assert!(!fits(&[("SignatureVersion", other)]), "{position}");
    }
}

#[test]
fn signatures_of_openssl_fit() {
    let vectors: Value = read("rsa.json");
    let vectors = vectors["vectors"].as_array().unwrap();
    for vector in vectors {
        let scheme = json!({
            "signature": {"header": "x-signature", "encoding": "base64"}, "algorithm": vector["algorithm"],
            "secret": {"encoding": "spki"},
        });
        let valid = fits(&scheme, vector["key"].as_str().unwrap(), &vector["signature"], &vector["body"]);
        assert_eq!(Value::from(valid), vector["valid"], "{}", vector["algorithm"]);
    }
    assert_eq!(vectors.len(), 5);
}

fn fits(scheme: &Value, key: &str, signature: &Value, body: &Value) -> bool {
    let scheme: Scheme = serde_json::from_value(scheme.clone()).unwrap();
    assert_eq!(scheme.faults(), []);
    let mut headers = HeaderMap::new();
    headers.insert("x-signature", signature.as_str().unwrap().parse().unwrap());
    let request = Request::new(&headers, body.as_str().unwrap().as_bytes());
    scheme.verify(&request, &[scheme.secret(key).unwrap()], 0).is_ok()
}

/// RFC 7515, appendices A.2 and A.3, and RFC 8037, appendix A.4: the signing input as the body.
#[test]
fn signatures_of_the_rfcs_fit() {
    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"});
    let ec = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let okp = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    for (algorithm, key, text, signature) in [
        (
            "rsa-pkcs1-sha256",
            &rsa,
            format!("eyJhbGciOiJSUzI1NiJ9.{CLAIMS}"),
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            "ecdsa-p256-fixed",
            &ec,
            format!("eyJhbGciOiJFUzI1NiJ9.{CLAIMS}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            "ed25519",
            &okp,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        let scheme = json!({
            "signature": {"header": "x-signature", "encoding": "base64url"}, "algorithm": algorithm,
            "secret": {"encoding": "jwk"},
        });
        let fits = |text: &str| fits(&scheme, &key.to_string(), &signature.into(), &text.into());
        assert!(fits(&text) && !fits(&text.replacen('e', "f", 1)), "{algorithm}");
    }
}

#[test]
fn a_key_for_something_else_is_no_secret() {
    let plaid = &Provider::named("plaid").unwrap().scheme;
    let vectors: Value = read("tokens.json");
    let key: Value = serde_json::from_str(vectors["vectors"][0]["secrets"][0].as_str().unwrap()).unwrap();
    let with = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        plaid.secret(&key.to_string())
    };
    assert!(plaid.secret(&key.to_string()).is_ok() && with("alg", Value::Null).is_ok());
    for (name, value) in [
        ("use", json!("enc")),
        ("alg", json!("RS256")),
        ("kty", json!("RSA")),
        ("crv", json!("P-384")),
        ("x", json!("AA")),
        ("y", Value::Null),
        ("d", json!("AA")),
    ] {
        assert!(with(name, value).is_err(), "{name}");
    }
    for text in ["{}", "[]", "text", "{"] {
        let error = plaid.secret(text).unwrap_err().to_string();
        assert!(error.starts_with("the secret is not a public JSON Web Key"), "{text}: {error}");
    }
}

#[test]
fn a_set_without_a_usable_key_is_refused() {
    let scheme: Scheme = serde_json::from_value(json!({
        "signature": {"header": "authorization", "claims": [{"name": "sub", "values": ["{secret}"]}]},
        "algorithm": "ed25519", "keys": {"jwks": "https://a.example/keys"}, "assurance": "token",
    }))
    .unwrap();
    assert_eq!(scheme.faults(), []);
    let token = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
    let mut headers = HeaderMap::new();
    let value = format!("{}.{}.AA", token(r#"{"alg":"EdDSA"}"#), token(r#"{"sub":"a","exp":9}"#));
    headers.insert("authorization", value.parse().unwrap());
    let (request, secrets) = (Request::new(&headers, b""), [scheme.secret("a").unwrap()]);
    let Err(SignatureError::KeyNeeded { url }) = scheme.verify(&request, &secrets, 0) else { panic!("no key needed") };
    assert!(url.is_key_set());
    let key = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    for (file, error) in [
        ("", "it is not JSON with a list of keys"),
        (r#"{"keys":{}}"#, "it is not JSON with a list of keys"),
        (r#"{"keys":[]}"#, "it has no key for signatures"),
        (r#"{"keys":[1,{},{"kty":"oct","k":"AA"}]}"#, "it has no key for signatures"),
        (&format!(r#"{{"keys":[{}]}}"#, vec![key; 33].join(",")), "it has too many keys"),
    ] {
        let found = url.read(file.as_bytes(), Vec::new, 0).unwrap_err().to_string();
        assert_eq!(found, format!("the file is not a JSON Web Key Set: {error}"));
    }
    // A token without the id of its key is accepted only by a set of one.
    let verify = |keys: &str| {
        let keys = [Arc::new(url.read(keys.as_bytes(), Vec::new, 0).unwrap())];
        scheme.verify(&request.with_keys(&keys), &secrets, 0)
    };
    assert_eq!(verify(&format!(r#"{{"keys":[{key}]}}"#)), Err(SignatureError::Mismatch));
    let error = SignatureError::Claims { reason: "does not name its key" };
    assert_eq!(verify(&format!(r#"{{"keys":[{key},{key}]}}"#)), Err(error));
}

#[test]
fn a_scheme_with_published_keys_is_tied_to_its_user() {
    let sns = serde_json::to_value(&Provider::named("sns").unwrap().scheme).unwrap();
    let faults = |pointer: &str, value: Value| {
        let mut scheme = sns.clone();
        *scheme.pointer_mut(pointer).unwrap() = value;
        let faults = serde_json::from_value::<Scheme>(scheme).unwrap().faults();
        faults.into_iter().map(|(pointer, _)| pointer).collect::<Vec<_>>()
    };
    assert_eq!(faults("/json", json!(false)), Vec::<String>::new());
    assert_eq!(faults("/secret", json!({})), ["/secret"]);
    assert_eq!(faults("/secret", json!({"encoding": "hex", "equals": "/TopicArn"})), ["/secret/encoding"]);
    assert_eq!(faults("/algorithm", json!("rsa-pkcs1-sha1")), ["/algorithm"]);
    assert_eq!(faults("/algorithm", json!("hmac-sha256")), ["/algorithm"]);
    assert_eq!(faults("/algorithmBy/values", json!([["1", "token"]])), ["/algorithmBy/values"]);
    assert_eq!(faults("/algorithmBy/body", Value::Null), ["/algorithmBy"]);
    assert_eq!(faults("/keys/certificate/hosts", json!([])), ["/keys/certificate/hosts"]);
    assert_eq!(faults("/keys/certificate/body", Value::Null), ["/keys/certificate"]);
    let jwks = faults("/keys", json!({"jwks": "http://a.example"}));
    assert_eq!(jwks, ["/handshakes/0/visits", "/keys", "/keys/jwks"]);
    assert_eq!(faults("/handshakes/0/signed", json!(false)), ["/handshakes/0/visits"]);
    assert_eq!(faults("/assurance", json!("signed")), ["/assurance"]);
    // A token is tied by a claim alone.
    let token = json!({
        "signature": {"header": "authorization", "claims": [{"name": "iss", "values": ["a"]}]}, "algorithm": "ed25519",
        "signed": "{secret}", "secret": {"equals": "/a"}, "keys": {"jwks": "https://a.example"}, "assurance": "token",
    });
    let pointers: Vec<_> =
        serde_json::from_value::<Scheme>(token).unwrap().faults().into_iter().map(|(at, _)| at).collect();
    assert_eq!(pointers, ["/secret"]);
    let none = faults("/keys", Value::Null);
    assert_eq!(none, ["/handshakes/0/visits", "/secret/encoding", "/algorithmBy", "/keys"]);
}
