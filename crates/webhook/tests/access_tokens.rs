//! Access tokens: the examples of the RFCs, every algorithm, the claims, and the ways to confuse a verifier.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL};
use ring::hmac;
use serde_json::{Value, json};
use sluicegate_webhook::{
    AcceptedToken, AccessTokens, DevelopmentKey, IssuerKeys, KeyUrl, PublishedKeys, SignatureError, TokenAlgorithm,
};

const ISSUER: &str = "https://issuer.example.com";
const JWKS: &str = "https://issuer.example.com/keys";
const NOW_UNIX_S: i64 = 1_700_000_000;

fn all() -> Vec<TokenAlgorithm> {
    TokenAlgorithm::NAMES.into_iter().map(|(_, algorithm)| algorithm).collect()
}

fn tokens() -> AccessTokens {
    AccessTokens {
        issuer: ISSUER.to_owned(),
        audiences: vec!["api".to_owned(), "api-2".to_owned()],
        audience_claim: "aud".to_owned(),
        algorithms: all(),
        keys: IssuerKeys::Jwks(JWKS.to_owned()),
        skew_s: 60,
        principal: "/sub".to_owned(),
        scopes: vec!["/scope".to_owned(), "/scp".to_owned()],
    }
}

fn key(algorithm: TokenAlgorithm) -> DevelopmentKey {
    use TokenAlgorithm as A;
    let private = match algorithm {
        A::ES256 => include_str!("../../cli/src/development/p256.private.pem"),
        A::ES384 => include_str!("../../cli/src/development/p384.private.pem"),
        A::EdDSA => include_str!("../../cli/src/development/ed25519.private.pem"),
        _ => include_str!("../../cli/src/development/rsa.private.pem"),
    };
    DevelopmentKey::read(algorithm, algorithm.name(), private).unwrap()
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "api", "sub": "acme", "exp": NOW_UNIX_S + 300, "iat": NOW_UNIX_S, "nbf": NOW_UNIX_S })
}

/// Returns the claims with another value of one; `null` removes it.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// Verifies a token with this key set.
fn verify(tokens: &AccessTokens, token: &str, set: &Value) -> Result<AcceptedToken, SignatureError> {
    let mut keys: Vec<Arc<PublishedKeys>> = Vec::new();
    loop {
        match tokens.verify(token.as_bytes(), &keys, NOW_UNIX_S) {
            Err(SignatureError::KeyNeeded { url }) if !keys.iter().any(|keys| keys.url() == url.as_str()) => {
                keys.push(Arc::new(read(&url, set).unwrap()));
            }
            result => return result,
        }
    }
}

fn read(url: &KeyUrl, file: &Value) -> Result<PublishedKeys, sluicegate_webhook::KeyError> {
    url.read(file.to_string().as_bytes(), Vec::new, NOW_UNIX_S)
}

/// Returns why a token is refused; empty if it is accepted.
fn refusal(tokens: &AccessTokens, token: &str, set: &Value) -> String {
    verify(tokens, token, set).map_or_else(|error| error.to_string(), |_| String::new())
}

#[test]
fn every_algorithm_verifies_what_it_signs() {
    for algorithm in all() {
        let key = key(algorithm);
        let token = key.token(&claims()).unwrap();
        let set = json!({ "keys": [key.jwk()] });
        let accepted = verify(&tokens(), &token, &set).unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        assert_eq!((accepted.principal.as_str(), &accepted.claims), ("acme", &claims()), "{algorithm:?}");
        // Each byte of the claims and of the signature counts.
        let (text, tag) = token.rsplit_once('.').unwrap();
        let other = key.token(&with("sub", json!("evil"))).unwrap();
        let (_, other_tag) = other.rsplit_once('.').unwrap();
        assert_eq!(verify(&tokens(), &format!("{text}.{other_tag}"), &set), Err(SignatureError::Mismatch));
        let mut bytes = BASE64URL.decode(tag).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            bytes[at] ^= 1;
            let token = format!("{text}.{}", BASE64URL.encode(&bytes));
            assert_eq!(verify(&tokens(), &token, &set), Err(SignatureError::Mismatch), "{algorithm:?} {at}");
            bytes[at] ^= 1;
        }
        // One that the contract does not list.
        let mut others = tokens();
        others.algorithms.retain(|other| *other != algorithm);
        let refused = "the token has an algorithm that the contract does not list";
        assert_eq!(refusal(&others, &token, &set), refused, "{algorithm:?}");
    }
}

