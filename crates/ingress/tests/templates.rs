//! Values of a request that a template takes and no event can carry: the answer names the place and the character.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_ingress::testing::TestIngress;

/// Posts to a route with this subject. Returns status and body of the answer, and how many messages are stored.
async fn post(subject: &str, header: &str, body: &Value) -> (Value, Value, usize) {
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
         security: []\n      requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
         parameters: [{{ name: x-name, in: header, schema: {{ type: string }} }}]\n      \
         x-sluicegate: {{ queue: q, type: t, subject: '{subject}' }}\n"
    );
    let contract = Contract::parse("take.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}"));
    let ingress = TestIngress::new(contract);
    let event = json!({
        "version": "2.0", "rawPath": "/take", "rawQueryString": "",
        "headers": { "content-type": "application/json", "x-name": header },
        "requestContext": { "stage": "$default", "http": { "method": "POST", "sourceIp": "192.0.2.1" } },
        "body": body.to_string(), "isBase64Encoded": false,
    });
    let answer = ingress.handle(&event.to_string()).await.unwrap();
    let text = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (answer["statusCode"].clone(), text, ingress.stored().len())
}

#[tokio::test]
async fn a_character_that_no_event_carries_is_named_with_its_place() {
    for (character, name) in [("\n", "U+000A"), ("\u{85}", "U+0085"), ("\u{ffff}", "U+FFFF"), ("\u{fdd0}", "U+FDD0")] {
        let value = format!("a{character}b");
        let (status, problem, stored) = post("{body#/name}", "a", &json!({ "name": value })).await;
        assert_eq!((status, &problem["code"], stored), (json!(422), &json!("schema_violated"), 0), "{problem}");
        assert_eq!(problem["errors"][0]["pointer"], "/name", "{problem}");
        assert!(problem["errors"][0]["detail"].as_str().unwrap().contains(name), "{problem}");
    }
    let (status, problem, stored) = post("{header.x-name}", "a\u{85}b", &json!({})).await;
    assert_eq!((status, &problem["code"], stored), (json!(400), &json!("parameter_invalid"), 0), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("header x-name") && detail.contains("U+0085"), "{problem}");
}

#[tokio::test]
async fn a_value_that_an_event_carries_is_stored() {
    let (status, problem, stored) = post("{body#/name}", "a", &json!({ "name": "é \u{1F600}" })).await;
    assert_eq!((status, stored), (json!(202), 1), "{problem}");
}
