//! Authentication: `components.securitySchemes`, and the `security` of an operation.

use std::collections::{BTreeMap, BTreeSet};

use sluicegate_webhook::{Provider, is_header_name};
use sluicegate_yaml::Node;

use super::access_token;
use super::checker::ContractChecker;
use crate::{GatewayIdentity, KeyPlace, Requirement, SecurityScheme, template};

/// Longest `x-secret`. Chosen here: the name of a signing secret is the principal of its messages, so it must be valid
/// as an attribute of an event.
const SECRET_NAME_BYTES_MAX: usize = 128;

/// The declared schemes.
pub(super) type Schemes = BTreeMap<String, Declared>;

/// A declared scheme.
pub(super) struct Declared {
    /// `None` for one that has a fault, so that the operations that use it get no further fault.
    scheme: Option<SecurityScheme>,
    /// The scopes of its OAuth 2.0 flows; `None` for a type that does not list its scopes.
    scopes: Option<BTreeSet<String>>,
}

impl Declared {
    /// Returns the scheme, unless it has a fault.
    pub(super) fn scheme(&self) -> Option<&SecurityScheme> {
        self.scheme.as_ref()
    }

    /// Returns the scheme, unless it has a fault.
    pub(super) fn into_scheme(self) -> Option<SecurityScheme> {
        self.scheme
    }
}

fn found<'s>(schemes: &'s Schemes, name: &str) -> Option<&'s SecurityScheme> {
    schemes.get(name)?.scheme.as_ref()
}

pub(super) fn schemes(checker: &mut ContractChecker<'_>) -> Schemes {
    let Some(declared) = checker.root.get("components").and_then(|components| components.get("securitySchemes")) else {
        return Schemes::new();
    };
    if checker.mapping(declared).is_none() {
        return Schemes::new();
    }
    let mut schemes = Schemes::new();
    for (name, at) in declared.entries() {
        // OpenAPI 3.1, Components Object. A name is also the realm of a challenge.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)) {
            checker.fault(at, "the name of a scheme is letters, digits, `.`, `-` and `_`");
        }
        let at_target = checker.resolve(at);
        let scopes = at_target.and_then(|at| flow_scopes(checker, at));
        let scheme = at_target.and_then(|at| scheme(checker, at));
        check_secret(checker, at, scheme.as_ref(), &schemes);
        schemes.insert(name.to_owned(), Declared { scheme, scopes });
    }
    schemes
}

/// Notes a fault if two schemes use one list of the secret for different kinds: keys and signing secrets, or secrets of
/// two signature schemes.
fn check_secret(checker: &mut ContractChecker<'_>, at: &Node, scheme: Option<&SecurityScheme>, others: &Schemes) {
    let Some((secret, provider)) = scheme.and_then(list) else { return };
    let differs = |other: (&str, Option<&str>)| other.0 == secret && other.1 != provider;
    if others.values().filter_map(|other| list(other.scheme.as_ref()?)).any(differs) {
        let reason = format!(
            "`{secret}` is already the list of another kind of secret; give this scheme a list with another name"
        );
        checker.fault_at(&at.child_pointer("x-secret"), reason);
    }
}

/// Returns the name of the list that a scheme uses, and its provider; `None` for keys.
fn list(scheme: &SecurityScheme) -> Option<(&str, Option<&str>)> {
    let provider = match scheme {
        SecurityScheme::Signature { provider, .. } => Some(provider.as_str()),
        _ => None,
    };
    scheme.secret().map(|secret| (secret, provider))
}

