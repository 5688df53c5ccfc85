//! Access tokens of a development issuer: its key set stands in for that of each issuer of the contract.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use sluicegate_contract::{Contract, SecurityScheme, ValueSource};
use sluicegate_local::{PublishedDocument, secrets};
use sluicegate_webhook::{AccessTokens, DevelopmentKey, IssuerKeys, TokenAlgorithm};

use super::{ED25519, P256, RSA};

const P384_PRIVATE: &str = include_str!("p384.private.pem");

/// The path of the key set of an issuer whose configuration names it.
const KEY_SET_PATH: &str = "/development-keys.json";

/// The time for which a token is valid, in days: longer than a stack is run.
pub(crate) const LIFE_DAYS: u64 = 7;

/// Returns the key that signs these tokens, with the first accepted algorithm; ES256 if it is accepted, because it is
/// the shortest.
fn key(tokens: &AccessTokens) -> Option<DevelopmentKey> {
    use TokenAlgorithm as A;
    let is_short = |algorithm: &&A| **algorithm == A::ES256;
    let algorithm = *tokens.algorithms.iter().find(is_short).or_else(|| tokens.algorithms.first())?;
    let private = match algorithm {
        A::ES256 => P256.private,
        A::ES384 => P384_PRIVATE,
        A::EdDSA => ED25519.private,
        A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512 => RSA.private,
    };
    DevelopmentKey::read(algorithm, &format!("development-{}", algorithm.name()), private)
}

/// Returns the schemes of the contract that take tokens, by name.
pub(crate) fn schemes(contract: &Contract) -> BTreeMap<&str, &AccessTokens> {
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    let tokens = requirements.filter_map(|requirement| match contract.scheme(&requirement.scheme)? {
        SecurityScheme::Token { tokens } => Some((requirement.scheme.as_str(), &**tokens)),
        _ => None,
    });
    tokens.collect()
}

/// Returns a token of a scheme: its principal is `dev`, it has every scope that an operation needs of the scheme, and a
/// value for each claim that a template takes.
pub(crate) fn token(contract: &Contract, scheme: &str, tokens: &AccessTokens) -> Option<String> {
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    let own = requirements.filter(|requirement| requirement.scheme == scheme);
    let scopes: BTreeSet<&str> = own.flat_map(|requirement| &requirement.scopes).map(String::as_str).collect();
    let mut claims = json!({
        "iss": tokens.issuer,
        "iat": now_unix_s,
        "exp": now_unix_s + LIFE_DAYS * 24 * 3_600,
    });
    claims[tokens.audience_claim.as_str()] = tokens.audiences.first()?.clone().into();
    set(&mut claims, &tokens.principal, secrets::PRINCIPAL.into());
    if let Some(pointer) = tokens.scopes.first().filter(|_| !scopes.is_empty()) {
        set(&mut claims, pointer, scopes.into_iter().collect::<Vec<_>>().join(" ").into());
    }
    for pointer in contract.operations().iter().flat_map(|operation| operation.enqueue.templates()).flat_map(claims_of)
    {
        if claims.pointer(pointer).is_none() {
            set(&mut claims, pointer, format!("dev-{}", pointer.rsplit('/').next().unwrap_or_default()).into());
        }
    }
    key(tokens)?.token(&claims).ok()
}

/// Returns the pointers of the claims that a template takes.
fn claims_of(template: &sluicegate_contract::ValueTemplate) -> impl Iterator<Item = &str> {
    template.sources().filter_map(|source| match source {
        ValueSource::Claims(pointer) => Some(pointer.as_str()),
        _ => None,
    })
}

/// Sets a claim, with the objects on the way to it.
fn set(claims: &mut Value, pointer: &str, value: Value) {
    let mut at = claims;
    for segment in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[segment.replace("~1", "/").replace("~0", "~").as_str()];
    }
    *at = value;
}

/// Returns the documents of the issuers: their configurations and key sets.
pub(crate) fn documents(contract: &Contract) -> Vec<PublishedDocument> {
    let mut keys: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    let mut documents: BTreeMap<(String, String), String> = BTreeMap::new();
    for tokens in schemes(contract).into_values() {
        let Some(key) = key(tokens) else { continue };
        let key_set_url = match &tokens.keys {
            IssuerKeys::Jwks(url) => url.clone(),
            IssuerKeys::Discovery(url) => {
                let (host, path) = parts(url);
                let key_set_url = format!("https://{host}{KEY_SET_PATH}");
                let configuration = json!({ "issuer": tokens.issuer, "jwks_uri": key_set_url });
                documents.insert((host, path), configuration.to_string());
                key_set_url
            }
        };
        let keys = keys.entry(key_set_url).or_default();
        let jwk = key.jwk();
        if !keys.contains(&jwk) {
            keys.push(jwk);
        }
    }
    documents.extend(keys.into_iter().map(|(url, keys)| (parts(&url), json!({ "keys": keys }).to_string())));
    documents.into_iter().map(|((host, path), body)| PublishedDocument { host, path, body }).collect()
}