#[test]
fn the_examples_of_the_rfcs_are_verified() {
    const CLAIMS: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    // They have neither an audience nor a subject.
    let joe = AccessTokens {
        issuer: "joe".to_owned(),
        audiences: vec!["joe".to_owned()],
        audience_claim: "iss".to_owned(),
        principal: "/iss".to_owned(),
        ..tokens()
    };
    let rsa = json!({ "kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ" });
    let ec = json!({ "kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    let okp = json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let verify_at = |token: &str, key: &Value, now_unix_s| {
        let keys = [Arc::new(read(&url(), &json!({ "keys": [key] })).unwrap())];
        let verified = joe.verify(token.as_bytes(), &keys, now_unix_s);
        verified.map_or_else(|error| error.to_string(), |accepted| accepted.principal)
    };
    // RFC 7515, A.2 and A.3; the claims expire at 1300819380.
    let rs256 = format!(
        "eyJhbGciOiJSUzI1NiJ9.{CLAIMS}.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    );
    let es256 = format!(
        "eyJhbGciOiJFUzI1NiJ9.{CLAIMS}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    );
    for (token, key) in [(&rs256, &rsa), (&es256, &ec)] {
        assert_eq!(verify_at(token, key, 1_300_819_380 + 59), "joe");
        assert_eq!(verify_at(token, key, 1_300_819_380 + 60), "the token has expired");
        let of_other = if key == &rsa { &ec } else { &rsa };
        assert_eq!(verify_at(token, of_other, 1_300_819_380), "the token names a key of another algorithm");
    }
    // RFC 8037, A.4, is signed, and not a token: its payload is not JSON.
    let eddsa = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(verify_at(eddsa, &okp, 0), "the token is not a JSON Web Token");
    // RFC 7519, section 3.1 (HS256) and section 6.1 (none).
    let hs256 =
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{CLAIMS}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let none = format!("eyJhbGciOiJub25lIn0.{CLAIMS}.");
    for token in [hs256, none] {
        assert_eq!(
            verify_at(&token, &rsa, 1_300_819_380),
            "the token has an algorithm that the contract does not list"
        );
    }
}

/// Returns the URL of the key set, as verification asks for it.
fn url() -> KeyUrl {
    let token = key(TokenAlgorithm::ES256).token(&claims()).unwrap();
    match tokens().verify(token.as_bytes(), &[], NOW_UNIX_S) {
        Err(SignatureError::KeyNeeded { url }) => url,
        other => panic!("{other:?}"),
    }
}

/// Returns a token of any text.
fn raw(header: &str, claims: &str, key: &DevelopmentKey) -> String {
    let signed = key.token_with(&json!("placeholder"), &json!({})).unwrap();
    assert_eq!(signed.split('.').count(), 3);
    format!("{}.{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims), signed.rsplit('.').next().unwrap())
}

#[test]
fn no_header_confuses_the_verifier() {
    use TokenAlgorithm as A;
    let (rsa, p256, p384, ed25519) = (key(A::RS256), key(A::ES256), key(A::ES384), key(A::EdDSA));
    let set = json!({ "keys": [rsa.jwk(), p256.jwk(), p384.jwk(), ed25519.jwk()] });
    let of_p256 = json!({ "alg": "ES256", "kid": "ES256" });
    let header = |name: &str, value: Value| {
        let mut header = of_p256.clone();
        header[name] = value;
        header
    };
    let check = |header: Value, key: &DevelopmentKey, expected: &str| {
        let token = key.token_with(&header, &claims()).unwrap();
        assert_eq!(refusal(&tokens(), &token, &set), expected, "{header}");
    };
    let (accepted, unlisted, other_kind, mismatch, malformed) = (
        "",
        "the token has an algorithm that the contract does not list",
        "the token names a key of another algorithm",
        "no signature matches",
        "the token is not a JSON Web Token",
    );
    let typ = "the token is of another type than JWT and at+jwt";
    let crit = "the token has a critical header parameter";
    check(of_p256.clone(), &p256, accepted);
    // The algorithm: none in any case, a shared key, another curve, a name of another case, not a text, absent.
    for alg in
        ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "es256", "ES256K", "ES512", "RS1", "A128KW"]
    {
        check(header("alg", json!(alg)), &p256, unlisted);
    }
    for alg in [json!(null), json!(7), json!(["ES256"]), json!({ "alg": "ES256" })] {
        check(header("alg", alg), &p256, unlisted);
    }
    check(json!({ "kid": "ES256" }), &p256, unlisted);
    // Another algorithm than that of the key, of its kind or of another.
    check(header("alg", json!("ES384")), &p256, other_kind);
    check(header("alg", json!("RS256")), &rsa, other_kind);
    check(header("alg", json!("EdDSA")), &ed25519, other_kind);
    check(json!({ "alg": "PS256", "kid": "RS256" }), &key(A::PS256), other_kind);
    check(json!({ "alg": "RS512", "kid": "RS256" }), &key(A::RS512), other_kind);
    check(json!({ "alg": "ES256", "kid": "RS256" }), &p256, other_kind);
    check(json!({ "alg": "ES256", "kid": "ES384" }), &p256, other_kind);
    check(json!({ "alg": "EdDSA", "kid": "ES256" }), &ed25519, other_kind);
    // The key: none named, not a text, or not in the set.
    let unnamed = "the token does not name its key, and its issuer has several";
    check(json!({ "alg": "ES256" }), &p256, unnamed);
    for kid in [json!(null), json!(7), json!(["ES256"])] {
        check(header("kid", kid), &p256, malformed);
    }
    for kid in ["", "es256", "ES256 ", "../ES256", "ES256' OR '1'='1", "https://evil.example.com/keys"] {
        check(header("kid", json!(kid)), &p256, &format!("the key at {JWKS} is needed"));
    }
    // A key, or the place of one, in the header is ignored.
    let attacker = DevelopmentKey::read(A::RS256, "RS256", include_str!("../../cli/src/development/rsa.private.pem"));
    let attacker = attacker.unwrap();
    for (name, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!("https://evil.example.com/keys")),
        ("x5u", json!("https://evil.example.com/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AAAA")),
    ] {
        check(header(name, value.clone()), &p256, accepted);
        let mut header = header(name, value);
        header["alg"] = "RS256".into();
        check(header.clone(), &attacker, other_kind);
        header["alg"] = "EdDSA".into();
        header["kid"] = "EdDSA".into();
        // The bytes of an RSA signature under an embedded RSA key.
        check(header, &attacker, mismatch);
    }
    for value in [json!(["exp"]), json!(["b64"]), json!([]), json!(null)] {
        check(header("crit", value), &p256, crit);
    }
    for (value, expected) in [
        (json!("JWT"), accepted),
        (json!("jwt"), accepted),
        (json!("at+jwt"), accepted),
        (json!("application/at+JWT"), accepted),
        (json!("logout+jwt"), typ),
        (json!("secevent+jwt"), typ),
        (json!("dpop+jwt"), typ),
        (json!("JOSE"), typ),
        (json!(""), typ),
        (json!(7), typ),
        (json!(null), typ),
    ] {
        check(header("typ", value), &p256, expected);
    }
}

#[test]
fn a_public_key_is_not_a_shared_one() {
    let rsa = key(TokenAlgorithm::RS256);
    let set = json!({ "keys": [rsa.jwk()] });
    let pem = include_str!("../../cli/src/development/rsa.public.pem");
    let jwk = rsa.jwk().to_string();
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), jwk.as_bytes(), b""] {
        for alg in ["HS256", "RS256"] {
            let header = json!({ "alg": alg, "kid": "RS256" });
            let text = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims().to_string()));
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
            let token = format!("{text}.{}", BASE64URL.encode(tag));
            assert!(verify(&tokens(), &token, &set).is_err(), "{alg}");
        }
    }
}

