//! A cluster whose leaders move and whose brokers answer with errors: librdkafka's mock.

use std::time::Duration;

use sluicegate_queue::kafka::KafkaProducer;
use tokio::time::Instant;

use super::{AMPLE, cluster, conclusion, send};
use crate::support::kafka::{MockCluster, Record, read};

async fn topic() -> (MockCluster, KafkaProducer) {
    let mut brokers = MockCluster::start().await;
    brokers.command("topic orders 1").await;
    brokers.command("leader orders 0 1").await;
    let producer = KafkaProducer::new(cluster(brokers.servers()), "orders");
    (brokers, producer)
}

async fn ids(brokers: &MockCluster) -> Vec<String> {
    read("confluent", brokers.servers(), "orders").await.iter().map(Record::event_id).collect()
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn messages_follow_the_leader_of_their_partition() {
    let (mut brokers, producer) = topic().await;
    assert_eq!(conclusion(&send(&producer, "1").await), "stored");
    brokers.command("leader orders 0 2").await;
    assert_eq!(conclusion(&send(&producer, "2").await), "stored");
    brokers.command("down 2").await;
    brokers.command("leader orders 0 3").await;
    assert_eq!(conclusion(&send(&producer, "3").await), "stored");
    brokers.command("up 2").await;
    assert_eq!(ids(&brokers).await, ["1", "2", "3"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn an_error_is_retried_if_it_passes_and_concluded_from_if_it_stays() {
    let (mut brokers, producer) = topic().await;
    for (place, (codes, expected)) in [
        // NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT and NOT_ENOUGH_REPLICAS pass.
        ("6", "stored"),
        ("7 7", "stored"),
        ("19 20 56", "stored"),
        // OUT_OF_ORDER_SEQUENCE_NUMBER and UNKNOWN_PRODUCER_ID need a new identity.
        ("45", "stored"),
        ("59 47", "stored"),
        // And if they stay:
        ("19 19 19 19", "not sent"),
        ("19 19 19 20", "unknown"),
        ("7 7 7 7", "unknown"),
        ("-1 -1 -1 -1", "unknown"),
        // TOPIC_AUTHORIZATION_FAILED, POLICY_VIOLATION and INVALID_RECORD are final.
        ("29", "refused: queue"),
        ("44", "refused: queue"),
        ("87", "refused: queue"),
        ("10", "refused: message"),
        // What may be stored stays unknown.
        ("7 29", "unknown"),
        ("7 10", "unknown"),
    ]
    .into_iter()
    .enumerate()
    {
        brokers.command(&format!("errors produce {codes}")).await;
        let sent = send(&producer, &format!("{place:02}")).await;
        assert_eq!(conclusion(&sent), expected, "{codes}: {sent:?}");
    }
    brokers.command("errors init 31").await;
    let stranger = KafkaProducer::new(cluster(brokers.servers()), "orders");
    assert_eq!(conclusion(&send(&stranger, "15").await), "refused: queue");
    assert_eq!(conclusion(&send(&stranger, "16").await), "stored");
    // The mock handles none of the requests that it answers with an error.
    assert_eq!(ids(&brokers).await, ["00", "01", "02", "03", "04", "16"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn one_broker_of_the_bootstrap_list_is_enough() {
    let (mut brokers, producer) = topic().await;
    for broker in [2, 3] {
        brokers.command(&format!("down {broker}")).await;
    }
    let started = Instant::now();
    assert_eq!(conclusion(&send(&producer, "1").await), "stored");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    brokers.command("down 1").await;
    let silent = KafkaProducer::new(cluster(brokers.servers()), "orders");
    assert_eq!(conclusion(&send(&silent, "2").await), "not sent");
    assert!(started.elapsed() < AMPLE, "{:?}", started.elapsed());
}
