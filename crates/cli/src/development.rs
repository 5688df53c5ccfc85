//! The development secrets of a contract: fixed values that `cargo local` gives the functions and `sluicegate send`
//! signs with.
//!
//! They are public, the private keys of the key pairs too, and nothing but a local stack accepts them.

pub(crate) mod tokens;

use serde_json::{Map, Value, json};
use sluicegate_contract::{Contract, SecurityScheme};
use sluicegate_local::secrets;
use sluicegate_sam::JwtAuthorizer;
use sluicegate_webhook::{Algorithm, Encoding, KeyEncoding, Scheme};

/// The length of an encoded key, which every provider takes.
const KEY_BYTES: usize = 32;

/// A development key pair: the private key in PKCS#8 and the public key in SubjectPublicKeyInfo, both PEM.
struct KeyPair {
    private: &'static str,
    public: &'static str,
}

const ED25519: KeyPair = KeyPair {
    private: include_str!("development/ed25519.private.pem"),
    public: include_str!("development/ed25519.public.pem"),
};
const P256: KeyPair = KeyPair {
    private: include_str!("development/p256.private.pem"),
    public: include_str!("development/p256.public.pem"),
};
const RSA: KeyPair = KeyPair {
    private: include_str!("development/rsa.private.pem"),
    public: include_str!("development/rsa.public.pem"),
};

impl KeyPair {
    /// Returns the key pair of a provider that signs with one.
    fn of(algorithm: Algorithm) -> Option<&'static Self> {
        match algorithm {
            _ if !algorithm.has_public_key() => None,
            Algorithm::Ed25519 => Some(&ED25519),
            Algorithm::EcdsaP256Der | Algorithm::EcdsaP256Fixed => Some(&P256),
            _ => Some(&RSA),
        }
    }
}

/// Returns the development secret that ingress verifies with; the public key of a provider with a key pair, and `None`
/// for one that publishes its keys.
pub(crate) fn signing_secret(provider: &str, scheme: &Scheme) -> Option<String> {
    if scheme.keys.is_some() {
        return None;
    }
    if let Some(pair) = KeyPair::of(scheme.algorithm) {
        let key = scheme.signing_key(None, pair.private).ok()?;
        let bytes = key.public_key()?;
        return Some(match scheme.secret.encoding {
            KeyEncoding::Hex => Encoding::Hex.encode(bytes),
            KeyEncoding::Base64 => Encoding::Base64.encode(bytes),
            KeyEncoding::Jwk => p256_jwk(bytes)?,
            _ => pair.public.lines().filter(|line| !line.starts_with("-----")).collect(),
        });
    }
    match provider {
        "github" => return Some(secrets::GITHUB.to_owned()),
        "standard-webhooks" => return Some(secrets::STANDARD_WEBHOOKS.to_owned()),
        _ => {}
    }
    let key: Vec<u8> = provider.bytes().cycle().take(KEY_BYTES).collect();
    Some(match scheme.secret.encoding {
        KeyEncoding::Text => {
            let length = scheme.secret.bytes_min.unwrap_or_default();
            format!("{:-<length$}", format!("dev-{provider}"))
        }
        KeyEncoding::Hex => Encoding::Hex.encode(&key),
        KeyEncoding::Base64 | KeyEncoding::Base64OrText | KeyEncoding::Spki | KeyEncoding::Jwk => {
            let prefix = scheme.secret.prefixes.last().map_or("", String::as_str);
            format!("{prefix}{}", Encoding::Base64.encode(&key))
        }
    })
}

/// Returns an uncompressed point on P-256 as a JSON Web Key (RFC 7518, section 6.2.1).
fn p256_jwk(point: &[u8]) -> Option<String> {
    let (x, y) = point.strip_prefix(&[4])?.split_at_checked(32)?;
    let [x, y] = [x, y].map(|number| Encoding::Base64url.encode(number));
    Some(json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "x": x, "y": y }).to_string())
}

