//! Dead letters in a topic of Kafka: redrives through the consumer, records of another client, kills and cuts.

mod command;

use std::collections::BTreeMap;

use sluicegate_dlq::kafka::{CONSUMER_GROUP, KafkaDeadLetterQueue};
use sluicegate_dlq::{CancellationToken, DeadLetter, DeadLetterQueue, Error, Filter, Redrive, RunReport, redrive};
use sluicegate_envelope::Envelope;
use sluicegate_queue::dead_letter::{CODE, MESSAGE_ID, REASON, RECEIVE_COUNT, REDRIVES, SOURCE};
use sluicegate_queue::kafka::{Cluster, GroupOffsets, Publication, event_headers};
use tokio::time::Instant;

use crate::kafka::consumer::{Handled, consumer, event, invoke, send_all};
use crate::kafka::proxy::{OFFSET_COMMIT, Proxy};
use crate::kafka::{AMPLE, cluster};
use crate::support::kafka::{self, Broker, Record};

async fn open(servers: &str, topic: &str) -> KafkaDeadLetterQueue {
    KafkaDeadLetterQueue::open(cluster(servers), topic).await.expect("open")
}

/// A dead letter: id, type, key, reason and code.
type Letter<'a> = [&'a str; 5];

/// Publishes an event to `orders.dlq` in the form of the consumer's dead letters.
async fn dead_letter(cluster: &Cluster, [id, event_type, key, reason, code]: Letter<'_>) {
    let envelope = Envelope::builder(id, "/orders", event_type);
    let envelope = envelope.payload(Some("application/json"), r#"{"n": 1.10}"#).build().expect("an envelope");
    let own = event_headers(&envelope);
    let mut headers: Vec<_> = own.iter().map(|(name, value)| (name.as_str(), Some(value.as_bytes()))).collect();
    headers.extend(
        [(REASON, reason), (CODE, code), (SOURCE, "orders:0:7")].map(|(name, text)| (name, Some(text.as_bytes()))),
    );
    let (key, value) = (Some(key.as_bytes()), envelope.encode());
    let publication = Publication { topic: "orders.dlq", key, value: Some(value.as_bytes()), headers: &headers };
    cluster.publish(&publication, Instant::now() + AMPLE).await.expect("stored");
}

async fn redrive_all(queue: &KafkaDeadLetterQueue) -> RunReport {
    let filter = Filter::default();
    let order = Redrive { filter: &filter, to: None, rate: None, limit: None, dry_run: false };
    redrive(queue, &order, &CancellationToken::new(), &|_| {}).await
}

async fn take_all(queue: &KafkaDeadLetterQueue) -> Vec<DeadLetter> {
    let mut all = Vec::new();
    loop {
        let taken = queue.take(3).await.expect("taken");
        if taken.is_empty() {
            return all;
        }
        all.extend(taken);
    }
}

fn ids(letters: &[DeadLetter]) -> Vec<&str> {
    letters.iter().map(|letter| letter.id.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn the_consumers_dead_letters_are_redriven_handled_and_dead_lettered_again() {
    let broker = Broker::start(&["orders:1", "orders.dlq:2"]).await;
    let servers = broker.servers();
    send_all(&servers, &[("reject", "a"), ("fine", "a"), ("reject", "b")]).await;
    kafka::program("send.py", &[&servers, "orders", "raw"]).await;
    let handled = Handled::default();
    let consumer = consumer(&servers, &handled);
    let mut events = 0;
    for redrives in 0..2_u32 {
        let all = broker.records("orders").await;
        assert!(invoke(&consumer, &event(&all[events..])).await, "what is rejected is a dead letter");
        events = all.len();
        let queue = open(&servers, "orders.dlq").await;
        let mut letters = take_all(&queue).await;
        letters.sort_by(|a, b| a.id.cmp(&b.id));
        assert_eq!(ids(&letters), ["0", "2"], "{redrives}");
        for letter in &letters {
            assert_eq!((letter.reason.as_str(), letter.code.as_deref()), ("bad card", Some("card_bad")));
            assert_eq!((letter.source_queue.as_deref(), letter.receive_count), (Some("orders"), Some(1)));
            assert_eq!((letter.redrives, letter.event_type.as_deref()), (redrives, Some("reject")));
            assert!(letter.dead_lettered_at.is_some());
        }
        let report = redrive_all(&open(&servers, "orders.dlq").await).await;
        assert!(report.is_clean() && report.done == 2 && report.unreached == Some(0), "{report:?}");
    }
    assert!(take_all(&open(&servers, "orders.dlq").await).await.is_empty());
    let sent = broker.records("orders").await;
    let of = |id: &str| {
        let is_it = |record: &&Record| record.headers["ce_id"] == id;
        sent.iter().filter(is_it).collect::<Vec<_>>()
    };
    for (id, key) in [("0", "a"), ("2", "b")] {
        let copies = of(id);
        assert_eq!(copies.len(), 3, "{id}");
        for (redrives, copy) in copies.iter().enumerate() {
            assert_eq!((copy.key.as_deref(), &copy.value), (Some(key), &copies[0].value));
            for name in [REASON, CODE, RECEIVE_COUNT, SOURCE] {
                assert!(copy.headers[name].is_null(), "{name}: {copy:?}");
            }
            assert_eq!(
                copy.headers[REDRIVES].as_str(),
                ["", "1", "2"].get(redrives).copied().filter(|it| !it.is_empty())
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn records_of_other_programs_keep_key_value_and_headers_and_the_id_of_their_first_place() {
    let broker = Broker::start(&["orders:1", "orders.dlq:1", "letters:1"]).await;
    let servers = broker.servers();
    kafka::program("send.py", &[&servers, "orders.dlq:zstd", "k-1"]).await;
    let cluster = cluster(&servers);
    let headers = [("h", Some(&b"1"[..])), ("none", None), ("h", Some(b"2"))];
    for topic in ["orders.dlq", "letters"] {
        let tombstone = Publication { topic, key: Some(b"k-2"), value: None, headers: &headers };
        cluster.publish(&tombstone, Instant::now() + AMPLE).await.expect("stored");
    }
    let queue = open(&servers, "orders.dlq").await;
    let letters = take_all(&queue).await;
    assert_eq!(ids(&letters), ["orders.dlq:0:0", "orders.dlq:0:1"]);
    assert_eq!(letters[0].body, b"from confluent-kafka".repeat(10));
    assert_eq!((letters[0].group.as_deref(), letters[0].event_type.as_deref()), (Some("k-1"), None));
    let report = redrive_all(&open(&servers, "orders.dlq").await).await;
    assert!(report.is_clean() && report.done == 2, "{report:?}");

    let reader = sluicegate_queue::kafka::PartitionReader::new(cluster.clone(), "orders", 0);
    let (sent, _) = reader.fetch(0, std::time::Duration::ZERO).await.expect("records");
    let id = |text: &str| (MESSAGE_ID.to_owned(), Some(text.as_bytes().to_vec()));
    let once = (REDRIVES.to_owned(), Some(b"1".to_vec()));
    assert_eq!((sent[0].key.as_deref(), &sent[0].value), (Some(&b"k-1"[..]), &Some(letters[0].body.clone())));
    assert_eq!(sent[0].headers, [id("orders.dlq:0:0"), once.clone()]);
    let own = headers.map(|(name, value)| (name.to_owned(), value.map(<[u8]>::to_vec)));
    assert_eq!((sent[1].key.as_deref(), &sent[1].value), (Some(&b"k-2"[..]), &None), "a tombstone stays one");
    assert_eq!(sent[1].headers, [&own[..], &[id("orders.dlq:0:1"), once]].concat());
    assert_eq!(broker.records("orders").await.len(), 2, "confluent-kafka reads them");

    // The consumer's handler sees the id of the first place.
    let handled = Handled::default();
    assert!(invoke(&consumer(&servers, &handled), &event(&broker.records("orders").await[..1])).await);
    assert_eq!(handled.lock().unwrap()[0].envelope().id(), "orders.dlq:0:0");

    let queue = open(&servers, "letters").await;
    let letters = queue.take(1).await.expect("taken");
    for error in [
        queue.destination(&letters[0], None).await.unwrap_err(),
        queue.redrive(&letters[0], None, None).await.unwrap_err(),
    ] {
        let expected = "the topic it came from is not recorded; name the topic to send it to";
        assert!(matches!(&error, Error::NotSent { reason, .. } if reason == expected), "{error:?}");
    }
    let error = queue.redrive(&letters[0], Some("nowhere"), None).await.unwrap_err();
    assert!(
        matches!(&error, Error::NotSent { reason, .. } if reason == "the topic nowhere does not exist"),
        "{error:?}"
    );
    queue.redrive(&letters[0], Some("orders"), None).await.expect("redriven");
    let error = queue.delete(&letters[0]).await.unwrap_err();
    assert!(error.to_string().ends_with("it is not held any more"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_redrive_that_ends_between_the_copy_and_the_commit_is_repeated_with_the_same_id() {
    let broker = Broker::start(&["orders:1", "orders.dlq:1"]).await;
    let proxy = Proxy::start(broker.port()).await;
    let direct = cluster(&broker.servers());
    for id in ["0", "1", "2"] {
        dead_letter(&direct, [id, "order.placed", "k", "bad card", "card_bad"]).await;
    }
    let queue = open(&proxy.servers(), "orders.dlq").await;
    let letters = queue.take(3).await.expect("taken");
    queue.redrive(&letters[0], None, None).await.expect("redriven");
    proxy.cut(OFFSET_COMMIT);
    let error = queue.redrive(&letters[1], None, None).await.unwrap_err();
    assert!(matches!(&error, Error::Unknown { id, .. } if id == "1"), "{error:?}");
    assert!(error.to_string().contains("it is stored again, and perhaps still a dead letter"), "{error}");
    let error = queue.redrive(&letters[1], None, None).await.unwrap_err();
    assert!(matches!(&error, Error::NotSent { .. }), "one run redrives a message once: {error:?}");
    drop(queue);

    let queue = open(&broker.servers(), "orders.dlq").await;
    let letters = take_all(&queue).await;
    assert_eq!(ids(&letters), ["1", "2"]);
    drop(queue);
    let report = redrive_all(&open(&broker.servers(), "orders.dlq").await).await;
    assert!(report.is_clean() && report.done == 2, "{report:?}");
    let sent: Vec<_> = broker.records("orders").await.iter().map(Record::event_id).collect();
    assert_eq!(sent, ["0", "1", "1", "2"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn what_was_dealt_with_in_any_order_is_remembered_by_the_group_and_the_rest_stays() {
    let mut broker = Broker::start(&["orders:1", "orders.dlq:3"]).await;
    let direct = cluster(&broker.servers());
    let keys: Vec<_> = (0..40).map(|number| format!("k-{number}")).collect();
    for (number, key) in keys.iter().enumerate() {
        dead_letter(&direct, [&number.to_string(), "order.placed", key, "bad card", "card_bad"]).await;
    }
    let queue = open(&broker.servers(), "orders.dlq").await;
    assert_eq!(queue.depth().await.expect("counted"), 40);
    let letters = take_all(&queue).await;
    let is_kept = |letter: &&DeadLetter| letter.id.parse::<u32>().unwrap() % 3 == 0;
    for letter in letters.iter().rev().filter(|letter| !is_kept(letter)) {
        queue.delete(letter).await.expect("deleted");
    }
    // Arrives while the queue is open.
    dead_letter(&direct, ["late", "order.placed", "k-0", "bad card", "card_bad"]).await;
    assert_eq!(queue.depth().await.expect("counted"), 14);
    drop(queue);
    broker.stop().await;
    broker.restart().await;

    let queue = open(&broker.servers(), "orders.dlq").await;
    let left = take_all(&queue).await;
    let mut expected: Vec<_> = letters.iter().filter(is_kept).map(|letter| letter.id.clone()).collect();
    expected.push("late".to_owned());
    expected.sort_unstable();
    let mut found: Vec<_> = ids(&left).into_iter().map(str::to_owned).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(queue.depth().await.expect("counted"), 15);
    for letter in &left {
        queue.delete(letter).await.expect("deleted");
    }
    assert_eq!(queue.depth().await.expect("counted"), 0);
    // The offsets that other tools show.
    let offsets = GroupOffsets::new(cluster(&broker.servers()), CONSUMER_GROUP);
    let mut ends = BTreeMap::<i64, i64>::new();
    for record in broker.records("orders.dlq").await {
        ends.insert(record.partition, record.offset + 1);
    }
    for (partition, end) in ends {
        let committed = offsets.committed("orders.dlq", partition.try_into().unwrap()).await;
        assert_eq!(committed, Ok(Some(end)), "{partition}");
    }
}
