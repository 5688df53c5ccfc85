//! Hostile requests: each is refused with its status and code through every service, and nothing is enqueued.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{
    Broker, Store,
    content::{SERVICES, send},
    ingress, secret_text,
};

#[tokio::test]
async fn every_hostile_request_is_refused_and_nothing_is_enqueued() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("../../vectors/hostile-requests.json")).unwrap();
    assert!(cases.len() >= 200, "{} requests", cases.len());
    let mut wrong = Vec::new();
    for (service, (service_name, ..)) in SERVICES.iter().enumerate() {
        let broker = Broker::default();
        let ingress = ingress(&broker, &Store::with(&secret_text()));
        for case in &cases {
            let text = |member: &str| case[member].as_str().unwrap();
            let headers = case["headers"].as_object().unwrap().iter();
            let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
            let mut body = BASE64_STANDARD.decode(text("body")).unwrap();
            if let Some(times) = case["repeat"].as_u64() {
                let filling = vec![body[1_000]; usize::try_from(times).unwrap()];
                body.splice(1_000..1_001, filling);
            }
            let answer = send(&ingress, service, (text("method"), text("path")), &headers, &body).await;
            if (answer.status, answer.code()) != (case["status"].as_u64().unwrap(), text("code")) {
                wrong.push(format!("{service_name}, {}: {} {}", text("name"), answer.status, answer.code()));
            }
            let said = answer.body["status"].as_u64();
            assert!(said.is_none_or(|status| status == answer.status), "{}: {}", text("name"), answer.body);
        }
        assert_eq!(broker.len(), 0, "{service_name}: nothing is enqueued");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