#[test]
fn a_token_has_one_form() {
    let p256 = key(TokenAlgorithm::ES256);
    let set = json!({ "keys": [p256.jwk()] });
    let token = p256.token(&claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let malformed = "the token is not a JSON Web Token";
    for (text, expected) in [
        (token.clone(), ""),
        (String::new(), malformed),
        ("..".to_owned(), malformed),
        (format!("{}.{}", parts[0], parts[1]), malformed),
        (format!("{token}."), malformed),
        (format!("{token}.{}.{}", parts[1], parts[2]), malformed),
        (format!("{token}="), malformed),
        (format!("{token}=="), malformed),
        (format!(" {token}"), malformed),
        (format!("{token} "), malformed),
        (format!("{},{token}", token), malformed),
        (format!("{}.{}.", parts[0], parts[1]), "no signature matches"),
        (format!("{}.{}.{}", parts[0], parts[1], BASE64URL.encode([0; 64])), "no signature matches"),
        (format!("{}.{}.{}", parts[0], parts[1], BASE64URL.encode([0; 8])), "no signature matches"),
        (format!("{}.{}.{}", parts[0], parts[1], "+/+/"), malformed),
        ("a".repeat(17 * 1024), malformed),
        (format!("{}.{}", "a".repeat(8_000), token), malformed),
    ] {
        assert_eq!(refusal(&tokens(), &text, &set), expected, "{text}");
    }
    let header = r#"{"alg":"ES256","kid":"ES256"}"#;
    let claims = claims().to_string();
    let nested = format!("{}1{}", "[".repeat(3_000), "]".repeat(3_000));
    let twice = "the token has a member twice";
    for (header, claims, expected) in [
        (r#"{"alg":"ES256","alg":"none"}"#, claims.as_str(), twice),
        (r#"{"alg":"none","alg":"ES256"}"#, &claims, twice),
        (r#"{"alg":"ES256","kid":"a","kid":"ES256"}"#, &claims, twice),
        (r#"{"alg":"ES256","\u0061lg":"none"}"#, &claims, twice),
        (header, r#"{"sub":"a","sub":"b"}"#, twice),
        (header, r#"{"sub":"a","x":{"y":1,"y":2}}"#, twice),
        ("[]", &claims, malformed),
        ("null", &claims, malformed),
        (header, "null", malformed),
        (header, "\"text\"", malformed),
        (header, &nested, malformed),
        (header, "{\"exp\":1e400}", malformed),
    ] {
        assert_eq!(refusal(&tokens(), &raw(header, claims, &p256), &set), expected, "{header} {claims}");
    }
    let not_text = format!("{}.{}.AA", BASE64URL.encode([0xff, 0xfe]), BASE64URL.encode(&claims));
    assert_eq!(refusal(&tokens(), &not_text, &set), malformed);
}

#[test]
fn the_claims_are_those_of_this_api_and_of_now() {
    let p256 = key(TokenAlgorithm::ES256);
    let set = json!({ "keys": [p256.jwk()] });
    let check = |name: &str, value: Value, expected: &str| {
        let claims = with(name, value);
        assert_eq!(refusal(&tokens(), &p256.token(&claims).unwrap(), &set), expected, "{claims}");
    };
    let (issuer, audience, expired) =
        ("the token is of another issuer", "the token is for another audience", "the token has expired");
    for value in [
        json!(null),
        json!("https://issuer.example.com/"),
        json!("HTTPS://issuer.example.com"),
        json!("https://issuer.example.com.evil"),
        json!([ISSUER]),
        json!({}),
    ] {
        check("iss", value, issuer);
    }
    for value in [json!("api-2"), json!(["other", "api"]), json!(["api"]), json!([7, "api"])] {
        check("aud", value, "");
    }
    for value in [
        json!(null),
        json!("ap"),
        json!("api "),
        json!("API"),
        json!([]),
        json!(["other"]),
        json!([["api"]]),
        json!({ "api": true }),
        json!(7),
    ] {
        check("aud", value, audience);
    }
    for (name, at, expected) in [
        ("exp", -59, ""),
        ("exp", -60, expired),
        ("exp", 0, ""),
        ("nbf", 60, ""),
        ("nbf", 61, "the token is not valid yet"),
        ("iat", 60, ""),
        ("iat", 61, "the token is issued in the future"),
        ("iat", -1_000_000, ""),
    ] {
        check(name, json!(NOW_UNIX_S + at), expected);
    }
    check("exp", json!(null), "the token has no exp");
    check("nbf", json!(null), "");
    check("iat", json!(null), "");
    check("exp", json!(1_700_000_000.5), "");
    for value in [json!("1800000000"), json!([1_800_000_000]), json!(false), json!(-1), json!(0)] {
        check("exp", value, expired);
    }
    check("nbf", json!("0"), "the token is not valid yet");
    check("iat", json!("0"), "the token is issued in the future");
    for value in [json!(null), json!(""), json!(7), json!(["acme"])] {
        check("sub", value, "the token has no claim with the principal");
    }
    let skewless = AccessTokens { skew_s: 0, ..tokens() };
    let token = p256.token(&with("exp", json!(NOW_UNIX_S))).unwrap();
    assert_eq!(refusal(&skewless, &token, &set), expired);
}

#[test]
fn scopes_and_principal_are_where_the_contract_says() {
    let p256 = key(TokenAlgorithm::ES256);
    let set = json!({ "keys": [p256.jwk()] });
    let accepted = |tokens: &AccessTokens, claims: &Value| verify(tokens, &p256.token(claims).unwrap(), &set).unwrap();
    for (name, value, expected) in [
        ("scope", json!("a b"), &["a", "b"][..]),
        ("scope", json!("  a  b "), &["a", "b"]),
        ("scope", json!(""), &[]),
        ("scp", json!("a b"), &["a", "b"]),
        ("scp", json!(["a", "b c", 7]), &["a", "b c"]),
        ("scope", json!(7), &[]),
        ("permissions", json!(["a"]), &[]),
    ] {
        assert_eq!(accepted(&tokens(), &with(name, value.clone())).scopes, expected, "{name} {value}");
    }
    let auth0 = AccessTokens { scopes: vec!["/permissions".to_owned()], ..tokens() };
    assert_eq!(accepted(&auth0, &with("permissions", json!(["a"]))).scopes, ["a"]);
    let tenant = AccessTokens { principal: "/org/id".to_owned(), ..tokens() };
    assert_eq!(accepted(&tenant, &with("org", json!({ "id": "o-1" }))).principal, "o-1");
    let cognito = AccessTokens { audience_claim: "client_id".to_owned(), ..tokens() };
    let mut claims = with("aud", json!(null));
    claims["client_id"] = "api".into();
    assert_eq!(accepted(&cognito, &claims).principal, "acme");
}

#[test]
fn only_keys_for_signatures_are_taken_from_a_set() {
    let (p256, rsa) = (key(TokenAlgorithm::ES256), key(TokenAlgorithm::RS256));
    let (of_p256, of_rsa) = (p256.token(&claims()).unwrap(), rsa.token(&claims()).unwrap());
    let changed = |key: &DevelopmentKey, name: &str, value: Value| {
        let mut jwk = key.jwk();
        jwk[name] = value;
        jwk
    };
    let needed = format!("the key at {JWKS} is needed");
    let other =
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "o" });
    for (jwk, token, expected) in [
        (p256.jwk(), &of_p256, ""),
        (changed(&p256, "alg", json!(null)), &of_p256, ""),
        (changed(&p256, "use", json!(null)), &of_p256, ""),
        (changed(&p256, "key_ops", json!(["verify"])), &of_p256, ""),
        (changed(&p256, "use", json!("enc")), &of_p256, needed.as_str()),
        (changed(&p256, "key_ops", json!(["sign"])), &of_p256, &needed),
        (changed(&p256, "d", json!("AA")), &of_p256, &needed),
        (changed(&p256, "crv", json!("P-384")), &of_p256, &needed),
        (changed(&p256, "x", json!("AA")), &of_p256, &needed),
        (changed(&p256, "kty", json!("oct")), &of_p256, &needed),
        (changed(&p256, "alg", json!("ES384")), &of_p256, "the token names a key of another algorithm"),
        (rsa.jwk(), &of_rsa, ""),
        (changed(&rsa, "alg", json!("RSA-OAEP")), &of_rsa, "the token names a key of another algorithm"),
        // 1,024 bits.
        (changed(&rsa, "n", json!(BASE64URL.encode([0xff; 128]))), &of_rsa, &needed),
    ] {
        let set = json!({ "keys": [jwk, other] });
        assert_eq!(refusal(&tokens(), token, &set), expected, "{set}");
    }
    // Keys of two kinds with one id, and two of one kind, as during a rotation.
    let stranger = json!({ "kty": "EC", "crv": "P-256", "kid": "ES256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0" });
    for set in [
        json!({ "keys": [changed(&rsa, "kid", json!("ES256")), p256.jwk()] }),
        json!({ "keys": [stranger, p256.jwk()] }),
    ] {
        assert_eq!(refusal(&tokens(), &of_p256, &set), "", "{set}");
    }
    for set in [json!({ "keys": [] }), json!({}), json!([]), json!({ "keys": vec![p256.jwk(); 33] })] {
        assert!(read(&url(), &set).is_err(), "{set}");
    }
}

#[test]
fn discovery_accepts_only_the_issuer_of_the_contract() {
    let p256 = key(TokenAlgorithm::ES256);
    let token = p256.token(&claims()).unwrap();
    let discovered = AccessTokens { keys: IssuerKeys::Discovery(AccessTokens::discovery_url(ISSUER)), ..tokens() };
    let Err(SignatureError::KeyNeeded { url }) = discovered.verify(token.as_bytes(), &[], NOW_UNIX_S) else { panic!() };
    assert_eq!(url.as_str(), "https://issuer.example.com/.well-known/openid-configuration");
    assert_eq!(AccessTokens::discovery_url("https://a/b/"), "https://a/b/.well-known/openid-configuration");
    for (file, reason) in [
        (json!({ "issuer": ISSUER, "jwks_uri": JWKS }), ""),
        (
            json!({ "issuer": format!("{ISSUER}/"), "jwks_uri": JWKS }),
            "that of the issuer \"https://issuer.example.com/\"",
        ),
        (json!({ "issuer": "https://evil.example.com", "jwks_uri": JWKS }), "that of the issuer"),
        (json!({ "issuer": ISSUER, "jwks_uri": "http://issuer.example.com/keys" }), "not an https URL"),
        (json!({ "issuer": ISSUER }), "not JSON with the texts"),
        (json!({ "issuer": [ISSUER], "jwks_uri": JWKS }), "not JSON with the texts"),
        (json!([]), "not JSON with the texts"),
    ] {
        match read(&url, &file) {
            Ok(found) => {
                assert_eq!(reason, "", "{file}");
                let found = Arc::new(found);
                let next = discovered.verify(token.as_bytes(), &[Arc::clone(&found)], NOW_UNIX_S);
                let Err(SignatureError::KeyNeeded { url }) = next else { panic!("{next:?}") };
                let set = Arc::new(read(&url, &json!({ "keys": [p256.jwk()] })).unwrap());
                assert_eq!(url.as_str(), JWKS);
                assert!(discovered.verify(token.as_bytes(), &[found, set], NOW_UNIX_S).is_ok());
            }
            Err(error) => {
                let text = error.to_string();
                assert!(!reason.is_empty() && text.contains(reason) && text.len() < 512, "{file}: {text}");
            }
        }
    }
}
