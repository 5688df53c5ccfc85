//! Access tokens with hostile headers and claims, under a valid signature, against an independent verdict.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};
use sluicegate_webhook::{AccessTokens, DevelopmentKey, IssuerKeys, SignatureError, TokenAlgorithm};

use super::run::Target;

const NOW_UNIX_S: i64 = 1_700_000_000;
const SKEW_S: u32 = 60;
const ISSUER: &str = "https://issuer.example.com";
const KEY_ID: &str = "k";
const PRIVATE: &str = include_str!("../../../cli/src/development/ed25519.private.pem");

fn accepted() -> AccessTokens {
    AccessTokens {
        issuer: ISSUER.to_owned(),
        audiences: vec!["api".to_owned(), "other".to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: vec![TokenAlgorithm::EdDSA, TokenAlgorithm::RS256],
        keys: IssuerKeys::Jwks(format!("{ISSUER}/keys")),
        skew_s: SKEW_S,
        principal: "/sub".to_owned(),
        scopes: vec!["/scope".to_owned()],
    }
}

/// Returns a member that is usually the right one, else one of these; `None` leaves it out.
fn usually(right: Value, others: &[Value]) -> impl Strategy<Value = Option<Value>> + use<> {
    let others = others.iter().cloned().map(Some).chain([None]).collect::<Vec<_>>();
    prop_oneof![4 => Just(Some(right)), 1 => select(others)]
}

/// Returns a time near the present, or one that is not a time.
fn time() -> impl Strategy<Value = Option<Value>> {
    let odd = select(vec![json!("1"), json!(null), json!([]), json!(-1), json!(1e300), json!(u64::MAX)]);
    prop_oneof![
        1 => Just(None),
        4 => (-200..200_i64).prop_map(|off| Some(json!(NOW_UNIX_S + off))),
        1 => odd.prop_map(Some),
    ]
}

pub(crate) fn access_tokens() -> Target {
    let (tokens, key) = (accepted(), DevelopmentKey::read(TokenAlgorithm::EdDSA, KEY_ID, PRIVATE).unwrap());
    let valid = json!({ "iss": ISSUER, "aud": "api", "sub": "acme", "exp": NOW_UNIX_S });
    let valid = key.token(&valid).unwrap();
    let Err(SignatureError::KeyNeeded { url }) = tokens.verify(valid.as_bytes(), &[], NOW_UNIX_S) else {
        panic!("no key needed");
    };
    let set = json!({ "keys": [key.jwk()] }).to_string();
    let keys = [Arc::new(url.read(set.as_bytes(), Vec::new, NOW_UNIX_S).unwrap())];
    assert!(tokens.verify(valid.as_bytes(), &keys, NOW_UNIX_S).is_ok());

    let header = (
        usually(json!("EdDSA"), &["Ed25519", "none", "HS256", "RS256", "ES256", "eddsa"].map(Value::from)),
        usually(
            json!("at+jwt"),
            &[json!("JWT"), json!("application/AT+jwt"), json!("logout+jwt"), json!(1), json!(null)],
        ),
        usually(json!(KEY_ID), &[json!("other"), json!(""), json!(1), json!(null)]),
        prop_oneof![6 => Just(None), 1 => Just(Some(json!(["exp"])))],
    );
    let claims = (
        usually(json!(ISSUER), &[json!("https://issuer.example.com/"), json!([ISSUER]), json!(null)]),
        usually(
            json!("api"),
            &[json!(["x", "other"]), json!(["x"]), json!([]), json!("ap"), json!({ "api": 1 }), json!(1)],
        ),
        usually(json!("acme"), &[json!(""), json!(7), json!(null), json!(["acme"])]),
        usually(
            json!(NOW_UNIX_S + 100),
            &[json!(NOW_UNIX_S - 60), json!(NOW_UNIX_S - 59), json!("9999999999"), json!(null)],
        ),
        time(),
        time(),
    );
    let damage = prop_oneof![4 => Just(None), 1 => (any::<Index>(), any::<u8>()).prop_map(Some)];
    let object = |members: &[(&str, &Option<Value>)]| -> Value {
        members.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.as_ref()?.clone()))).collect()
    };
    Target::new((header, claims, damage), move |((alg, typ, kid, crit), (iss, aud, sub, exp, nbf, iat), damage)| {
        let header = object(&[("alg", &alg), ("typ", &typ), ("kid", &kid), ("crit", &crit)]);
        let names = ["iss", "aud", "sub", "exp", "nbf", "iat"];
        let values = [&iss, &aud, &sub, &exp, &nbf, &iat];
        let claims = object(&names.into_iter().zip(values).collect::<Vec<_>>());
        let mut token = key.token_with(&header, &claims).unwrap().into_bytes();
        let untouched = token.clone();
        if let Some((at, byte)) = damage {
            let at = at.index(token.len());
            token[at] = byte;
        }
        let verified = tokens.verify(&token, &keys, NOW_UNIX_S).is_ok();
        let expected = is_header(&header) && are_claims(&claims);
        if token == untouched {
            prop_assert_eq!(verified, expected, "{} {}", header, claims);
        } else {
            // The last digit of base64 has bits that are not part of a byte, so another text can have the same bytes.
            prop_assert!(!verified || expected, "{}", String::from_utf8_lossy(&token));
        }
        Ok(())
    })
}

fn is_header(header: &Value) -> bool {
    let types = ["jwt", "at+jwt", "application/at+jwt"];
    let is_typed = |typ: &Value| typ.as_str().is_some_and(|typ| types.contains(&typ.to_lowercase().as_str()));
    [json!("EdDSA"), json!("Ed25519")].contains(&header["alg"])
        && header.get("typ").is_none_or(is_typed)
        && header.get("kid").is_none_or(|kid| kid == KEY_ID)
        && header.get("crit").is_none()
}

fn are_claims(claims: &Value) -> bool {
    let (now, skew) = (1_700_000_000.0, f64::from(SKEW_S));
    let is_ours = |audience: &Value| [json!("api"), json!("other")].contains(audience);
    let is_meant = is_ours(&claims["aud"]) || claims["aud"].as_array().is_some_and(|list| list.iter().any(is_ours));
    let begins = |name: &str| claims.get(name).is_none_or(|time| time.as_f64().is_some_and(|time| time - skew <= now));
    claims["iss"] == ISSUER
        && is_meant
        && claims["sub"].as_str().is_some_and(|sub| !sub.is_empty())
        && claims["exp"].as_f64().is_some_and(|exp| exp + skew > now)
        && begins("nbf")
        && begins("iat")
}
