//! The connections that are opened when the function starts, while Lambda provides a full CPU.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use sluicegate_contract::Contract;
use sluicegate_ingress::from_env;
use tokio::net::TcpListener;
use tokio::time::timeout;

/// Returns a contract whose only route has this security, of a scheme with a secret if it has any.
fn contract(security: &str) -> &'static Contract {
    let schemes = "components:\n  securitySchemes:\n    key: { type: apiKey, in: header, name: k, x-secret: keys }\n";
    let yaml = format!(
        "openapi: 3.1.0\ninfo: {{ title: t, version: v }}\npaths:\n  /take:\n    post:\n      operationId: take\n      \
         security: [{security}]\n      requestBody: {{ content: {{ application/json: {{}} }} }}\n      \
         x-sluicegate: {{ queue: orders, type: t }}\n{}",
        if security.is_empty() { "" } else { schemes }
    );
    Box::leak(Box::new(Contract::parse("take.yaml", &yaml).unwrap_or_else(|faults| panic!("{faults:?}"))))
}

/// Starts the ingress with these addresses of SQS and Secrets Manager.
async fn start(contract: &'static Contract, sqs: &str, secrets: &str) {
    let variable = |name: &str| match name {
        "AWS_ENDPOINT_URL_SQS" => Some(format!("http://{sqs}")),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER" => Some(format!("http://{secrets}")),
        "QUEUE_ORDERS" => Some(format!("http://{sqs}/123456789012/orders")),
        "AWS_REGION" => Some("eu-west-1".to_owned()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "SECRET_ARN" => Some("s".to_owned()),
        _ => None,
    };
    from_env(contract, variable).await.unwrap_or_else(|errors| panic!("{errors:?}"));
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Returns whether a connection waits.
async fn is_connected(listener: &TcpListener) -> bool {
    timeout(Duration::from_millis(1), listener.accept()).await.is_ok()
}

#[tokio::test]
async fn sqs_and_if_there_are_secrets_their_store_are_connected_at_the_start() {
    for (security, expected) in [("{ key: [] }", true), ("", false)] {
        let ((sqs, sqs_address), (secrets, secrets_address)) = (listen().await, listen().await);
        start(contract(security), &sqs_address, &secrets_address).await;
        assert!(is_connected(&sqs).await, "{security}");
        assert_eq!(is_connected(&secrets).await, expected, "{security}");
        assert!(!is_connected(&sqs).await, "one connection is enough");
    }
}

#[tokio::test]
async fn without_a_connection_the_function_starts() {
    let ((sqs, sqs_address), (secrets, secrets_address)) = (listen().await, listen().await);
    drop((sqs, secrets));
    start(contract("{ key: [] }"), &sqs_address, &secrets_address).await;
}
