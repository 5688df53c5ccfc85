//! The ingress with its queues on Kafka, configured only by its environment.

use std::sync::Arc;

use serde_json::{Value, json};
use sluicegate_contract::Contract;
use sluicegate_envelope::Envelope;
use sluicegate_ingress::{AnyProducer, Ingress, SecretsManager};

use super::bodies::taking_contract;
use super::{ORDER, ORDER_HEADERS, answer, brokers, http_api, secret_text};
use crate::support::contract;
use crate::support::kafka::Broker;
use crate::support::service::emulator_with;

async fn ingress(
    contract: &'static Contract,
    broker: &Broker,
    bindings: &[(&str, &str)],
) -> Ingress<AnyProducer, SecretsManager> {
    let endpoint = emulator_with(Arc::new(|name: &str| (name == "ingress").then(secret_text))).await;
    let servers = broker.servers();
    let cluster = [("KAFKA_BOOTSTRAP_SERVERS", servers.as_str()), ("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT")];
    brokers::ingress(contract, &endpoint, &[bindings, &cluster].concat()).await
}

fn body(answer: &Value) -> Value {
    serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON")
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_request_is_202_with_its_event_in_the_topic_and_503_without() {
    let mut broker = Broker::start(&["events:2"]).await;
    let bindings = [("QUEUE_ORDERS", "kafka:events/{type}:{group}"), ("QUEUE_WEBHOOKS", "kafka:nowhere")];
    let ingress = ingress(contract(), &broker, &bindings).await;
    let order = http_api("POST", "/orders", &ORDER_HEADERS, ORDER);
    let accepted = answer(&ingress, &order).await;
    assert_eq!(accepted["statusCode"], 202, "{accepted}");
    let records = broker.records("events").await;
    assert_eq!(records.len(), 1);
    let envelope = Envelope::decode(str::from_utf8(&records[0].value).unwrap()).unwrap();
    assert_eq!((envelope.id(), envelope.event_type()), (body(&accepted)["id"].as_str().unwrap(), "order.placed"));
    assert_eq!(*envelope.payload(), *ORDER.as_bytes());
    let group = envelope.group().expect("the route has a group");
    assert_eq!(records[0].key.as_deref(), Some(format!("order.placed:{group}").as_str()));

    broker.stop().await;
    let refused = answer(&ingress, &order).await;
    assert_eq!(
        (refused["statusCode"].as_u64(), body(&refused)["code"].as_str()),
        (Some(503), Some("queue_unavailable"))
    );
    assert!(refused["headers"]["retry-after"].is_string(), "{refused}");
    assert!(!refused.to_string().contains("127.0.0.1"), "{refused}");

    broker.restart().await;
    assert_eq!(answer(&ingress, &order).await["statusCode"], 202);
    assert_eq!(broker.records("events").await.len(), 2);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn the_items_of_a_batch_keep_the_order_of_their_groups() {
    let broker = Broker::start(&["items:3"]).await;
    let contract = taking_contract(&json!({
        "requestBody": { "content": { "application/json": { "schema": { "type": "array", "items": {} } } } },
        "x-sluicegate": { "batch": true, "group": "{body#/group}" },
    }));
    let ingress = ingress(contract, &broker, &[("QUEUE_Q", "kafka:items")]).await;
    let items: Vec<_> = (0..100).map(|n| json!({ "n": n, "group": format!("g{}", n % 5) })).collect();
    let request = http_api("POST", "/take/a", &[("content-type", "application/json")], &json!(items).to_string());
    let accepted = answer(&ingress, &request).await;
    assert_eq!(accepted["statusCode"], 202, "{accepted}");
    let records = broker.records("items").await;
    assert_eq!(records.len(), 100);
    for group in ["g0", "g1", "g2", "g3", "g4"] {
        let of_group = records.iter().filter(|record| record.key.as_deref() == Some(group));
        let numbers: Vec<u64> = of_group
            .map(|record| {
                let event: Value = serde_json::from_slice(&record.value).unwrap();
                event["data"]["n"].as_u64().unwrap()
            })
            .collect();
        assert!(numbers.len() == 20 && numbers.is_sorted(), "{group}: {numbers:?}");
    }
}
