//! Who passes, under which name, and what those who do not are answered.

use serde_json::Value;
use sluicegate_contract::Contract;
use sluicegate_ingress::{Arrival, Authenticated, Routed, Secrets};
use sluicegate_webhook::Scheme;

use super::{ORDER_HEADERS, Store, http_api, secret_text};

/// 2023-11-14: the requests' time where the test sets it.
const NOW_UNIX_S: i64 = 1_700_000_000;

/// The shipped contract with another `security` on POST /orders.
fn contract(security: &str) -> &'static Contract {
    let yaml = std::fs::read_to_string(crate::support::root().join("functions/ingress/openapi.yaml")).unwrap();
    let changed = yaml.replace("        - apiKey: [orders.write]\n", &format!("{security}\n"));
    assert_ne!(yaml, changed, "the shipped contract has that requirement");
    // A public operation cannot limit by principal.
    let changed = changed.replace("by: principal", "by: address");
    Box::leak(Box::new(Contract::parse("openapi.yaml", &changed).unwrap()))
}

fn event(path: &str, headers: &[(String, String)], body: &str) -> Value {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    http_api("POST", path, &headers, body)
}

async fn authenticated(contract: &'static Contract, event: &Value) -> Authenticated<'static> {
    let secrets = Secrets::new(Store::holding(&secret_text()), contract);
    let arrival = Arrival::from_event(&serde_json::value::to_raw_value(event).unwrap()).unwrap();
    let routed = Routed::new(contract, arrival).unwrap();
    Authenticated::new(routed, contract, &secrets, NOW_UNIX_S).await.unwrap()
}

#[tokio::test]
async fn a_principal_has_a_kind() {
    let github = [("x-hub-signature-256".to_owned(), {
        let scheme = Scheme::named("github").unwrap();
        scheme.sign(&scheme.secret("first-secret").unwrap(), "", 0, b"{}").remove(0).1
    })];
    let key = ORDER_HEADERS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (security, path, headers, principal, domain) in [
        ("        - apiKey: []", "/orders", &key[..], "acme", "api-key"),
        ("        - apiKey: []", "/webhooks/github", &github, "github", "signature"),
        ("        - {}", "/orders", &key, "anonymous", "anonymous"),
    ] {
        let request = authenticated(contract(security), &event(path, headers, "{}")).await;
        assert_eq!((request.principal(), request.principal_domain()), (principal, domain), "{security} {path}");
    }
}