fn scheme<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<SecurityScheme> {
    checker.mapping(at)?;
    match checker.required_text(at, "type")? {
        // IAM is written as AWS exports it: as a key in the header Authorization.
        "apiKey" if at.get("x-authorizer").is_some() => {
            checker
                .fields(at, &["type", "description", "name", "in", "x-authorizer", "x-amazon-apigateway-authtype"])?;
            gateway(checker, at)
        }
        "apiKey" => api_key(checker, at),
        "http" => http(checker, at),
        "openIdConnect" => {
            checker.fields(at, &["type", "description", "openIdConnectUrl", "x-jwt", "x-authorizer"])?;
            let url = checker.required(at, "openIdConnectUrl").and_then(|url| access_token::https_url(checker, url));
            token_or_gateway(checker, at, url)
        }
        "oauth2" => {
            checker.fields(at, &["type", "description", "flows", "x-jwt", "x-authorizer"])?;
            token_or_gateway(checker, at, None)
        }
        "mutualTLS" => {
            checker.fields(at, &["type", "description"])?;
            Some(SecurityScheme::Gateway { identity: GatewayIdentity::ClientCertificate, principal: String::new() })
        }
        kind => {
            let reason = format!("`{kind}` is not supported; use apiKey, http, openIdConnect, oauth2 or mutualTLS");
            checker.fault_at(&at.child_pointer("type"), reason);
            None
        }
    }
}

fn api_key<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<SecurityScheme> {
    // Unknown extensions are refused here: a misspelt `x-signature` would turn a signature scheme into an API key.
    checker.fields(at, &["type", "description", "name", "in", "x-secret", "x-signature"])?;
    let place_at = checker.required(at, "in");
    let place = place_at.and_then(|place| checker.choice(place, KEY_PLACES));
    let name = checker.required_text(at, "name");
    if let Some((place, name)) = place.zip(name) {
        check_key_name(checker, at, place, name)?;
    }
    let secret = secret(checker, at)?;
    let (place, name) = place.zip(name)?;
    let Some(signature) = at.get("x-signature") else {
        let name = if place == KeyPlace::Header { name.to_ascii_lowercase() } else { name.to_owned() };
        return Some(SecurityScheme::ApiKey { place, name, secret });
    };
    if place != KeyPlace::Header {
        checker.fault_at(&at.child_pointer("in"), "a signature is sent in a header");
        return None;
    }
    let header = name.to_ascii_lowercase();
    let (provider, scheme) = super::signature::scheme(checker, signature)?;
    if !scheme.signature.header.contains(&header) && scheme.signature.body.is_none() {
        let read = scheme.signature.header.iter().collect::<Vec<_>>().join(" or ");
        let reason = format!("a {provider} signature is not read from `{header}`; write {read}");
        checker.fault_at(&at.child_pointer("name"), reason);
        return None;
    }
    Some(SecurityScheme::Signature { header, provider, scheme: Box::new(scheme), secret })
}

const KEY_PLACES: &[(&str, KeyPlace)] =
    &[("header", KeyPlace::Header), ("query", KeyPlace::Query), ("cookie", KeyPlace::Cookie)];

fn check_key_name(checker: &mut ContractChecker<'_>, at: &Node, place: KeyPlace, name: &str) -> Option<()> {
    let (is_name, what) = match place {
        KeyPlace::Header => (is_header_name(name), "header name"),
        // RFC 6265, section 4.1.1.
        KeyPlace::Cookie => (is_header_name(name), "cookie name"),
        KeyPlace::Query => (name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"'), "parameter name"),
    };
    if !is_name {
        checker.fault_at(&at.child_pointer("name"), format!("`{name}` is not a {what}"));
    }
    is_name.then_some(())
}

fn http<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<SecurityScheme> {
    let scheme = checker.required_text(at, "scheme")?;
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => {
            checker.fields(at, &["type", "description", "scheme", "x-secret"])?;
            Some(SecurityScheme::Basic { secret: secret(checker, at)? })
        }
        "bearer" => {
            checker.fields(at, &["type", "description", "scheme", "bearerFormat", "x-jwt", "x-authorizer"])?;
            token_or_gateway(checker, at, None)
        }
        _ => {
            checker.fault_at(
                &at.child_pointer("scheme"),
                format!("`{scheme}` is not supported; use basic or bearer, or apiKey with x-signature"),
            );
            None
        }
    }
}

