//! Authentication: `components.securitySchemes`, and the `security` of an operation.

use std::collections::BTreeMap;

use sluicegate_webhook::{Provider, is_header_name};
use sluicegate_yaml::Node;

use super::checker::ContractChecker;
use crate::{Requirement, SecurityScheme};

/// Longest `x-secret`. Chosen here: the name of a signing secret is the principal of its messages, so it must be valid
/// as an attribute of an event.
const SECRET_NAME_BYTES_MAX: usize = 128;

/// The declared schemes; `None` for one that has a fault, so that the operations that use it get no further fault.
pub(super) type Schemes = BTreeMap<String, Option<SecurityScheme>>;

pub(super) fn schemes(checker: &mut ContractChecker<'_>) -> Schemes {
    let Some(declared) = checker.root.get("components").and_then(|components| components.get("securitySchemes")) else {
        return Schemes::new();
    };
    if checker.mapping(declared).is_none() {
        return Schemes::new();
    }
    let mut schemes = Schemes::new();
    for (name, at) in declared.entries() {
        let scheme = scheme(checker, at);
        check_secret(checker, at, scheme.as_ref(), &schemes);
        schemes.insert(name.to_owned(), scheme);
    }
    schemes
}

/// Notes a fault if two schemes use one list of the secret for different kinds: API keys and signing secrets, or
/// secrets of two signature schemes.
fn check_secret(checker: &mut ContractChecker<'_>, at: &Node, scheme: Option<&SecurityScheme>, others: &Schemes) {
    let Some((secret, provider)) = scheme.map(list) else { return };
    let differs = |other: &&SecurityScheme| list(other).0 == secret && list(other).1 != provider;
    if others.values().flatten().any(|other| differs(&other)) {
        let reason = format!(
            "`{secret}` is already the list of another kind of secret; give this scheme a list with another name"
        );
        checker.fault_at(&at.child_pointer("x-secret"), reason);
    }
}

/// Returns the name of the list that a scheme uses, and its provider; `None` for API keys.
fn list(scheme: &SecurityScheme) -> (&str, Option<&str>) {
    match scheme {
        SecurityScheme::ApiKey { secret, .. } => (secret, None),
        SecurityScheme::Signature { secret, provider, .. } => (secret, Some(provider)),
    }
}

fn scheme<'d>(checker: &mut ContractChecker<'d>, at: &'d Node) -> Option<SecurityScheme> {
    let at = checker.resolve(at)?;
    checker.mapping(at)?;
    let kind = checker.required_text(at, "type")?;
    if kind != "apiKey" {
        checker.fault_at(&at.child_pointer("type"), format!("`{kind}` is not supported; use apiKey, in a header"));
        return None;
    }
    // Unknown extensions are refused here: a misspelt `x-signature` would turn a signature scheme into an API key.
    checker.fields(at, &["type", "description", "name", "in", "x-secret", "x-signature"])?;
    let header = checker.required_text(at, "name");
    if let Some(name) = header.filter(|name| !is_header_name(name)) {
        checker.fault_at(&at.child_pointer("name"), format!("`{name}` is not a header name"));
        return None;
    }
    let location = checker.required_text(at, "in");
    if let Some(other) = location.filter(|location| *location != "header") {
        checker.fault_at(&at.child_pointer("in"), format!("`{other}` is not supported; a key is sent in a header"));
        return None;
    }
    let secret = checker.required_text(at, "x-secret")?;
    if secret.len() > SECRET_NAME_BYTES_MAX || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        let reason = format!("must be 1 to {SECRET_NAME_BYTES_MAX} printable ASCII characters without a space");
        checker.fault_at(&at.child_pointer("x-secret"), reason);
        return None;
    }
    let secret = secret.to_owned();
    let header = location.and(header)?.to_ascii_lowercase();
    let Some(signature) = at.get("x-signature") else {
        return Some(SecurityScheme::ApiKey { header, secret });
    };
    let (provider, scheme) = super::signature::scheme(checker, signature)?;
    if !scheme.signature.header.contains(&header) && scheme.signature.body.is_none() {
        let read = scheme.signature.header.iter().collect::<Vec<_>>().join(" or ");
        let reason = format!("a {provider} signature is not read from `{header}`; write {read}");
        checker.fault_at(&at.child_pointer("name"), reason);
        return None;
    }
    Some(SecurityScheme::Signature { header, provider, scheme: Box::new(scheme), secret })
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
    let Some(scheme) = schemes.get(name) else {
        checker.fault(at, format!("`{name}` is not declared in components.securitySchemes"));
        return None;
    };
    let items = checker.list(at);
    let scopes: Vec<_> = items.iter().filter_map(|item| checker.text(item)).map(str::to_owned).collect();
    if matches!(scheme, Some(SecurityScheme::Signature { .. })) && !scopes.is_empty() {
        checker.fault(at, "a signature has no scopes; write []");
    }
    Some(Requirement { scheme: name.to_owned(), scopes })
}

/// Returns the provider of the catalog that signs every request of an operation with this `security`.
pub(super) fn provider(security: &[Vec<Requirement>], schemes: &Schemes) -> Option<&'static Provider> {
    let slug = |alternative: &Vec<Requirement>| {
        alternative.iter().find_map(|requirement| match schemes.get(&requirement.scheme) {
            Some(Some(SecurityScheme::Signature { provider, .. })) => Some(provider.clone()),
            _ => None,
        })
    };
    let first = slug(security.first()?)?;
    let is_only = security.iter().all(|alternative| slug(alternative).as_ref() == Some(&first));
    Provider::named(&first).filter(|_| is_only)
}
