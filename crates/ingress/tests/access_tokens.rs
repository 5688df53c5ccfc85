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

/// The code of a request whose keys cannot be had.
fn unavailable() -> Answer {
    answer(503, "key_unavailable", "")
}

#[tokio::test]
async fn a_configuration_or_a_set_that_cannot_be_used_is_the_operators_fault() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let token = es256.token(&claims()).unwrap();
    let set = json!({ "keys": [es256.jwk()] }).to_string();
    let large = format!("{set}{}", " ".repeat(150_000));
    for (path, status, body) in [
        (DISCOVERY, 200, r#"{"issuer":"https://evil.example.com","jwks_uri":"https://keys.example.com/keys"}"#),
        (DISCOVERY, 200, r#"{"issuer":"https://issuer.example.com/tenant","jwks_uri":"http://keys.example.com/keys"}"#),
        (DISCOVERY, 200, "<html>"),
        (DISCOVERY, 302, ""),
        (DISCOVERY, 404, ""),
        (DISCOVERY, 500, ""),
        (JWKS, 200, "{}"),
        (JWKS, 200, &large),
        // A redirect is not followed, to whatever host.
        (JWKS, 301, &set),
        (JWKS, 307, ""),
        (JWKS, 503, ""),
    ] {
        let issuer = Issuer::start(&[&es256]).await;
        issuer.set(path, status, body);
        let ingress = ingress("[{ jwt: [] }]", &issuer);
        for _ in 0..3 {
            assert_eq!(send(&ingress, &with_token(&token)).await, unavailable(), "{path} {status} {body:.80}");
        }
        // The failure is remembered.
        let requests = issuer.requests();
        assert_eq!(requests.iter().filter(|asked| *asked == path).count(), 1, "{path} {status}: {requests:?}");
        assert_eq!(ingress.stored().len(), 0);
    }
}

#[tokio::test]
async fn an_unknown_key_is_fetched_once_a_minute_and_a_new_one_is_then_known() {
    let (old, new) = (key(TokenAlgorithm::ES256, "old"), key(TokenAlgorithm::EdDSA, "new"));
    let issuer = Issuer::start(&[&old]).await;
    let ingress = ingress("[{ jwt: [] }]", &issuer);
    let (by_old, by_new) = (with_token(&old.token(&claims()).unwrap()), with_token(&new.token(&claims()).unwrap()));
    assert_eq!(send(&ingress, &by_old).await, accepted());
    issuer.publish(&[&old, &new]);
    for _ in 0..50 {
        assert_eq!(send(&ingress, &by_new).await, invalid());
    }
    assert_eq!(issuer.requests(), [DISCOVERY, JWKS], "not within a minute");
    let ingress = ingress.at(NOW_UNIX_S + 61);
    for token in [&by_new, &by_old, &by_new] {
        assert_eq!(send(&ingress, token).await, accepted());
    }
    assert_eq!(issuer.requests(), [DISCOVERY, JWKS, JWKS]);
    // Made-up keys cause one request a minute.
    let ingress = ingress.at(NOW_UNIX_S + 130);
    for guess in 0..50 {
        let stranger = key(TokenAlgorithm::ES256, &format!("guess-{guess}"));
        assert_eq!(send(&ingress, &with_token(&stranger.token(&claims()).unwrap())).await, invalid());
    }
    assert_eq!(issuer.requests().len(), 4);
}

#[tokio::test]
async fn known_keys_are_used_while_the_issuer_is_down() {
    const HOUR_S: u64 = 3_600;
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let mut ingress = ingress("[{ jwt: [] }]", &issuer);
    let fresh = |at: u64| {
        let mut claims = claims();
        claims["exp"] = (at + 300).into();
        with_token(&es256.token(&claims).unwrap())
    };
    assert_eq!(send(&ingress, &fresh(NOW_UNIX_S)).await, accepted());
    issuer.set(DISCOVERY, 503, "");
    issuer.set(JWKS, 503, "");
    for hours in [1, 2, 24] {
        let at = NOW_UNIX_S + hours * HOUR_S;
        ingress = ingress.at(at);
        assert_eq!(send(&ingress, &fresh(at)).await, accepted(), "after {hours} h");
    }
    let at = NOW_UNIX_S + 25 * HOUR_S;
    ingress = ingress.at(at);
    assert_eq!(send(&ingress, &fresh(at)).await, unavailable(), "a day after the last refresh was due");
}

#[tokio::test]
async fn a_stampede_is_one_fetch() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let ingress = ingress("[{ jwt: [] }]", &issuer);
    let event = with_token(&es256.token(&claims()).unwrap());
    let answers = futures_util::future::join_all((0..50).map(|_| send(&ingress, &event))).await;
    assert!(answers.iter().all(|answer| *answer == accepted()));
    assert_eq!(issuer.requests(), [DISCOVERY, JWKS]);
}

