//! `x-cors`, at the top of the document.

use sluicegate_yaml::Node;

use super::checker::ContractChecker;
use crate::{Cors, KeyPlace, Location, Operation, SecurityScheme};

/// The longest time that a browser keeps a preflight answer: that of API Gateway.
const MAX_AGE_S_MAX: u32 = 86_400;

/// The headers of a CloudEvent in binary mode that the specification names.
const EVENT_HEADERS: [&str; 7] =
    ["ce-dataschema", "ce-id", "ce-source", "ce-specversion", "ce-subject", "ce-time", "ce-type"];

/// Reads the origins, and collects what the operations accept from them.
pub(super) fn cors<'s>(
    checker: &mut ContractChecker<'_>,
    operations: &[Operation],
    schemes: impl Iterator<Item = &'s SecurityScheme>,
) -> Option<Cors> {
    let at = checker.root.get("x-cors")?;
    checker.fields(at, &["allowOrigins", "maxAge"])?;
    let origins_at = checker.required(at, "allowOrigins")?;
    let mut origins = Vec::new();
    for entry in checker.list(origins_at) {
        let Some(text) = checker.text(entry) else { continue };
        if text != "*" && !is_origin(text) {
            checker.fault(entry, "an origin is a scheme and a host, such as https://shop.example.com, or * for any");
        }
        origins.push(text.to_owned());
    }
    if origins.is_empty() {
        checker.fault(origins_at, "names no origin");
    }
    let max_age_s = at.get("maxAge").and_then(|field| checker.duration_s(field, 0..=MAX_AGE_S_MAX)).unwrap_or(0);
    // GET and HEAD are for the document.
    let methods = operations.iter().map(|operation| operation.method.as_str()).chain(["GET", "HEAD"]);
    let methods = sorted(methods.map(str::to_owned));
    let of_schemes = schemes.filter_map(|scheme| match scheme {
        SecurityScheme::ApiKey { place: KeyPlace::Header, name, .. } => Some(name.clone()),
        _ => None,
    });
    let http = checker.root.follow("/components/securitySchemes").ok();
    let is_http =
        |scheme: &Node| matches!(scheme.get("type").and_then(Node::text), Some("http" | "oauth2" | "openIdConnect"));
    let has_http = http.is_some_and(|schemes| schemes.entries().any(|(_, scheme)| is_http(scheme)));
    let of_operations = operations.iter().flat_map(|operation| {
        let parameters = operation.parameters.iter().filter(|parameter| parameter.location == Location::Header);
        let body = operation.body.as_ref();
        let coding = body.filter(|body| !body.content_codings.is_empty()).map(|_| "content-encoding");
        let events = body.filter(|body| body.has_binary_events).map(|_| EVENT_HEADERS).into_iter().flatten();
        let names = parameters.map(|parameter| parameter.name.as_str()).chain(body.map(|_| "content-type"));
        names.chain(coding).chain(events).map(str::to_owned).collect::<Vec<_>>()
    });
    let has_status = operations.iter().any(|operation| operation.enqueue.status);
    let others = [has_http.then_some("authorization"), has_status.then_some("if-none-match")];
    let others = others.into_iter().flatten().map(str::to_owned);
    let headers = sorted(of_schemes.chain(others).chain(of_operations));
    Some(Cors { origins, methods, headers, max_age_s })
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.collect();
    names.sort();
    names.dedup();
    names
}

/// Returns whether a text is a serialized origin, as browsers send it.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return false };
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:[]".contains(&byte);
    !host.is_empty()
        && host.bytes().all(legal)
        && !scheme.is_empty()
        && scheme.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte))
}
