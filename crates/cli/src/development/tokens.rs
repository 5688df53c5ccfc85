//! Access tokens of a development issuer: its key set stands in for that of each issuer of the contract.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value, json};
use sluicegate_contract::{Contract, GatewayIdentity, SecurityScheme, ValueSource};
use sluicegate_local::{PublishedDocument, secrets};
use sluicegate_sam::{JwtAuthorizer, Settings, StackPlan};
use sluicegate_webhook::{AccessTokens, DevelopmentKey, Encoding, IssuerKeys, SignatureError, TokenAlgorithm};

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
/// value for each claim that a template takes. `more` has further claims, by name or JSON pointer, which replace these.
pub(crate) fn token(
    contract: &Contract,
    scheme: &str,
    tokens: &AccessTokens,
    more: &[(String, String)],
) -> Option<String> {
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    let own = requirements.filter(|requirement| requirement.scheme == scheme);
    let scopes: BTreeSet<&str> = own.flat_map(|requirement| &requirement.scopes).map(String::as_str).collect();
    signed(Some(contract), scopes, tokens, more)
}

/// Returns a token with these scopes, and a value for each claim that a template of the contract takes.
fn signed(
    contract: Option<&Contract>,
    scopes: BTreeSet<&str>,
    tokens: &AccessTokens,
    more: &[(String, String)],
) -> Option<String> {
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
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
    let operations = contract.into_iter().flat_map(Contract::operations);
    for pointer in operations.flat_map(|operation| operation.enqueue.templates()).flat_map(claims_of) {
        if claims.pointer(pointer).is_none() {
            set(&mut claims, pointer, format!("dev-{}", pointer.rsplit('/').next().unwrap_or_default()).into());
        }
    }
    for (name, value) in more {
        let pointer = if name.starts_with('/') {
            name.clone()
        } else {
            format!("/{}", name.replace('~', "~0").replace('/', "~1"))
        };
        set(&mut claims, &pointer, claim_value(value));
    }
    key(tokens)?.token(&claims).ok()
}

/// Returns the tokens that a JWT authorizer accepts, with the principal at this JSON pointer of the claims. API Gateway
/// accepts tokens signed with RSA only. Locally the key is the development key, so no key set is fetched.
fn of_authorizer(authorizer: &JwtAuthorizer, audience_claim: &str, principal: &str) -> AccessTokens {
    use TokenAlgorithm as A;
    AccessTokens {
        issuer: authorizer.issuer.clone(),
        audiences: authorizer.audiences.clone(),
        audience_claim: audience_claim.to_owned(),
        algorithms: vec![A::RS256, A::RS384, A::RS512],
        keys: IssuerKeys::Jwks(format!("https://development.invalid{KEY_SET_PATH}")),
        skew_s: 0,
        principal: principal.to_owned(),
        scopes: vec!["/scope".to_owned()],
    }
}

/// Returns a token that a JWT authorizer accepts: its principal is `dev`, it has every scope that the route or an
/// operation needs, and a value for each claim that a template takes. `more` is as for [`token`].
pub(crate) fn authorizer_token(
    contract: Option<&Contract>,
    authorizer: &JwtAuthorizer,
    more: &[(String, String)],
) -> Option<String> {
    let operations = contract.into_iter().flat_map(Contract::operations);
    let requirements = operations.flat_map(|operation| operation.security.iter().flatten());
    let mut scopes: BTreeSet<&str> = authorizer.scopes.iter().map(String::as_str).collect();
    let mut pointer = "/sub";
    for requirement in requirements {
        if let Some(SecurityScheme::Gateway { identity: GatewayIdentity::Jwt, principal }) =
            contract.and_then(|contract| contract.scheme(&requirement.scheme))
        {
            pointer = principal;
            scopes.extend(requirement.scopes.iter().map(String::as_str));
        }
    }
    signed(contract, scopes, &of_authorizer(authorizer, "aud", pointer), more)
}

/// Returns a token for a route of the template in this folder, which a JWT authorizer is in front of; `None` without
/// one, or with one whose settings are known only after a deployment.
pub(crate) fn route_token(template: &str, contract: &Contract, key: &str, more: &[(String, String)]) -> Option<String> {
    let text = std::fs::read_to_string(template).ok()?;
    let plan = StackPlan::read(template, &text, &Settings::default()).ok()?;
    let route = plan.routes.iter().find(|route| route.key == key)?;
    authorizer_token(Some(contract), route.authorizer.as_ref()?, more)
}