/// Returns the development key that `sluicegate send` signs with: the secret, or the private key of a key pair; `None`
/// for a provider that publishes its keys.
pub(crate) fn signing_key(provider: &str, scheme: &Scheme) -> Option<String> {
    match KeyPair::of(scheme.algorithm) {
        Some(pair) if scheme.keys.is_none() => Some(pair.private.to_owned()),
        _ => signing_secret(provider, scheme),
    }
}

/// Returns the lists of the contract's keys, signing secrets and verify tokens, by their names.
pub(crate) fn lists(contract: &Contract) -> Map<String, Value> {
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    let mut lists = Map::new();
    for security in requirements.filter_map(|requirement| contract.scheme(&requirement.scheme)) {
        if let SecurityScheme::ApiKey { secret, .. } | SecurityScheme::Basic { secret } = security {
            lists.insert(secret.clone(), secrets::api_keys());
        }
        let SecurityScheme::Signature { provider, scheme, secret, .. } = security else { continue };
        if let Some(value) = signing_secret(provider, scheme) {
            lists.insert(secret.clone(), json!([value]));
        }
        if let Some(tokens) = security.verify_tokens() {
            let token = format!("dev-{tokens}");
            lists.insert(tokens, json!([token]));
        }
    }
    lists
}

/// Returns the development credentials as lines to print: the API key, the signing secrets, and a token for each scheme
/// of the contract that takes tokens.
pub(crate) fn credentials(contract: Option<&Contract>) -> Vec<String> {
    let key = secrets::API_KEY;
    let mut lines = vec![format!("API key {key} (principal {}, every scope)", secrets::PRINCIPAL)];
    let Some(contract) = contract else { return lines };
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    let mut schemes = requirements.filter_map(|requirement| contract.scheme(&requirement.scheme));
    if schemes.any(|scheme| matches!(scheme, SecurityScheme::Basic { .. })) {
        lines.push(format!("HTTP Basic {}:{key}", secrets::PRINCIPAL));
    }
    for (name, list) in lists(contract) {
        lines.extend(list[0].as_str().map(|value| format!("{name} {value}")));
    }
    for (name, accepted) in tokens::schemes(contract) {
        if let Some(token) = tokens::token(contract, name, accepted, &[]) {
            lines.push(format!(
                "{name} {token} (principal {}, every scope, {} days)",
                secrets::PRINCIPAL,
                tokens::LIFE_DAYS
            ));
        }
    }
    lines
}

