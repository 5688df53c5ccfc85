//! Interoperability with confluent-kafka (librdkafka), aiokafka and kafkajs: they read what was sent, byte for byte.

use serde_json::json;
use sluicegate_envelope::Envelope;
use sluicegate_queue::kafka::KafkaProducer;
use sluicegate_queue::{Message, Producer as _};
use tokio::time::Instant;

use super::{AMPLE, cluster, envelope};
use crate::support::kafka::{self, Broker};

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn every_client_reads_the_envelope_with_its_key_and_headers() {
    let broker = Broker::start(&["orders:3"]).await;
    let producer = KafkaProducer::new(cluster(&broker.servers()), "orders");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let full = Envelope::builder("id-1", "/orders", "order.placed")
        .subject("o-ü")
        .traceparent(trace)
        .tracestate("a=b")
        .group("eu.west")
        .payload(Some("application/json"), r#"{"n": 1.10}"#)
        .build()
        .unwrap();
    let binary =
        envelope("id-2", "").into_builder("id-2").payload(Some("image/png"), vec![0, 255, 10]).build().unwrap();
    let receipts = producer.send_all(&[Message::new(&full), Message::new(&binary)], Instant::now() + AMPLE).await;
    let places: Vec<_> = receipts.into_iter().map(|receipt| receipt.unwrap().broker_id).collect();

    let confluent = broker.records("orders").await;
    assert_eq!(kafka::read("aiokafka", &broker.servers(), "orders").await, confluent);
    assert_eq!(kafka::read_by_kafkajs(&broker.servers(), "orders", 2).await, confluent);

    let find = |id: &str| confluent.iter().find(|record| record.event_id() == id).unwrap();
    for (envelope, key, place) in [(&full, Some("eu.west"), &places[0]), (&binary, None, &places[1])] {
        let record = find(envelope.id());
        assert_eq!(record.value, envelope.encode().as_bytes());
        assert_eq!(record.key.as_deref(), key);
        assert_eq!(format!("{}:{}", record.partition, record.offset), *place);
    }
    assert_eq!(
        find("id-1").headers,
        json!({
            "content-type": "application/cloudevents+json; charset=UTF-8",
            "ce_specversion": "1.0",
            "ce_id": "id-1",
            "ce_source": "/orders",
            "ce_type": "order.placed",
            "ce_subject": "o-ü",
            "ce_partitionkey": "eu.west",
            "ce_traceparent": trace,
            "ce_tracestate": "a=b",
            "traceparent": trace,
            "tracestate": "a=b",
        })
    );
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_key_has_the_partition_that_the_java_partitioner_of_librdkafka_gives_it() {
    let broker = Broker::start(&["orders:7"]).await;
    let producer = KafkaProducer::new(cluster(&broker.servers()), "orders");
    let keys = ["a", "ab", "abc", "abcd", "customer-4711", "grüße", "0123456789012345"];
    for key in keys {
        producer.send(&Message::new(&envelope(key, key)), Instant::now() + AMPLE).await.unwrap();
    }
    kafka::program("send.py", &[&[broker.servers().as_str(), "orders"], &keys[..]].concat()).await;
    let records = broker.records("orders").await;
    for key in keys {
        let of_key: Vec<_> = records.iter().filter(|record| record.key.as_deref() == Some(key)).collect();
        assert_eq!(of_key.len(), 2, "{key}");
        assert_eq!(of_key[0].partition, of_key[1].partition, "{key}");
    }
}