#[tokio::test]
async fn a_request_that_cannot_pass_causes_no_fetch() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let ingress = ingress("[{ jwt: [] }]", &issuer);
    let missing = answer(401, "credentials_missing", r#"Bearer realm="jwt""#);
    let other = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        format!("Bearer {}", es256.token(&claims).unwrap())
    };
    for (authorization, expected) in [
        ("Basic YTpi".to_owned(), missing.clone()),
        ("Bearer".to_owned(), invalid()),
        ("Bearer ".to_owned(), invalid()),
        ("Bearer a.b.c".to_owned(), invalid()),
        ("Bearer dev-key".to_owned(), invalid()),
        ("BearerX a".to_owned(), missing),
        (other("iss", json!("https://evil.example.com")), invalid()),
        (other("aud", json!("https://other.example.com")), invalid()),
        (other("exp", json!(NOW_UNIX_S - 60)), invalid()),
        (other("sub", json!("")), invalid()),
    ] {
        let event = event(json!({ "content-type": "application/json", "authorization": authorization }));
        assert_eq!(send(&ingress, &event).await, expected, "{authorization}");
    }
    assert_eq!(issuer.requests(), [""; 0]);
    // The name of the scheme is not case-sensitive, and more than one space may follow it (RFC 9110, section 11.4).
    let token = es256.token(&claims()).unwrap();
    for authorization in [format!("bearer {token}"), format!("BEARER  {token}")] {
        let event = event(json!({ "content-type": "application/json", "authorization": authorization }));
        assert_eq!(send(&ingress, &event).await, accepted());
    }
    // A principal that no event can have.
    for sub in ["a\u{7}b", "\u{FDD0}", &"x".repeat(2_049)] {
        let token = other("sub", json!(sub));
        let event = event(json!({ "content-type": "application/json", "authorization": token }));
        assert_eq!(send(&ingress, &event).await, invalid(), "{sub:?}");
    }
}

