//! Content codings: decoded where the contract accepts them, within limits, and refused elsewhere.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{accepting, through_every_service};

/// Bodies that other implementations encoded: `python3 tests/vectors/codings.py`.
fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../vectors/codings.json")).unwrap()
}

fn operation(codings: &[&str]) -> Value {
    accepting(&["application/json", "text/plain"], json!({ "contentEncodings": codings, "payloadBytes": 200_000 }))
}

#[tokio::test]
async fn a_coding_that_the_contract_accepts_is_decoded() {
    let all = operation(&["gzip", "deflate", "br", "zstd"]);
    for vector in vectors().as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let body = BASE64_STANDARD.decode(vector["body"].as_str().unwrap()).unwrap();
        let headers = [("content-type", "text/plain"), ("content-encoding", vector["coding"].as_str().unwrap())];
        let text = vector["decoded"].as_str();
        let repeated = vector["repeated"].as_u64().map(|times| "x".repeat(usize::try_from(times).unwrap()));
        let decoded = text.map(str::to_owned).or(repeated);
        let (status, code) = (vector["status"].as_u64().unwrap(), vector["code"].as_str().unwrap_or_default());
        through_every_service(&all, &headers, &body, |service, answer, stored| {
            assert_eq!((answer.status, answer.code()), (status, code), "{service} {name}: {}", answer.body);
            assert_eq!(stored.len(), usize::from(status == 202), "{service} {name}");
            if let Some(stored) = stored.first() {
                assert_eq!(stored.payload(), decoded.as_deref().unwrap().as_bytes(), "{service} {name}");
            }
        })
        .await;
    }
}

#[tokio::test]
async fn another_coding_is_refused_with_the_accepted_ones() {
    for (accepted, sent, names) in [
        (&[][..], "gzip", "identity"),
        (&["gzip", "br"], "zstd", "gzip, br, identity"),
        (&["gzip"], "gzip, gzip", "gzip, identity"),
        (&["gzip"], "aes128gcm", "gzip, identity"),
    ] {
        let headers = [("content-type", "text/plain"), ("content-encoding", sent)];
        through_every_service(&operation(accepted), &headers, b"x", |service, answer, stored| {
            assert_eq!((answer.status, answer.code()), (415, "content_encoding_unsupported"), "{service} {sent}");
            assert_eq!(answer.header("accept-encoding"), Some(names), "{service} {sent}");
            assert!(stored.is_empty(), "{service} {sent}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_decoded_body_is_validated_and_named_by_what_it_says() {
    let vectors = vectors();
    let order = vectors.as_array().unwrap().iter().filter(|vector| vector["json"] == true);
    let mut ids = Vec::new();
    for vector in order {
        let mut operation = operation(&["gzip", "deflate", "br", "zstd"]);
        operation["requestBody"]["content"]["application/json"] =
            json!({ "schema": { "type": "object", "required": ["n"] } });
        operation["x-sluicegate"]["idempotency"] = json!({ "key": "{header.idempotency-key}" });
        operation["x-sluicegate"]["subject"] = "{body#/n}".into();
        operation["requestBody"]["content"].as_object_mut().unwrap().remove("text/plain");
        let headers = [
            ("content-type", "application/json"),
            ("content-encoding", vector["coding"].as_str().unwrap()),
            ("idempotency-key", "k"),
        ];
        let body = BASE64_STANDARD.decode(vector["body"].as_str().unwrap()).unwrap();
        let broker = super::Broker::default();
        let answered = super::post(&super::taking(&operation, &broker), 0, &headers, &body).await;
        assert_eq!(answered.status, 202, "{}", answered.body);
        assert_eq!(broker.envelopes()[0].subject(), Some("1"));
        ids.push(broker.envelopes()[0].id().to_owned());
    }
    assert_eq!(ids.len(), 4);
    ids.dedup();
    assert_eq!(ids.len(), 1, "the coding is not part of the request's identity");
}
