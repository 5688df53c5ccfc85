//! Routes that take the access tokens of an issuer: discovery, key sets, claims, scopes, and the answers to others.
//!
//! A server stands in for the issuer's hosts, and counts the requests.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;
use sluicegate_webhook::{DevelopmentKey, TokenAlgorithm};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const ISSUER: &str = "https://issuer.example.com/tenant";
const AUDIENCE: &str = "https://api.example.com";
const NOW_UNIX_S: u64 = 1_700_000_000;
const DISCOVERY: &str = "/tenant/.well-known/openid-configuration";
const JWKS: &str = "/keys";

/// A server with a document for each path, and the paths that were asked for.
#[derive(Clone)]
struct Issuer {
    endpoint: String,
    documents: Arc<Mutex<BTreeMap<String, (u16, String)>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    /// Starts an issuer with these keys.
    async fn start(keys: &[&DevelopmentKey]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { endpoint, documents: Arc::default(), requests: Arc::default() };
        issuer.configure(ISSUER, "https://keys.example.com/keys");
        issuer.publish(keys);
        let server = issuer.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    let (mut request, mut part) = (Vec::new(), [0; 1_024]);
                    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                        let length = socket.read(&mut part).await.unwrap();
                        request.extend_from_slice(&part[..length]);
                    }
                    let request = String::from_utf8(request).unwrap();
                    let path = request.split(' ').nth(1).unwrap().to_owned();
                    let found = server.documents.lock().unwrap().get(&path).cloned();
                    let (status, body) = found.unwrap_or((404, String::new()));
                    server.requests.lock().unwrap().push(path);
                    let head = format!("HTTP/1.1 {status} -\r\nlocation: https://evil.example.com/keys\r\n");
                    let answer = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
                    // A socket that is closed before the end of a large answer is not an error here.
                    drop(socket.write_all(answer.as_bytes()).await);
                });
            }
        });
        issuer
    }

    fn set(&self, path: &str, status: u16, body: &str) {
        self.documents.lock().unwrap().insert(path.to_owned(), (status, body.to_owned()));
    }

    fn configure(&self, issuer: &str, jwks_uri: &str) {
        self.set(DISCOVERY, 200, &json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string());
    }

    fn publish(&self, keys: &[&DevelopmentKey]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        self.set(JWKS, 200, &json!({ "keys": keys }).to_string());
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// Returns a development key of this algorithm.
fn key(algorithm: TokenAlgorithm, id: &str) -> DevelopmentKey {
    use TokenAlgorithm as A;
    let private = match algorithm {
        A::ES256 => include_str!("../../cli/src/development/p256.private.pem"),
        A::ES384 => include_str!("../../cli/src/development/p384.private.pem"),
        A::EdDSA => include_str!("../../cli/src/development/ed25519.private.pem"),
        _ => include_str!("../../cli/src/development/rsa.private.pem"),
    };
    DevelopmentKey::read(algorithm, id, private).unwrap()
}

const BEARER: &str = "jwt: { type: http, scheme: bearer, x-jwt: { issuer: 'https://issuer.example.com/tenant', \
                      audience: 'https://api.example.com' } }";

/// Returns a contract whose only route has this `security`, these schemes and these members of `x-sluicegate`.
fn contract(security: &str, schemes: &str, enqueue: &str) -> Contract {
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
         security: {security}\n      requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
         x-sluicegate: {{ queue: q, type: t{enqueue} }}\ncomponents:\n  securitySchemes:\n    {schemes}\n"
    );
    Contract::parse("take.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn ingress(security: &str, issuer: &Issuer) -> TestIngress {
    TestIngress::new(contract(security, BEARER, "")).at(NOW_UNIX_S).published_keys_at(&issuer.endpoint)
}

/// Returns the claims of an accepted token.
fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "exp": NOW_UNIX_S + 300, "scope": "orders.write orders.read" })
}

fn event(headers: Value) -> Value {
    json!({
        "version": "2.0", "rawPath": "/take", "rawQueryString": "", "headers": headers, "body": "{}",
        "isBase64Encoded": false,
        "requestContext": {
            "domainName": "api.example.com", "requestId": "r-1", "stage": "$default",
            "http": { "method": "POST", "path": "/take", "sourceIp": "192.0.2.1" },
        },
    })
}

fn with_token(token: &str) -> Value {
    event(json!({ "content-type": "application/json", "authorization": format!("Bearer {token}") }))
}

/// An answer: its status, code and challenge.
type Answer = (u64, String, String);

async fn send(ingress: &TestIngress, event: &Value) -> Answer {
    let answer = ingress.handle(&event.to_string()).await.unwrap();
    let body: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
    (
        answer["statusCode"].as_u64().unwrap(),
        body["code"].as_str().unwrap_or_default().to_owned(),
        answer["headers"]["www-authenticate"].as_str().unwrap_or_default().to_owned(),
    )
}

fn answer(status: u64, code: &str, challenge: &str) -> Answer {
    (status, code.to_owned(), challenge.to_owned())
}

fn accepted() -> Answer {
    answer(202, "", "")
}

fn invalid() -> Answer {
    answer(401, "credentials_invalid", r#"Bearer realm="jwt", error="invalid_token""#)
}

#[tokio::test]
async fn a_token_of_the_issuer_is_admitted_and_another_is_not() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let ingress = ingress("[{ jwt: [] }]", &issuer);
    assert_eq!(issuer.requests(), [""; 0], "nothing is fetched at the start");
    let none = event(json!({ "content-type": "application/json" }));
    assert_eq!(send(&ingress, &none).await, answer(401, "credentials_missing", r#"Bearer realm="jwt""#));
    assert_eq!(issuer.requests(), [""; 0], "nothing is fetched for a request without a token");
    let token = es256.token(&claims()).unwrap();
    for _ in 0..3 {
        assert_eq!(send(&ingress, &with_token(&token)).await, accepted());
    }
    assert_eq!(issuer.requests(), [DISCOVERY, JWKS]);
    let forged = key(TokenAlgorithm::ES256, "k-1").token(&claims()).unwrap();
    let (text, _) = forged.rsplit_once('.').unwrap();
    let (_, tag) = token.rsplit_once('.').unwrap();
    assert_eq!(send(&ingress, &with_token(&format!("{text}.{}{}", "AA", &tag[2..]))).await, invalid());
    let stored = ingress.stored();
    assert_eq!((stored.len(), stored[0].envelope.principal()), (3, Some("acme")));
}