#[tokio::test]
async fn a_missing_scope_is_403_with_the_needed_ones() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let ingress = ingress("[{ jwt: [orders.read, orders.admin] }]", &issuer);
    let scope = r#"scope="orders.read orders.admin""#;
    let none = event(json!({ "content-type": "application/json" }));
    let missing = format!(r#"Bearer realm="jwt", {scope}"#);
    assert_eq!(send(&ingress, &none).await, answer(401, "credentials_missing", &missing));
    let lacks = format!(r#"Bearer realm="jwt", error="insufficient_scope", {scope}"#);
    for (scopes, expected) in [
        ("orders.read orders.write", answer(403, "scope_missing", &lacks)),
        // A star is every scope of a key, and a name in a token.
        ("*", answer(403, "scope_missing", &lacks)),
        ("orders.admin orders.read", accepted()),
    ] {
        let mut claims = claims();
        claims["scope"] = scopes.into();
        assert_eq!(send(&ingress, &with_token(&es256.token(&claims).unwrap())).await, expected, "{scopes}");
    }
}

#[tokio::test]
async fn requirements_are_alternatives_of_all_their_members() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let token = es256.token(&claims()).unwrap();
    let schemes = format!("{BEARER}\n    key: {{ type: apiKey, in: header, name: x-api-key, x-secret: keys }}");
    let (bearer, api_key) = (r#"Bearer realm="jwt""#, r#"ApiKey header="x-api-key""#);
    let both = format!("{bearer}, {api_key}");
    let half_valid = format!(r#"{bearer}, error="invalid_token", {api_key}"#);
    let missing = |challenge: &str| answer(401, "credentials_missing", challenge);
    let refused = |challenge: &str| answer(401, "credentials_invalid", challenge);
    for (security, token, key, expected, principal) in [
        ("[{ jwt: [] }, { key: [] }]", true, None, accepted(), "acme"),
        ("[{ jwt: [] }, { key: [] }]", false, Some("good"), accepted(), "partner"),
        ("[{ key: [] }, { jwt: [] }]", true, Some("good"), accepted(), "partner"),
        ("[{ jwt: [] }, { key: [] }]", true, Some("bad"), accepted(), "acme"),
        ("[{ key: [] }, { jwt: [] }]", true, Some("bad"), accepted(), "acme"),
        ("[{ jwt: [] }, { key: [] }]", false, None, missing(&both), ""),
        ("[{ jwt: [] }, { key: [] }]", false, Some("bad"), refused(&both), ""),
        ("[{ jwt: [], key: [] }]", true, Some("good"), accepted(), "acme"),
        ("[{ key: [], jwt: [] }]", true, Some("good"), accepted(), "partner"),
        ("[{ jwt: [], key: [] }]", true, None, missing(&both), ""),
        ("[{ jwt: [], key: [] }]", false, Some("good"), missing(&both), ""),
        ("[{ jwt: [], key: [] }]", true, Some("bad"), refused(&both), ""),
        ("[{ jwt: [], key: [] }, {}]", true, Some("bad"), accepted(), "anonymous"),
        ("[{ jwt: [] }, {}]", false, None, accepted(), "anonymous"),
        ("[{ jwt: [] }, {}]", true, None, accepted(), "acme"),
        ("[{}, { jwt: [] }]", true, None, accepted(), "anonymous"),
        ("[]", true, None, accepted(), "anonymous"),
    ] {
        let issuer = Issuer::start(&[&es256]).await;
        let ingress = TestIngress::new(contract(security, &schemes, ""))
            .api_key("keys", "good", "partner", &[])
            .at(NOW_UNIX_S)
            .published_keys_at(&issuer.endpoint);
        let mut headers = json!({ "content-type": "application/json" });
        if token {
            headers["authorization"] = format!("Bearer {}", self::token(&es256)).into();
        }
        if let Some(key) = key {
            headers["x-api-key"] = key.into();
        }
        assert_eq!(send(&ingress, &event(headers.clone())).await, expected, "{security} {headers}");
        let stored = ingress.stored();
        assert_eq!(stored.first().and_then(|stored| stored.envelope.principal()).unwrap_or_default(), principal);
    }
    // Which of several is invalid is said, for the token as RFC 6750 has it.
    let issuer = Issuer::start(&[&es256]).await;
    let ingress = TestIngress::new(contract("[{ jwt: [], key: [] }]", &schemes, ""))
        .api_key("keys", "good", "partner", &[])
        .at(NOW_UNIX_S)
        .published_keys_at(&issuer.endpoint);
    let headers = json!({ "authorization": format!("Bearer {token}a"), "x-api-key": "good" });
    assert_eq!(send(&ingress, &event(headers)).await, refused(&half_valid));
}

fn token(key: &DevelopmentKey) -> String {
    key.token(&claims()).unwrap()
}

#[tokio::test]
async fn templates_take_the_principal_and_the_claims() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let enqueue = ", subject: '{principal}', group: '{claims#/org/id}', \
                   idempotency: { key: '{claims#/jti | header.idempotency-key}', required: true }";
    let ingress = TestIngress::new(contract("[{ jwt: [] }]", BEARER, enqueue)).at(NOW_UNIX_S);
    let ingress = ingress.published_keys_at(&issuer.endpoint);
    let with = |org: Value, jti: &str| {
        let mut claims = claims();
        (claims["org"], claims["jti"]) = (json!({ "id": org }), jti.into());
        with_token(&es256.token(&claims).unwrap())
    };
    for (org, group) in [(json!("o-1"), "o-1"), (json!(7), "7"), (json!(true), "true")] {
        assert_eq!(send(&ingress, &with(org, "j-1")).await, accepted());
        let stored = ingress.stored().pop().unwrap();
        let envelope = &stored.envelope;
        assert_eq!((envelope.subject(), stored.group.as_deref()), (Some("acme"), Some(group)));
        assert_eq!(envelope.idempotency_key(), Some("j-1"));
    }
    let refused = answer(403, "claim_invalid", "");
    for org in [json!(null), json!([]), json!({}), json!("a\nb"), json!("\u{FDD0}"), json!("x".repeat(2_049))] {
        assert_eq!(send(&ingress, &with(org.clone(), "j-1")).await, refused, "{org:.40}");
    }
    // Without `jti`, the header is the key.
    let mut claims = claims();
    claims["org"] = json!({ "id": "o" });
    let mut event = with_token(&es256.token(&claims).unwrap());
    assert_eq!(send(&ingress, &event).await, answer(400, "idempotency_key_invalid", ""));
    event["headers"]["idempotency-key"] = "k".into();
    assert_eq!(send(&ingress, &event).await, accepted());
}

#[tokio::test]
async fn callers_of_two_issuers_with_one_name_are_two() {
    let es256 = key(TokenAlgorithm::ES256, "k-1");
    let issuer = Issuer::start(&[&es256]).await;
    let other = "https://other.example.com";
    issuer.set(
        "/.well-known/openid-configuration",
        200,
        &json!({ "issuer": other, "jwks_uri": "https://k/keys" }).to_string(),
    );
    let schemes = format!(
        "{BEARER}\n    other: {{ type: openIdConnect, openIdConnectUrl: '{other}/.well-known/openid-configuration', x-jwt: {{ audience: '{AUDIENCE}' }} }}"
    );
    let enqueue = ", idempotency: { key: '{header.idempotency-key}' }";
    let contract = contract("[{ jwt: [] }, { other: [] }]", &schemes, enqueue);
    let ingress = TestIngress::new(contract).at(NOW_UNIX_S).published_keys_at(&issuer.endpoint);
    for iss in [ISSUER, other, ISSUER] {
        let mut claims = claims();
        claims["iss"] = iss.into();
        let mut event = with_token(&es256.token(&claims).unwrap());
        event["headers"]["idempotency-key"] = "k".into();
        assert_eq!(send(&ingress, &event).await, accepted(), "{iss}");
    }
    let stored: Vec<_> = ingress.stored().into_iter().map(|stored| stored.envelope.id().to_owned()).collect();
    assert_eq!((stored[0] == stored[1], stored[0] == stored[2]), (false, true), "{stored:?}");
}