/// Returns the claims of a token that the development issuer has signed, if the authorizer accepts it: its signature,
/// `kid`, `iss`, `aud` (without one, `client_id`), `exp`, `nbf` and `iat`.
pub(crate) fn accepted_claims(authorizer: &JwtAuthorizer, token: &str) -> Option<Value> {
    let header = Encoding::Base64url.decode(token.split('.').next()?.as_bytes())?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    header["kid"].as_str()?;
    let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now_unix_s = i64::try_from(now_unix_s).ok()?;
    ["aud", "client_id"].into_iter().find_map(|audience_claim| {
        // Every token has an issuer; `sub` may be absent.
        let tokens = of_authorizer(authorizer, audience_claim, "/iss");
        let Err(SignatureError::KeyNeeded { url }) = tokens.verify(token.as_bytes(), &[], now_unix_s) else {
            return None;
        };
        let set = json!({ "keys": [key(&tokens)?.jwk()] }).to_string();
        let keys = [Arc::new(url.read(set.as_bytes(), Vec::new, now_unix_s).ok()?)];
        let claims = tokens.verify(token.as_bytes(), &keys, now_unix_s).ok()?.claims;
        (audience_claim == "aud" || claims.get("aud").is_none()).then_some(claims)
    })
}

/// Returns the value of a claim: JSON where the text is JSON, the text itself otherwise.
fn claim_value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
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
        let token = token(contract, name, tokens, &[]).unwrap();
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

    fn authorizer() -> JwtAuthorizer {
        JwtAuthorizer {
            name: "Jwt".to_owned(),
            issuer: "https://a.example".to_owned(),
            audiences: vec!["api".to_owned(), "other".to_owned()],
            header: "authorization".to_owned(),
            scopes: vec!["a.write".to_owned()],
            is_default: false,
        }
    }

    #[test]
    fn an_authorizer_accepts_its_development_token_and_no_other() {
        let given = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let authorizer = authorizer();
        let token = authorizer_token(None, &authorizer, &given("tenant", "acme")).unwrap();
        let claims = accepted_claims(&authorizer, &token).unwrap();
        assert_eq!((&claims["sub"], &claims["scope"]), (&json!("dev"), &json!("a.write")));
        assert_eq!((&claims["aud"], &claims["tenant"]), (&json!("api"), &json!("acme")));
        let other = JwtAuthorizer { issuer: "https://b.example".to_owned(), ..authorizer.clone() };
        assert_eq!(accepted_claims(&other, &token), None, "another issuer");
        let other = JwtAuthorizer { audiences: vec!["third".to_owned()], ..authorizer.clone() };
        assert_eq!(accepted_claims(&other, &token), None, "another audience");
        for (name, value, is_accepted) in [
            ("aud", r#"["x","other"]"#, true),
            ("aud", "x", false),
            ("exp", "1", false),
            ("exp", "null", false),
            ("nbf", "99999999999", false),
            ("iat", "99999999999", false),
            ("sub", "", true),
            ("iss", "https://a.example/", false),
        ] {
            let token = authorizer_token(None, &authorizer, &given(name, value)).unwrap();
            assert_eq!(accepted_claims(&authorizer, &token).is_some(), is_accepted, "{name}: {value}");
        }
        assert_eq!(accepted_claims(&authorizer, &format!("{token}A")), None);
        assert_eq!(accepted_claims(&authorizer, "a.b.c"), None);
        // Of Amazon Cognito: no aud.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let of = |claims: &Value, algorithm, id: &str| {
            let private = if algorithm == TokenAlgorithm::ES256 { P256.private } else { RSA.private };
            DevelopmentKey::read(algorithm, id, private).unwrap().token(claims).unwrap()
        };
        let (iss, exp) = ("https://a.example", now + 60);
        let cognito = json!({ "iss": iss, "client_id": "api", "exp": exp });
        let id = "development-RS256";
        assert!(accepted_claims(&authorizer, &of(&cognito, TokenAlgorithm::RS256, id)).is_some());
        let both = json!({ "iss": iss, "client_id": "api", "aud": "x", "exp": exp });
        assert_eq!(accepted_claims(&authorizer, &of(&both, TokenAlgorithm::RS256, id)), None);
        assert_eq!(accepted_claims(&authorizer, &of(&cognito, TokenAlgorithm::RS256, "unknown")), None);
        assert_eq!(
            accepted_claims(&authorizer, &of(&cognito, TokenAlgorithm::ES256, id)),
            None,
            "API Gateway has RSA only"
        );
    }

    #[test]
    fn claims_of_the_caller_replace_those_of_the_token() {
        let contract = contract("issuer: 'https://a.example', audience: api");
        let (name, tokens) = schemes(&contract).pop_first().unwrap();
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let more = [
            ("tenant", "acme"),
            ("/org/id", "o-7"),
            ("level", "3"),
            ("id", "\"3\""),
            ("roles", r#"["a","b"]"#),
            ("https://a.example/admin", "true"),
            ("sub", "u-1"),
            ("a~b", ""),
        ];
        let token = token(&contract, name, tokens, &more.map(pair)).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let claims = sluicegate_webhook::Encoding::Base64url.decode(claims.as_bytes()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!((&claims["tenant"], &claims["org"]["id"]), (&json!("acme"), &json!("o-7")));
        assert_eq!((&claims["level"], &claims["id"], &claims["roles"]), (&json!(3), &json!("3"), &json!(["a", "b"])));
        assert_eq!((&claims["https://a.example/admin"], &claims["sub"]), (&json!(true), &json!("u-1")));
        assert_eq!((&claims["a~b"], &claims["aud"]), (&json!(""), &json!("api")));
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
