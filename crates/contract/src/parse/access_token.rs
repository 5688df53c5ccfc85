//! `x-jwt`: the access tokens that ingress checks.

use sluicegate_webhook::{AccessTokens, DISCOVERY_PATH, IssuerKeys, SKEW_S_DEFAULT, TokenAlgorithm};
use sluicegate_yaml::{Data, Node};

use super::checker::ContractChecker;
use super::security::claim_pointer;

const FIELDS: &[&str] =
    &["issuer", "audience", "audienceClaim", "algorithms", "jwks", "skewSeconds", "principal", "scopes"];

/// The largest `skewSeconds`: five minutes. A larger one would keep expired tokens alive.
const SKEW_S_MAX: u32 = 300;

/// The claims that scopes are read from: that of RFC 8693 and RFC 9068, and that of Microsoft and Okta.
const SCOPE_CLAIMS: [&str; 2] = ["/scope", "/scp"];

/// Reads `x-jwt`. `discovery_url` is the `openIdConnectUrl` of the scheme.
pub(super) fn tokens(
    checker: &mut ContractChecker<'_>,
    at: &Node,
    discovery_url: Option<&str>,
) -> Option<AccessTokens> {
    checker.fields(at, FIELDS)?;
    // Each field is read before any `?`, so that all their faults are reported.
    let issuer = issuer(checker, at, discovery_url);
    let audiences = audiences(checker, at);
    let audience_claim = match at.get("audienceClaim") {
        None => Some("aud"),
        Some(claim) => checker.text(claim),
    };
    let algorithms = algorithms(checker, at);
    let jwks = at.get("jwks").map(|url| https_url(checker, url));
    let skew_s = at.get("skewSeconds").map(|skew| checker.integer(skew, 0..=SKEW_S_MAX));
    let principal = at.get("principal").map(|pointer| claim_pointer(checker, pointer));
    let scopes = at.get("scopes").map(|pointer| claim_pointer(checker, pointer));

    let issuer = issuer?;
    let keys = match (jwks, discovery_url) {
        (Some(url), _) => IssuerKeys::Jwks(url?.to_owned()),
        (None, Some(url)) => IssuerKeys::Discovery(url.to_owned()),
        (None, None) => IssuerKeys::Discovery(AccessTokens::discovery_url(&issuer)),
    };
    Some(AccessTokens {
        issuer,
        audiences: audiences?,
        audience_claim: audience_claim?.to_owned(),
        algorithms: algorithms?,
        keys,
        skew_s: skew_s.unwrap_or(Some(SKEW_S_DEFAULT))?,
        principal: principal.unwrap_or_else(|| Some("/sub".to_owned()))?,
        scopes: match scopes {
            Some(pointer) => vec![pointer?],
            None => SCOPE_CLAIMS.map(str::to_owned).to_vec(),
        },
    })
}

/// Reads the issuer. Without it, it is the `openIdConnectUrl` without its end.
fn issuer(checker: &mut ContractChecker<'_>, at: &Node, discovery_url: Option<&str>) -> Option<String> {
    let Some(issuer) = at.get("issuer") else {
        if let Some(issuer) = discovery_url.and_then(|url| url.strip_suffix(DISCOVERY_PATH)) {
            return Some(issuer.to_owned());
        }
        let reason = match discovery_url {
            Some(_) => format!("is missing, because openIdConnectUrl does not end in {DISCOVERY_PATH}"),
            None => "is missing; write the tokens' claim `iss`, exactly".to_owned(),
        };
        checker.missing(at, "issuer", reason);
        return None;
    };
    // With a key set of its own, an issuer may be any text, such as `accounts.google.com`.
    let needs_url = at.get("jwks").is_none() && discovery_url.is_none();
    let text = if needs_url { https_url(checker, issuer)? } else { checker.text(issuer)? };
    Some(text.to_owned())
}

/// Reads `audience`: a text, or a list of which any is accepted.
fn audiences(checker: &mut ContractChecker<'_>, at: &Node) -> Option<Vec<String>> {
    let Some(audience) = at.get("audience") else {
        let reason = "is missing: without an audience, a token that the issuer made for any other API would be \
                      accepted; write the tokens' claim `aud` for this API";
        checker.missing(at, "audience", reason);
        return None;
    };
    let Data::List(items) = audience.data() else {
        return checker.text(audience).map(|text| vec![text.to_owned()]);
    };
    if items.is_empty() {
        checker.fault(audience, "an empty list admits no token");
        return None;
    }
    items.iter().map(|item| checker.text(item).map(str::to_owned)).collect()
}

/// Reads `algorithms`; all of them by default, because the kind of the issuer's key decides which one fits.
fn algorithms(checker: &mut ContractChecker<'_>, at: &Node) -> Option<Vec<TokenAlgorithm>> {
    let mut algorithms: Vec<_> = match at.get("algorithms") {
        None => TokenAlgorithm::NAMES.into_iter().map(|(_, algorithm)| algorithm).collect(),
        Some(list) => {
            if list.items().is_empty() {
                checker.fault(list, "must be a list of algorithms, such as [RS256, ES256]");
                return None;
            }
            list.items().iter().map(|item| algorithm(checker, item)).collect::<Option<_>>()?
        }
    };
    algorithms.dedup();
    Some(algorithms)
}

fn algorithm(checker: &mut ContractChecker<'_>, at: &Node) -> Option<TokenAlgorithm> {
    let name = checker.text(at)?;
    let found = TokenAlgorithm::named(name);
    if found.is_none() {
        let known: Vec<_> = TokenAlgorithm::NAMES.iter().map(|(name, _)| *name).collect();
        let why = match name {
            "none" => "a token without a signature proves nothing".to_owned(),
            _ if name.starts_with("HS") => {
                "the key of an HMAC is shared, and an issuer publishes none; use an algorithm with a key pair"
                    .to_owned()
            }
            _ => format!("use one of {}", known.join(", ")),
        };
        checker.fault(at, format!("`{name}` is not accepted: {why}"));
    }
    found
}

/// Reads a URL of https with a host.
pub(super) fn https_url<'n>(checker: &mut ContractChecker<'_>, at: &'n Node) -> Option<&'n str> {
    let url = checker.text(at)?;
    let host = url.strip_prefix("https://").map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let is_url = host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte));
    if !is_url {
        checker.fault(at, format!("`{url}` is not an https URL"));
    }
    is_url.then_some(url)
}
