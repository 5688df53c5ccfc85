//! The producer against a broker: a receipt only for records in the log, each of them once, and a correct conclusion
//! otherwise, also when connections fail and the broker is down.

use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_queue::kafka::KafkaProducer;
use sluicegate_queue::{Message, Producer as _};
use tokio::time::Instant;

use super::proxy::{PRODUCE, Proxy};
use super::{AMPLE, cluster, conclusion, envelope, send, send_within};
use crate::support::kafka::{Broker, Record};

fn ids(records: &[Record]) -> Vec<String> {
    records.iter().map(Record::event_id).collect()
}

/// Returns a broker with the topic `orders` of one partition, and a producer that reaches it through a proxy.
async fn proxied() -> (Broker, Proxy, KafkaProducer) {
    let broker = Broker::start(&["orders:1"]).await;
    let proxy = Proxy::start(broker.port()).await;
    let producer = KafkaProducer::new(cluster(&proxy.servers()), "orders");
    (broker, proxy, producer)
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn every_conclusion_is_correct_and_does_not_affect_the_next_message() {
    let broker = Broker::start(&["orders:1", "small:1:max.message.bytes=2000"]).await;
    let cluster = cluster(&broker.servers());
    let producer = |topic: &str| KafkaProducer::new(cluster.clone(), topic);
    let (orders, small) = (producer("orders"), producer("small"));
    assert_eq!(send(&orders, "1").await.unwrap().broker_id, "0:0");
    assert_eq!(conclusion(&send(&producer("nowhere"), "2").await), "unroutable");

    let large = envelope("3", "g").into_builder("3").payload(None, vec![b'x'; 3_000]).build().unwrap();
    let refused = small.send(&Message::new(&large), Instant::now() + AMPLE).await;
    assert_eq!(conclusion(&refused), "refused: message");
    assert!(refused.unwrap_err().to_string().contains("MESSAGE_TOO_LARGE"));

    let (late, delay) = (envelope("5", "g"), Duration::from_secs(1));
    let delayed = orders.send(&Message { delay, ..Message::new(&late) }, Instant::now() + AMPLE).await;
    assert_eq!(conclusion(&delayed), "refused: queue");
    assert_eq!(conclusion(&orders.send(&Message::new(&late), Instant::now()).await), "not sent");

    assert_eq!(send(&small, "6").await.unwrap().broker_id, "0:0");
    assert_eq!(send(&orders, "7").await.unwrap().broker_id, "0:1");
    assert_eq!(ids(&broker.records("orders").await), ["1", "7"]);
    assert_eq!(ids(&broker.records("small").await), ["6"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_batch_whose_answer_is_lost_is_stored_once_and_confirmed() {
    let (broker, proxy, producer) = proxied().await;
    for (id, lost) in [("1", 0), ("2", 1), ("3", 2), ("4", 0)] {
        proxy.lose_answers(lost);
        let receipt = send(&producer, id).await.unwrap();
        assert_eq!(receipt.id, id);
    }
    assert_eq!(proxy.requests(PRODUCE), 7);
    assert_eq!(ids(&broker.records("orders").await), ["1", "2", "3", "4"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_batch_without_any_answer_is_unknown_and_the_next_is_stored() {
    let (broker, proxy, producer) = proxied().await;
    send(&producer, "1").await.unwrap();
    proxy.lose_answers(usize::MAX);
    assert_eq!(conclusion(&send(&producer, "2").await), "unknown");
    proxy.lose_answers(0);
    assert_eq!(conclusion(&send(&producer, "3").await), "stored");
    assert_eq!(ids(&broker.records("orders").await), ["1", "2", "3"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_connection_that_the_network_dropped_costs_one_attempt() {
    let (broker, proxy, producer) = proxied().await;
    send(&producer, "1").await.unwrap();
    // As after a freeze of the function.
    proxy.silence();
    let started = Instant::now();
    assert_eq!(conclusion(&send(&producer, "2").await), "stored");
    assert!((Duration::from_secs(2)..Duration::from_secs(5)).contains(&started.elapsed()), "{:?}", started.elapsed());
    assert_eq!(ids(&broker.records("orders").await), ["1", "2"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_message_for_a_broker_that_is_down_is_not_sent_and_the_next_is_stored_after_its_return() {
    let mut broker = Broker::start(&["orders:1"]).await;
    let producer = KafkaProducer::new(cluster(&broker.servers()), "orders");
    send(&producer, "1").await.unwrap();
    broker.stop().await;
    let started = Instant::now();
    assert_eq!(conclusion(&send(&producer, "2").await), "not sent");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    broker.restart().await;
    assert_eq!(conclusion(&send(&producer, "3").await), "stored");
    assert_eq!(ids(&broker.records("orders").await), ["1", "3"]);
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn the_deadline_is_kept_while_the_broker_is_silent() {
    let broker = Broker::start(&["orders:1"]).await;
    let producer = KafkaProducer::new(cluster(&broker.servers()), "orders");
    let stranger = KafkaProducer::new(cluster(&broker.servers()), "orders");
    send(&producer, "1").await.unwrap();
    broker.freeze().await;
    let (short, started) = (Duration::from_millis(300), Instant::now());
    assert_eq!(conclusion(&send_within(&producer, "2", short).await), "unknown");
    assert_eq!(conclusion(&send_within(&producer, "3", short).await), "not sent", "it waits behind the other");
    assert_eq!(conclusion(&send_within(&stranger, "4", short).await), "not sent");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    broker.thaw();
    assert_eq!(conclusion(&send(&producer, "5").await), "stored");
    let stored = ids(&broker.records("orders").await);
    assert_eq!(stored.iter().filter(|id| ["1", "5"].contains(&id.as_str())).count(), 2, "{stored:?}");
    assert!(!stored.iter().any(|id| ["3", "4"].contains(&id.as_str())), "{stored:?}");
    assert!(stored.iter().filter(|id| *id == "2").count() <= 1, "{stored:?}");
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn concurrent_messages_are_stored_once_in_few_batches_and_in_the_order_of_their_group() {
    let broker = Broker::start(&["orders:3"]).await;
    let proxy = Proxy::start(broker.port()).await;
    let producer = KafkaProducer::new(cluster(&proxy.servers()), "orders");
    producer.send(&Message::new(&envelope("first", "g")), Instant::now() + AMPLE).await.unwrap();
    proxy.lose_answers(2);
    let groups = ["a", "b", "c", "d"];
    let envelopes: Vec<_> = (0..200).map(|n| envelope(&format!("{n:03}"), groups[n % groups.len()])).collect();
    let deadline = Instant::now() + AMPLE;
    let sent = join_all(envelopes.iter().map(|each| {
        let producer = &producer;
        async move { producer.send(&Message::new(each), deadline).await }
    }));
    for result in sent.await {
        assert_eq!(conclusion(&result), "stored");
    }
    assert!(proxy.requests(PRODUCE) < 50, "{}", proxy.requests(PRODUCE));
    let records = broker.records("orders").await;
    for group in groups {
        let of_group: Vec<_> = records.iter().filter(|record| record.key.as_deref() == Some(group)).collect();
        let ids: Vec<_> = of_group.iter().map(|record| record.event_id()).collect();
        assert!(ids.is_sorted() && ids.len() == 50, "{group}: {ids:?}");
        assert!(of_group.iter().all(|record| record.partition == of_group[0].partition), "{group}");
    }
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn messages_that_are_too_large_only_together_are_stored_one_by_one() {
    let broker = Broker::start(&["small:1:max.message.bytes=2000"]).await;
    let producer = KafkaProducer::new(cluster(&broker.servers()), "small");
    let sized = |id: &str, bytes| envelope(id, "").into_builder(id).payload(None, vec![b'x'; bytes]).build().unwrap();
    let envelopes = [sized("1", 400), sized("2", 400), sized("3", 3_000), sized("4", 400)];
    let messages: Vec<_> = envelopes.iter().map(Message::new).collect();
    let sent = producer.send_all(&messages, Instant::now() + AMPLE).await;
    assert_eq!(sent.iter().map(conclusion).collect::<Vec<_>>(), ["stored", "stored", "refused: message", "stored"]);
    assert_eq!(ids(&broker.records("small").await), ["1", "2", "4"]);
}