/// Returns a line to print for each JWT authorizer of the template, with a token that it accepts.
pub(crate) fn authorizer_tokens(contract: Option<&Contract>, authorizers: &[JwtAuthorizer]) -> Vec<String> {
    let mut lines = Vec::new();
    for authorizer in authorizers {
        if let Some(token) = tokens::authorizer_token(contract, authorizer, &[]) {
            let (name, principal, days) = (&authorizer.name, secrets::PRINCIPAL, tokens::LIFE_DAYS);
            lines.push(format!("authorizer {name} {token} (principal {principal}, every scope, {days} days)"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use sluicegate_webhook::{Provider, Request};

    use super::*;

    const NOW_UNIX_S: i64 = 1_795_222_923;

    /// Signs with the development key, and verifies with the development secret.
    fn check(provider: &str, scheme: &Scheme, url: &str, content_type: &'static str, body: &str) {
        let key = scheme.signing_key(None, &signing_key(provider, scheme).unwrap()).unwrap();
        let secret = scheme.secret(&signing_secret(provider, scheme).unwrap()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        let request = Request::new(&headers, body.as_bytes()).at("POST", url);
        let signed = scheme.sign_request(&key, "m-1", NOW_UNIX_S, &request);
        let signed = signed.unwrap_or_else(|error| panic!("{provider}: {error}"));
        let mut headers = headers.clone();
        for (name, value) in signed.headers {
            headers.insert(HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        let body = signed.body.unwrap_or_else(|| body.as_bytes().to_vec());
        let url = signed.url.unwrap_or_else(|| url.to_owned());
        let verify = |body: &[u8], at_unix_s| {
            let request = Request::new(&headers, body).at("POST", &url);
            scheme.verify(&request, std::slice::from_ref(&secret), at_unix_s)
        };
        let verified = verify(&body, NOW_UNIX_S);
        assert!(verified.is_ok(), "{provider}: {verified:?}");
        let altered = [body.as_slice(), b" "].concat();
        let is_whole = scheme.assurance == sluicegate_webhook::Assurance::Signed;
        assert_eq!(verify(&altered, NOW_UNIX_S).is_ok(), !is_whole, "{provider}");
        if scheme.timestamp.as_ref().is_some_and(|timestamp| timestamp.past_seconds.is_some()) {
            assert!(verify(&body, NOW_UNIX_S + 86_400).is_err(), "{provider}");
        }
    }

    #[test]
    fn send_signs_for_every_provider() {
        let (url, json) = ("https://api.example.com/hook?a=1", "application/json");
        for Provider { slug, scheme, .. } in Provider::all() {
            if scheme.keys.is_some() {
                assert_eq!((signing_key(slug, scheme), signing_secret(slug, scheme)), (None, None), "{slug}");
                continue;
            }
            let body = match &scheme.each {
                Some(list) => format!(r#"{{"{}":[{{"a":"1"}},{{}}]}}"#, &list[1..]),
                None => r#"{"id":"e-1","type":"a"}"#.to_owned(),
            };
            check(slug, scheme, url, json, &body);
        }
        let twilio = &Provider::named("twilio").unwrap().scheme;
        check("twilio", twilio, url, "application/x-www-form-urlencoded", "From=%2B1&Body=a+b");
    }

    #[test]
    fn send_signs_with_every_algorithm() {
        for (algorithm, encoding, signature) in [
            ("ed25519", "spki", r#"{"header": "x-s"}"#),
            ("ecdsa-p256-der", "base64", r#"{"header": "x-s"}"#),
            ("ecdsa-p256-fixed", "hex", r#"{"header": "x-s", "claim": {"name": "sha256"}}"#),
            ("rsa-pkcs1-sha256", "spki", r#"{"header": "x-s", "claim": {"name": "sha256"}}"#),
            ("rsa-pss-sha512", "base64", r#"{"header": "x-s", "prefix": "v1="}"#),
            ("hmac-sha512", "text", r#"{"header": "x-s"}"#),
        ] {
            let scheme = format!(
                r#"{{"algorithm": "{algorithm}", "signature": {signature}, "secret": {{"encoding": "{encoding}"}}}}"#
            );
            check(algorithm, &serde_json::from_str(&scheme).unwrap(), "", "text/plain", "a body");
        }
    }

    /// A time in the body is written in the form that it has there, and the rest stays.
    #[test]
    fn send_writes_the_time_into_the_body() {
        let scheme: Scheme = serde_json::from_str(
            r#"{"signature": {"header": "x-s"}, "timestamp": {"body": "/a~1b/0/time", "unit": "s", "pastSeconds": 9}}"#,
        )
        .unwrap();
        let key = scheme.signing_key(None, "secret").unwrap();
        let written = |body: &str| {
            let signed = scheme.sign_request(&key, "", 7, &Request::new(&HeaderMap::new(), body.as_bytes()));
            signed.map(|signed| String::from_utf8(signed.body.unwrap()).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(written(r#"{"a/b":[{}]}"#).unwrap(), r#"{"a/b":[{"time":7}]}"#);
        assert_eq!(written(r#"{"a/b":[{"time":"1"},1],"c":null}"#).unwrap(), r#"{"a/b":[{"time":"7"},1],"c":null}"#);
        for body in [r#"{"a/b":[]}"#, r#"{"a/b":1}"#, "text"] {
            assert!(written(body).unwrap_err().contains("a place for"), "{body}");
        }
    }
}