/// Returns the scheme of a bearer token: checked by ingress with `x-jwt`, or by the gateway with `x-authorizer`.
fn token_or_gateway<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    discovery_url: Option<&str>,
) -> Option<SecurityScheme> {
    match (at.get("x-jwt"), at.get("x-authorizer")) {
        (Some(_), Some(authorizer)) => {
            checker.fault(authorizer, "either ingress checks the token (x-jwt) or the gateway does; remove one");
            None
        }
        (Some(jwt), None) => {
            let tokens = Box::new(access_token::tokens(checker, jwt, discovery_url)?);
            Some(SecurityScheme::Token { tokens })
        }
        (None, Some(_)) => gateway(checker, at),
        (None, None) => {
            let reason = "is missing; write `x-jwt: { issuer: https://…, audience: … }`, or `x-authorizer: jwt` for a \
                          token that the gateway has checked";
            checker.missing(at, "x-jwt", reason);
            None
        }
    }
}

const AUTHORIZERS: &[(&str, GatewayIdentity)] =
    &[("jwt", GatewayIdentity::Jwt), ("lambda", GatewayIdentity::Lambda), ("iam", GatewayIdentity::Iam)];

/// Reads `x-authorizer`: the kind of authorizer, or an object with it and the place of the principal.
fn gateway<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<SecurityScheme> {
    let at = at.get("x-authorizer")?;
    let (identity, pointer_at) = if at.is_map() {
        checker.fields(at, &["type", "principal"])?;
        let kind = checker.required(at, "type")?;
        (checker.choice(kind, AUTHORIZERS)?, at.get("principal"))
    } else {
        (checker.choice(at, AUTHORIZERS)?, None)
    };
    let principal = match (identity, pointer_at) {
        (GatewayIdentity::Iam | GatewayIdentity::ClientCertificate, Some(pointer)) => {
            checker.fault(pointer, "the principal of IAM is the ARN of the user or role");
            return None;
        }
        (_, Some(pointer)) => claim_pointer(checker, pointer)?,
        (GatewayIdentity::Lambda, None) => "/principalId".to_owned(),
        (_, None) => "/sub".to_owned(),
    };
    Some(SecurityScheme::Gateway { identity, principal })
}

/// Reads the JSON pointer of a claim.
pub(super) fn claim_pointer(checker: &mut ContractChecker<'_>, at: &Node) -> Option<String> {
    let pointer = checker.text(at)?;
    if !pointer.starts_with('/') || !template::is_pointer(pointer) {
        checker.fault(at, format!("`{pointer}` is not the JSON pointer of a claim, such as /sub"));
        return None;
    }
    Some(pointer.to_owned())
}

fn secret(checker: &mut ContractChecker<'_>, at: &Node) -> Option<String> {
    let secret = checker.required_text(at, "x-secret")?;
    if secret.len() > SECRET_NAME_BYTES_MAX || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = format!("must be 1 to {SECRET_NAME_BYTES_MAX} printable ASCII characters without a space");
        checker.fault_at(&at.child_pointer("x-secret"), reason);
        return None;
    }
    Some(secret.to_owned())
}

/// Returns the scopes that the flows of an `oauth2` scheme list; `None` for another type.
fn flow_scopes<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<BTreeSet<String>> {
    if at.get("type").and_then(Node::text) != Some("oauth2") {
        return None;
    }
    let flows = checker.required(at, "flows")?;
    checker.fields_and_extensions(flows, &["implicit", "password", "clientCredentials", "authorizationCode"])?;
    let mut scopes = BTreeSet::new();
    for (name, flow) in flows.entries().filter(|(name, _)| !name.starts_with("x-")) {
        checker.mapping(flow)?;
        let urls: &[&str] = match name {
            "implicit" => &["authorizationUrl"],
            "authorizationCode" => &["authorizationUrl", "tokenUrl"],
            _ => &["tokenUrl"],
        };
        for url in urls {
            checker.required_text(flow, url);
        }
        let listed = checker.required(flow, "scopes")?;
        checker.mapping(listed)?;
        scopes.extend(listed.entries().map(|(scope, _)| scope.to_owned()));
    }
    Some(scopes)
}