/// Returns the host and the path of an https URL.
fn parts(url: &str) -> (String, String) {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (host.to_owned(), path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sluicegate_webhook::{AcceptedToken, SignatureError};

    use super::*;

    fn contract(jwt: &str) -> Contract {
        let yaml = format!(
            "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
             security: [{{ s: [a.read, a.write] }}]\n      x-sluicegate: {{ queue: q, type: t, group: '{{claims#/org/id}}' }}\n\
             components:\n  securitySchemes:\n    s: {{ type: http, scheme: bearer, x-jwt: {{ {jwt} }} }}\n"
        );
        Contract::parse("take.yaml", &yaml).unwrap()
    }

    /// Verifies the development token with the documents, as an ingress does.
    fn verified(contract: &Contract) -> AcceptedToken {
        let (name, tokens) = schemes(contract).pop_first().unwrap();
        let token = token(contract, name, tokens).unwrap();
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now_unix_s = i64::try_from(now_unix_s).unwrap();
        let documents = documents(contract);
        let mut keys = Vec::new();
        for _ in 0..3 {
            match tokens.verify(token.as_bytes(), &keys, now_unix_s) {
                Ok(accepted) => return accepted,
                Err(SignatureError::KeyNeeded { url }) => {
                    let is_it = |document: &&PublishedDocument| {
                        format!("https://{}{}", document.host, document.path) == url.as_str()
                    };
                    let document = documents.iter().find(is_it).unwrap();
                    keys.push(Arc::new(url.read(document.body.as_bytes(), Vec::new, now_unix_s).unwrap()));
                }
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no key of {documents:?}");
    }

    #[test]
    fn a_development_token_is_accepted_with_the_development_documents() {
        let issuer = "issuer: 'https://a.example/tenant/', audience: [api, other]";
        for (name, algorithm) in TokenAlgorithm::NAMES {
            for keys in ["", ", jwks: 'https://k.example:8443/keys?a=1'"] {
                let contract = contract(&format!("{issuer}, algorithms: [{name}]{keys}"));
                let AcceptedToken { principal, scopes, claims } = verified(&contract);
                assert_eq!(
                    (principal.as_str(), scopes.join(" ")),
                    ("dev", "a.read a.write".to_owned()),
                    "{algorithm:?}"
                );
                assert_eq!((&claims["aud"], &claims["org"]["id"]), (&json!("api"), &json!("dev-id")), "{algorithm:?}");
            }
        }
        let own = format!("{issuer}, principal: /org/id, scopes: /permissions, audienceClaim: client_id");
        let AcceptedToken { principal, claims, .. } = verified(&contract(&own));
        assert_eq!((principal.as_str(), &claims["client_id"]), ("dev", &json!("api")));
    }

    #[test]
    fn two_issuers_have_their_own_documents() {
        let yaml = "openapi: 3.1.0\ninfo: { title: t, version: v }\npaths:\n  /take:\n    post:\n      operationId: take\n      \
                    security: [{ a: [] }, { b: [] }, { c: [] }]\n      x-sluicegate: { queue: q, type: t }\n\
                    components:\n  securitySchemes:\n    \
                    a: { type: http, scheme: bearer, x-jwt: { issuer: 'https://a.example', audience: x } }\n    \
                    b: { type: http, scheme: bearer, x-jwt: { issuer: 'https://b.example', audience: x } }\n    \
                    c: { type: http, scheme: bearer, x-jwt: { issuer: 'https://a.example', audience: y, algorithms: [EdDSA] } }\n";
        let documents = documents(&Contract::parse("take.yaml", yaml).unwrap());
        let named: Vec<_> = documents.iter().map(|document| format!("{}{}", document.host, document.path)).collect();
        let (configuration, keys) = ("/.well-known/openid-configuration", KEY_SET_PATH);
        let expected =
            ["a.example", "b.example"].map(|host| [format!("{host}{configuration}"), format!("{host}{keys}")]);
        assert_eq!(named, expected.concat());
        let set: Value = serde_json::from_str(&documents[1].body).unwrap();
        assert_eq!(set["keys"].as_array().unwrap().len(), 2, "the keys of a and c: {set}");
    }
}
