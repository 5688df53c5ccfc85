//! Access tokens against jose (Node.js) and PyJWT: the verifier accepts what they make, and they accept what the
//! development key makes; both refuse what is changed, late or for another API.
//!
//! The packages are installed from `tests/peers/webhooks`.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sluicegate_webhook::{
    AccessTokens, DevelopmentKey, IssuerKeys, PublishedKeys, SKEW_S_DEFAULT, SignatureError, TokenAlgorithm,
};

use crate::support::root;
use crate::webhook_peers::Program;

const ISSUER: &str = "https://issuer.example.com";
const AUDIENCE: &str = "https://api.example.com";

fn now_unix_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    since.as_secs().try_into().expect("a time")
}

fn tokens() -> AccessTokens {
    AccessTokens {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: TokenAlgorithm::NAMES.into_iter().map(|(_, algorithm)| algorithm).collect(),
        keys: IssuerKeys::Jwks(format!("{ISSUER}/keys")),
        skew_s: SKEW_S_DEFAULT,
        principal: "/sub".to_owned(),
        scopes: vec!["/scope".to_owned()],
    }
}

/// Returns the principal of a token under this key, or the reason of its refusal.
fn verify(token: &str, jwk: &Value, now_unix_s: i64) -> Result<String, SignatureError> {
    let tokens = tokens();
    match tokens.verify(token.as_bytes(), &[], now_unix_s) {
        Err(SignatureError::KeyNeeded { url }) => {
            let set = json!({ "keys": [jwk] }).to_string();
            let keys: PublishedKeys = url.read(set.as_bytes(), Vec::new, now_unix_s).expect("a key set");
            tokens.verify(token.as_bytes(), &[Arc::new(keys)], now_unix_s).map(|accepted| accepted.principal)
        }
        result => result.map(|accepted| accepted.principal),
    }
}

fn key(algorithm: TokenAlgorithm) -> DevelopmentKey {
    use TokenAlgorithm as A;
    let private = match algorithm {
        A::ES256 => "p256",
        A::ES384 => "p384",
        A::EdDSA => "ed25519",
        _ => "rsa",
    };
    let path = root().join(format!("crates/cli/src/development/{private}.private.pem"));
    let private = std::fs::read_to_string(path).expect("the key");
    DevelopmentKey::read(algorithm, algorithm.name(), &private).expect("a key")
}

#[test]
#[ignore = "needs jose and PyJWT, which ./tests/run installs"]
fn jose_and_pyjwt_agree_about_access_tokens() {
    let now = now_unix_s();
    let claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "acme", "iat": now, "nbf": now, "exp": now + 300, "note": "Grüße / 😀",
    });
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    // Each algorithm with claims that are accepted, and ES256 with some that are not.
    let mut ours: Vec<(Value, bool)> = Vec::new();
    for (_, algorithm) in TokenAlgorithm::NAMES.into_iter().take(9) {
        let key = key(algorithm);
        ours.push((json!({ "token": key.token(&claims).expect("a token"), "jwk": key.jwk() }), true));
    }
    let es256 = key(TokenAlgorithm::ES256);
    for claims in [
        with("aud", json!("https://other.example.com")),
        with("iss", json!("https://evil.example.com")),
        with("exp", json!(now - 3_600)),
        with("nbf", json!(now + 3_600)),
    ] {
        ours.push((json!({ "token": es256.token(&claims).expect("a token"), "jwk": es256.jwk() }), false));
    }
    let forged = es256.token(&claims).expect("a token");
    let (text, _) = forged.rsplit_once('.').expect("three parts");
    let other = es256.token(&with("sub", json!("evil"))).expect("a token");
    let (_, tag) = other.rsplit_once('.').expect("three parts");
    ours.push((json!({ "token": format!("{text}.{tag}"), "jwk": es256.jwk() }), false));

    let sent: Vec<&Value> = ours.iter().map(|(entry, _)| entry).collect();
    let request = json!({ "claims": claims, "issuer": ISSUER, "audience": AUDIENCE, "tokens": sent });
    for (peer, program) in [("jose", Program::Node), ("PyJWT", Program::Python)] {
        let answer = program.ask("tokens", &request);
        for ((entry, expected), verified) in ours.iter().zip(answer["verified"].as_array().expect("a list")) {
            assert_eq!(verified, expected, "{peer}: {entry}");
            // The verifier here has the same verdict.
            let own = verify(entry["token"].as_str().expect("a token"), &entry["jwk"], now);
            assert_eq!(own.is_ok(), *expected, "{peer}: {entry}: {own:?}");
        }
        let made = answer["made"].as_array().expect("a list");
        assert_eq!(made.len(), 9, "{peer}");
        for entry in made {
            let (alg, token) = (&entry["alg"], entry["token"].as_str().expect("a token"));
            assert_eq!(verify(token, &entry["jwk"], now), Ok("acme".to_owned()), "{peer} {alg}");
            let expired = verify(token, &entry["jwk"], now + 3_600).map_err(|error| error.to_string());
            assert_eq!(expired, Err("the token has expired".to_owned()), "{peer} {alg}");
            let (text, tag) = token.rsplit_once('.').expect("three parts");
            let changed: String = tag.chars().rev().collect();
            assert!(verify(&format!("{text}.{changed}"), &entry["jwk"], now).is_err(), "{peer} {alg}");
        }
    }
}
