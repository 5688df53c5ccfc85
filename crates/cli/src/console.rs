//! What the console of `cargo local` needs of the contract: where credentials are, and why a signature was refused.

use std::{path::Path, sync::Arc};

use http::{StatusCode, header};
use sluicegate_contract::{Contract, KeyPlace, SecurityScheme};
use sluicegate_local::{ContractFacts, Credentials, Finding, RefusedRequest};
use sluicegate_webhook::Assurance;

use crate::{development::signing_secret, input, paths, webhook};

/// The variable with the URL that providers call, which the ingress function reads too.
const PUBLIC_URL: &str = "PUBLIC_URL";

/// Returns the facts of a contract.
pub(crate) fn facts(contract: Option<&Contract>) -> ContractFacts {
    ContractFacts {
        credentials: contract.map(credentials).unwrap_or_default(),
        explain: Some(Arc::new(explain)),
        project: None,
    }
}

/// Returns the places of the credentials that the security schemes name. A signature is not a credential; a token that
/// a provider sends in place of one is.
fn credentials(contract: &Contract) -> Credentials {
    let mut credentials = Credentials::default();
    for scheme in schemes(contract) {
        match scheme {
            SecurityScheme::ApiKey { place: KeyPlace::Header, name, .. } => {
                credentials.headers.insert(name.clone());
            }
            SecurityScheme::ApiKey { place: KeyPlace::Query, name, .. } => {
                credentials.query.insert(name.clone());
            }
            SecurityScheme::Signature { header, scheme, .. } if scheme.assurance == Assurance::Token => {
                credentials.headers.insert(header.clone());
                credentials.headers.extend(scheme.signature.header.iter().map(str::to_owned));
            }
            _ => {}
        }
    }
    credentials
}

fn schemes(contract: &Contract) -> impl Iterator<Item = &SecurityScheme> {
    let requirements = contract.operations().iter().flat_map(|operation| operation.security.iter().flatten());
    requirements.filter_map(|requirement| contract.scheme(&requirement.scheme))
}

/// Explains a refused signature, with the development secret and the contract as it is now.
fn explain(request: &RefusedRequest) -> Vec<Finding> {
    if request.status != StatusCode::UNAUTHORIZED {
        return Vec::new();
    }
    input::contract(Path::new(paths::CONTRACT)).map(|contract| explain_by(&contract, request)).unwrap_or_default()
}

fn explain_by(contract: &Contract, request: &RefusedRequest) -> Vec<Finding> {
    let path = request.target.split('?').next().unwrap_or_default();
    let Ok(found) = contract.route(&request.method, path) else { return Vec::new() };
    let url = std::env::var(PUBLIC_URL).unwrap_or_else(|_| {
        let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("https://{host}")
    });
    let url = format!("{}{}", url.trim_end_matches('/'), request.target);
    let mut findings = Vec::new();
    for requirement in found.operation.security.iter().flatten() {
        let Some(SecurityScheme::Signature { provider, scheme, .. }) = contract.scheme(&requirement.scheme) else {
            continue;
        };
        findings.push(Finding { name: "scheme", text: format!("{} ({provider})", requirement.scheme) });
        match signing_secret(provider, scheme) {
            Some(secret) => findings.extend(webhook::explain(scheme, &secret, request, &url)),
            None => {
                let text = "the provider publishes its keys: sluicegate webhook verify --key tries them".to_owned();
                findings.push(Finding { name: "result", text });
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    const CONTRACT: &str = "
openapi: 3.1.1
info: { title: a, version: '1' }
paths:
  /stripe:
    post:
      operationId: a
      security: [{ stripe: [] }]
      requestBody: { required: true, content: { application/json: { schema: { type: object } } } }
      responses: { '202': { description: accepted } }
      x-sluicegate: { queue: q, type: a }
  /gitlab:
    post:
      operationId: b
      security: [{ gitlab: [] }, { key: [] }, { query: [] }]
      requestBody: { required: true, content: { application/json: { schema: { type: object } } } }
      responses: { '202': { description: accepted } }
      x-sluicegate: { queue: q, type: a }
components:
  securitySchemes:
    stripe: { type: apiKey, in: header, name: Stripe-Signature, x-signature: stripe, x-secret: stripe }
    gitlab: { type: apiKey, in: header, name: X-Gitlab-Token, x-signature: { scheme: gitlab-token, accept: token }, x-secret: gitlab }
    key: { type: apiKey, in: header, name: X-Partner-Key, x-secret: keys }
    query: { type: apiKey, in: query, name: key, x-secret: keys }
";

    fn contract() -> Contract {
        Contract::parse("openapi.yaml", CONTRACT).unwrap_or_else(|faults| panic!("{faults}"))
    }

    fn refused(target: &str, headers: &[(&str, &str)], body: &str) -> RefusedRequest {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap()));
        RefusedRequest {
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: HeaderMap::from_iter(headers),
            body: body.as_bytes().to_vec(),
            at_unix_s: 1_795_222_923,
            status: StatusCode::UNAUTHORIZED,
        }
    }

    #[test]
    fn the_credentials_are_those_of_the_security_schemes() {
        let credentials = credentials(&contract());
        assert_eq!(credentials.headers.iter().collect::<Vec<_>>(), ["x-gitlab-token", "x-partner-key"]);
        assert_eq!(credentials.query.iter().collect::<Vec<_>>(), ["key"]);
    }

    #[test]
    fn a_refused_signature_is_explained_as_webhook_verify_does() {
        let contract = contract();
        let SecurityScheme::Signature { scheme, .. } = contract.scheme("stripe").unwrap() else {
            panic!("a signature")
        };
        let secret = signing_secret("stripe", scheme).unwrap();
        let signed = refused("/stripe", &[], "{}");
        let request = sluicegate_webhook::Request::new(&signed.headers, b"{}");
        let key = scheme.secret(&secret).unwrap();
        let signature = scheme.sign(&key, "", signed.at_unix_s, &request).unwrap().remove(0).1;
        let findings = |body: &str, headers: &[(&str, &str)]| {
            let found = explain_by(&contract, &refused("/stripe?a=1", headers, body));
            assert!(!format!("{found:?}").contains(&secret), "{found:?}");
            found.into_iter().map(|finding| format!("{} {}", finding.name, finding.text)).collect::<Vec<_>>()
        };
        let with = [("stripe-signature", signature.as_str())];
        assert_eq!(
            findings("{}\n", &with),
            [
                "scheme stripe (stripe)",
                "signed 1795222923.{}\\n",
                "result no signature matches",
                "cause the body of the request was another one: it has no line feed at the end",
            ]
        );
        assert_eq!(findings("{}", &with).last().unwrap(), "result the signature is valid with the development secret");
        assert_eq!(findings("{}", &[]).last().unwrap(), "result the header stripe-signature is missing");
        assert_eq!(explain_by(&contract, &refused("/nothing", &[], "")), []);
        assert_eq!(explain(&RefusedRequest { status: StatusCode::CONFLICT, ..refused("/stripe", &[], "") }), []);
    }
}
