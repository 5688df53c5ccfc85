//! One contract on both brokers: answers and stored messages do not depend on the broker of a queue.

use std::sync::Arc;

use serde_json::Value;
use sluicegate_ingress::{AnyProducer, Ingress, SecretsManager, from_env};

use super::{ORDER, ORDER_HEADERS, answer, http_api, secret_text};
use crate::support::rabbitmq::Vhost;
use crate::support::service::{Service, emulator_with};
use crate::support::webhook;

const PING: &str = r#"{"zen": "Keep it logically awesome.", "hook_id": 1}"#;

/// Returns a signed GitHub ping.
fn ping() -> Value {
    let signature = webhook::github_signature("first-secret", PING.as_bytes());
    let headers = [
        ("content-type", "application/json"),
        ("x-github-event", "ping"),
        ("x-github-delivery", "d-1"),
        ("x-hub-signature-256", signature.as_str()),
    ];
    http_api("POST", "/webhooks/github", &headers, PING)
}

/// Returns the ingress, configured only by its environment.
pub(super) async fn ingress(endpoint: &str, bindings: &[(&str, &str)]) -> Ingress<AnyProducer, SecretsManager> {
    let environment = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", endpoint),
        ("SECRET_ARN", "ingress"),
    ];
    let lookup = |wanted: &str| {
        let found = environment.iter().chain(bindings).find(|(name, _)| *name == wanted);
        found.map(|(_, value)| (*value).to_owned())
    };
    from_env(crate::support::contract(), lookup).await.unwrap_or_else(|reasons| panic!("{reasons:?}"))
}

/// Returns the stored event without its time.
fn stored(body: &str) -> Value {
    let mut event: Value = serde_json::from_str(body).unwrap();
    assert!(event["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{event}");
    event["time"].take();
    event
}

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn one_contract_goes_to_either_broker_by_configuration_alone() {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
    let sqs = Service::at(&endpoint);
    let (orders, webhooks) = (sqs.queue(&[]).await, sqs.queue(&[]).await);
    let on_sqs = ingress(&endpoint, &[("QUEUE_ORDERS", &orders), ("QUEUE_WEBHOOKS", &webhooks)]).await;

    let vhost = Vhost::create().await;
    vhost.declare_exchange("events", "topic").await;
    for (queue, pattern) in [("orders", "order.#"), ("webhooks", "github.#")] {
        vhost.declare_queue(queue).await;
        vhost.bind("events", queue, pattern).await;
    }
    let url = vhost.url();
    let on_rabbitmq = ingress(
        &endpoint,
        &[
            ("RABBITMQ_URL", &url),
            ("QUEUE_ORDERS", "rabbitmq:events/{type}"),
            ("QUEUE_WEBHOOKS", "rabbitmq:events/{type}"),
        ],
    )
    .await;
    assert_eq!(on_rabbitmq_connections(&vhost).await, 1, "connected at the start");

    for (queue_url, queue, event, status) in [
        (&orders, "orders", http_api("POST", "/orders", &ORDER_HEADERS, ORDER), 202),
        (&webhooks, "webhooks", ping(), 202),
        (&orders, "orders", http_api("POST", "/orders", &ORDER_HEADERS, "{}"), 422),
    ] {
        let mut answers = [answer(&on_sqs, &event).await, answer(&on_rabbitmq, &event).await];
        assert_eq!(answers[0]["statusCode"], status, "{}", answers[0]);
        assert_eq!(answers[0], answers[1]);
        if status != 202 {
            continue;
        }
        let one = sqs.receive_one(queue_url).await;
        let other = vhost.until_drained(queue, 1).await.remove(0);
        assert_eq!(stored(one.body().unwrap()), stored(other.text()));
        let accepted: Value = serde_json::from_str(answers[0]["body"].take().as_str().unwrap()).unwrap();
        assert_eq!(accepted["id"].as_str(), other.message_id.as_deref());
    }

    // Only RabbitMQ reports an unroutable message.
    vhost.delete_queue("orders").await;
    let lost = answer(&on_rabbitmq, &http_api("POST", "/orders", &ORDER_HEADERS, ORDER)).await;
    assert_eq!((lost["statusCode"].as_u64(), lost["headers"]["retry-after"].as_str()), (Some(503), Some("30")));
    assert!(lost["body"].as_str().unwrap().contains(r#""code":"unroutable""#), "{lost}");
    vhost.delete().await;
}

async fn on_rabbitmq_connections(vhost: &Vhost) -> usize {
    use crate::support::rabbitmq::{PATIENCE, until};
    until("the broker lists the connection", PATIENCE, async || {
        Some(vhost.connections("sluicegate").await.len()).filter(|count| *count > 0)
    })
    .await
}
