//! The reader with a broker: records of other clients in every compression, offsets of a group, topics.

use std::time::Duration;

use sluicegate_queue::kafka::{FETCH_WAIT_MAX, GroupOffsets, PartitionReader, Position, Publication, ReadError};
use tokio::time::Instant;

use super::{AMPLE, cluster};
use crate::support::kafka::{self, Broker};

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn records_of_every_compression_are_read() {
    let broker = Broker::start(&["orders:1"]).await;
    let compressions = ["none", "gzip", "snappy", "lz4", "zstd"];
    for compression in compressions {
        kafka::program("send.py", &[&broker.servers(), &format!("orders:{compression}"), compression, "more"]).await;
    }
    let reader = PartitionReader::new(cluster(&broker.servers()), "orders", 0);
    let (mut keys, mut next) = (Vec::new(), reader.offset(Position::Start).await.expect("the start"));
    let end = reader.offset(Position::End).await.expect("the end");
    while next < end {
        let (records, after) = reader.fetch(next, FETCH_WAIT_MAX).await.expect("records");
        next = after;
        for record in records {
            assert_eq!(record.value.expect("a value"), b"from confluent-kafka".repeat(10));
            keys.push(String::from_utf8(record.key.expect("a key")).expect("UTF-8"));
        }
    }
    assert_eq!(keys, compressions.map(|compression| [compression, "more"]).concat());
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_group_continues_at_its_offset_after_the_broker_restarts() {
    let mut broker = Broker::start(&["orders:1"]).await;
    let offsets = GroupOffsets::new(cluster(&broker.servers()), "readers");
    assert_eq!(offsets.committed("orders", 0).await, Ok(None));
    offsets.commit("orders", 0, 42).await.expect("committed");
    assert_eq!(offsets.committed("orders", 0).await, Ok(Some(42)));
    broker.stop().await;
    broker.restart().await;
    let offsets = GroupOffsets::new(cluster(&broker.servers()), "readers");
    assert_eq!(offsets.committed("orders", 0).await, Ok(Some(42)));
    let others = GroupOffsets::new(cluster(&broker.servers()), "others");
    assert_eq!(others.committed("orders", 0).await, Ok(None));
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_created_topic_has_its_records_with_headers_and_times_in_order() {
    let broker = Broker::start(&["other:1"]).await;
    let cluster = cluster(&broker.servers());
    assert_eq!(cluster.create_topic("new").await, Ok(true));
    assert_eq!(cluster.create_topic("new").await, Ok(false));
    let partition = cluster.partitions("new").await.expect("partitions")[0];
    let headers = [("h", Some(&[0, 255][..])), ("h", Some(b"last")), ("none", None)];
    for value in [Some(&b"first"[..]), None] {
        let publication = Publication { topic: "new", key: Some(b"k"), value, headers: &headers };
        cluster.publish(&publication, Instant::now() + AMPLE).await.expect("stored");
    }
    let reader = PartitionReader::new(cluster.clone(), "new", partition);
    let (records, next) = reader.fetch(0, Duration::ZERO).await.expect("records");
    let values: Vec<_> = records.iter().map(|record| record.value.as_deref()).collect();
    assert_eq!((values, next), (vec![Some(&b"first"[..]), None], 2));
    assert_eq!((records[0].headers.len(), records[0].header("h")), (3, Some(&b"last"[..])));
    assert_eq!(records[0].headers[2], ("none".to_owned(), None));
    assert_eq!(reader.offset(Position::At(0)).await, Ok(0));
    assert_eq!(reader.offset(Position::At(records[1].timestamp_ms + 1_000)).await, Ok(2));
    let missing = reader.fetch(7, Duration::ZERO).await;
    assert_eq!(missing, Err(ReadError::NoOffset { topic: "new".to_owned(), partition, offset: 7 }));
}