/// Returns the alternatives in a `security` field. An empty list, or an empty alternative, admits every request.
pub(super) fn requirements<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    schemes: &Schemes,
) -> Vec<Vec<Requirement>> {
    let mut alternatives = Vec::new();
    for alternative in checker.list(at) {
        if checker.mapping(alternative).is_none() {
            continue;
        }
        let members = alternative.entries();
        alternatives
            .push(members.into_iter().filter_map(|(name, at)| requirement(checker, name, at, schemes)).collect());
    }
    alternatives
}

fn requirement<'d>(
    checker: &mut ContractChecker<'d>,
    name: &str,
    at: &'d Node,
    schemes: &Schemes,
) -> Option<Requirement> {
    let Some(Declared { scheme, scopes: listed }) = schemes.get(name) else {
        checker.fault(at, format!("`{name}` is not declared in components.securitySchemes"));
        return None;
    };
    let items = checker.list(at);
    let scopes: Vec<_> = items.iter().filter_map(|item| checker.text(item).map(|scope| (item, scope))).collect();
    let has_none = match scheme {
        Some(SecurityScheme::Signature { .. }) => Some("a signature has no scopes; write []"),
        Some(SecurityScheme::Gateway { identity: GatewayIdentity::ClientCertificate, .. }) => {
            Some("a client certificate has no scopes; write []")
        }
        Some(SecurityScheme::Gateway { identity: GatewayIdentity::Iam, .. }) => {
            Some("IAM has no scopes: its policies say who may call; write []")
        }
        _ => None,
    };
    if let Some(reason) = has_none.filter(|_| !scopes.is_empty()) {
        checker.fault(at, reason);
    }
    let is_token = scheme.as_ref().is_some_and(SecurityScheme::has_claims);
    for (item, scope) in &scopes {
        // RFC 6749, section 3.3. A scope is also part of a challenge.
        let is_scope = scope.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\".contains(&byte));
        if is_token && !is_scope {
            checker.fault(item, format!("`{scope}` is not a scope: it has a space, a quote or another character"));
        } else if listed.as_ref().is_some_and(|listed| !listed.contains(*scope)) {
            checker.fault(item, format!("`{scope}` is not a scope of the flows of `{name}`"));
        }
    }
    let scopes = scopes.into_iter().map(|(_, scope)| scope.to_owned()).collect();
    Some(Requirement { scheme: name.to_owned(), scopes })
}

/// Returns whether every caller of an operation with this `security` has claims.
pub(super) fn has_claims(security: &[Vec<Requirement>], schemes: &Schemes) -> bool {
    let has_claims = |requirement: &Requirement| match schemes.get(&requirement.scheme) {
        // One with a fault, which is reported.
        Some(Declared { scheme: None, .. }) => true,
        Some(Declared { scheme: Some(scheme), .. }) => scheme.has_claims(),
        None => false,
    };
    !security.is_empty() && security.iter().all(|alternative| alternative.iter().any(has_claims))
}

/// Returns whether a caller of an operation with this `security` may be known by a signature.
pub(super) fn is_signed(security: &[Vec<Requirement>], schemes: &Schemes) -> bool {
    let is_signature = |requirement: &Requirement| {
        matches!(found(schemes, &requirement.scheme), Some(SecurityScheme::Signature { .. }))
    };
    security.iter().flatten().any(is_signature)
}

/// Returns the provider of the catalog that signs every request of an operation with this `security`.
pub(super) fn provider(security: &[Vec<Requirement>], schemes: &Schemes) -> Option<&'static Provider> {
    let slug = |alternative: &Vec<Requirement>| {
        alternative.iter().find_map(|requirement| match found(schemes, &requirement.scheme) {
            Some(SecurityScheme::Signature { provider, .. }) => Some(provider.clone()),
            _ => None,
        })
    };
    let first = slug(security.first()?)?;
    let is_only = security.iter().all(|alternative| slug(alternative).as_ref() == Some(&first));
    Provider::named(&first).filter(|_| is_only)
}
