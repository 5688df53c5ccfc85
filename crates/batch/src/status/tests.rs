//! What a consumer records of its messages, in a store in memory.

use std::sync::Arc;

use sluicegate_envelope::Envelope;
use sluicegate_idempotency::MemoryStore;

use super::*;
use crate::{Consumer, Outcome, Rejection, testing};

const OWNER: &str = "owner";

/// Returns a batch of SQS with these messages: id and type; the event says that they have a status, if they do.
fn event(messages: &[(&str, &str)], has_status: bool, receive_count: u32) -> String {
    let record = |(id, event_type): &(&str, &str)| {
        let envelope = Envelope::builder(*id, "/orders", *event_type).has_status(has_status).unwrap();
        let envelope = envelope.payload(Some("application/json"), r#"{"order_id": "o-1"}"#).build().unwrap();
        serde_json::json!({
            "messageId": format!("broker-{id}"),
            "receiptHandle": "handle",
            "body": envelope.encode(),
            "attributes": { "ApproximateReceiveCount": receive_count.to_string(), "SentTimestamp": "1" },
            "messageAttributes": {},
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:000000000000:orders",
            "awsRegion": "us-east-1",
        })
    };
    serde_json::json!({ "Records": messages.iter().map(record).collect::<Vec<_>>() }).to_string()
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Returns a store in which the messages with these ids are accepted.
async fn accepted(ids: &[&str]) -> MemoryStore {
    let store = MemoryStore::default();
    for id in ids {
        store.open_status(id, OWNER, SystemTime::now(), deadline()).await.unwrap();
    }
    store
}

async fn state(store: &MemoryStore, id: &str) -> Option<MessageState> {
    store.status(id, SystemTime::now(), deadline()).await.unwrap().map(|status| status.state)
}

async fn handle(delivery: Arc<Delivery>) -> Outcome {
    match delivery.envelope().event_type() {
        "done" => Outcome::Done,
        "result" => delivery.set_result("3 reserved").map(|()| Outcome::Done).into(),
        "later" => Outcome::RetryAfter(Duration::from_secs(60)),
        "long" => delivery.set_result("x".repeat(STATUS_TEXT_BYTES_MAX + 1)).map(|()| Outcome::Done).into(),
        _ => Outcome::reject("unknown", "no such article"),
    }
}

fn consumer(store: &MemoryStore) -> crate::ConsumerBuilder {
    Consumer::builder().store(AnyStore::Memory(store.clone())).otherwise(handle)
}

#[tokio::test]
async fn what_became_of_each_message_is_recorded() {
    let store = accepted(&["a", "b", "c"]).await;
    let before_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let messages = [("a", "done"), ("b", "result"), ("c", "later"), ("unknown", "done")];
    testing::run(consumer(&store), &event(&messages, true, 2)).await.unwrap();
    assert_eq!(state(&store, "a").await, Some(MessageState::Done { result: None }));
    assert_eq!(state(&store, "b").await, Some(MessageState::Done { result: Some("3 reserved".to_owned()) }));
    match state(&store, "c").await {
        Some(MessageState::Retrying { receive_count: 2, next_s }) => assert!((60..70).contains(&(next_s - before_s))),
        other => panic!("{other:?}"),
    }
    assert_eq!(state(&store, "unknown").await, None, "a consumer makes no status");
}

#[tokio::test]
async fn of_several_deliveries_of_a_message_in_a_batch_one_counts() {
    const RESULT: &str = "3 reserved";
    let done = |result: Option<&str>| MessageState::Done { result: result.map(str::to_owned) };
    let dead = MessageState::Dead { code: Some("unknown".to_owned()), reason: "no such article".to_owned() };
    let is_done = (Disposition::Done, Some(RESULT));
    let is_duplicate = (Disposition::Duplicate, None);
    let is_dead = (Disposition::Rejected, None);
    let is_retried = (Disposition::Retry(Duration::ZERO), None);
    for (ends, expected) in [
        ([is_done, is_duplicate], done(Some(RESULT))),
        ([is_duplicate, is_done], done(None)),
        ([is_done, is_retried], done(Some(RESULT))),
        ([is_retried, is_done], done(Some(RESULT))),
        ([is_done, is_dead], done(Some(RESULT))),
        ([is_dead, is_done], done(Some(RESULT))),
        ([is_dead, is_retried], dead.clone()),
        ([is_retried, is_dead], dead),
    ] {
        let store = accepted(&["a"]).await;
        let any_store = AnyStore::Memory(store.clone());
        let statuses = Statuses::of(&any_store);
        for (disposition, result) in ends {
            let envelope = Envelope::builder("a", "/orders", "order.placed").has_status(true).unwrap();
            let delivery = testing::delivery(envelope.build().unwrap()).build();
            result.into_iter().for_each(|result| delivery.set_result(result).unwrap());
            statuses.settled(
                &Subject::of(&delivery).unwrap(),
                disposition,
                &Rejection::new("unknown", "no such article").into(),
                false,
            );
        }
        statuses.record("request", deadline()).await;
        assert_eq!(state(&store, "a").await, Some(expected), "{ends:?}");
    }
}

#[tokio::test]
async fn a_message_without_a_status_is_not_recorded() {
    let store = accepted(&["a"]).await;
    testing::run(consumer(&store), &event(&[("a", "done")], false, 1)).await.unwrap();
    assert_eq!(state(&store, "a").await, Some(MessageState::Accepted));
}

#[tokio::test]
async fn a_result_that_is_too_long_is_an_error_of_the_handler() {
    let store = accepted(&["a"]).await;
    testing::run(consumer(&store), &event(&[("a", "long")], true, 1)).await.unwrap();
    assert!(matches!(state(&store, "a").await, Some(MessageState::Retrying { receive_count: 1, .. })));
    let delivery = testing::json("order.placed", "{}").unwrap().build();
    assert_eq!(delivery.set_result("x".repeat(1_025)), Err(ResultError::TooLong { bytes: 1_025 }));
    assert_eq!((delivery.set_result("one"), delivery.set_result("two")), (Ok(()), Err(ResultError::AlreadySet)));
    assert_eq!(delivery.result(), Some("one"));
}

#[test]
fn a_sender_sees_the_code_and_reason_of_a_reject_and_no_other() {
    let store = AnyStore::Memory(MemoryStore::default());
    let envelope = Envelope::builder("a", "/orders", "order.placed").has_status(true).unwrap().build().unwrap();
    let delivery = testing::delivery(envelope).build();
    let long = "ä".repeat(STATUS_TEXT_BYTES_MAX);
    for (code, reason, is_last, (code_seen, seen)) in [
        ("article_unknown", "no such article", false, ("article_unknown", "no such article")),
        ("handler_panicked", "receives exhausted after 5: panic", true, ("receives_exhausted", EXHAUSTED)),
        ("long", &long, false, ("long", &long[..STATUS_TEXT_BYTES_MAX])),
    ] {
        let statuses = Statuses::of(&store);
        let subject = Subject::of(&delivery).unwrap();
        statuses.settled(&subject, Disposition::Rejected, &Rejection::new(code, reason).into(), is_last);
        let settled = statuses.settled.into_inner().unwrap();
        let expected = MessageState::Dead { code: Some(code_seen.to_owned()), reason: seen.to_owned() };
        assert_eq!(settled["a"].0, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_its_time_is_seen_at_work_and_a_quick_one_is_not() {
    for (takes, is_seen) in [(PROCESSING_AFTER * 2, true), (PROCESSING_AFTER / 2, false)] {
        let store = accepted(&["a"]).await;
        let seen = store.clone();
        let consumer = Consumer::builder().store(AnyStore::Memory(store.clone())).otherwise(move |_| {
            let seen = seen.clone();
            async move {
                tokio::time::sleep(takes).await;
                let is_processing = state(&seen, "a").await == Some(MessageState::Processing { receive_count: 3 });
                assert_eq!(is_processing, is_seen, "{takes:?}");
            }
        });
        let response = testing::run(consumer, &event(&[("a", "any")], true, 3)).await.unwrap();
        assert_eq!(response.failures().count(), 0, "{takes:?}");
        assert_eq!(state(&store, "a").await, Some(MessageState::Done { result: None }));
    }
}

/// The function is killed when two messages are handled and their records complete, and the third hangs.
#[tokio::test(start_paused = true)]
async fn a_duplicate_records_the_status_that_a_killed_function_did_not() {
    use crate::IdempotencyRule;

    let store = accepted(&["a", "b", "d"]).await;
    let consumer = || {
        let consumer = Consumer::builder().store(AnyStore::Memory(store.clone()));
        let consumer = consumer.idempotency_for("*", IdempotencyRule::default());
        consumer.otherwise(async |delivery: Arc<Delivery>| {
            tokio::time::sleep(PROCESSING_AFTER * 2).await;
            match delivery.envelope().id() {
                "a" => delivery.set_result("3 reserved").map(|()| Outcome::Done).into(),
                "d" => std::future::pending().await,
                _ => Outcome::Done,
            }
        })
    };
    let messages = event(&[("a", "reserved"), ("b", "done"), ("d", "hangs")], true, 1);
    let killed = tokio::time::timeout(PROCESSING_AFTER * 3, testing::run(consumer(), &messages)).await;
    assert!(killed.is_err(), "the batch is not settled");
    for id in ["a", "b"] {
        assert_eq!(state(&store, id).await, Some(MessageState::Processing { receive_count: 1 }), "{id}");
    }
    let response = testing::run(consumer(), &event(&[("a", "reserved"), ("b", "done")], true, 2)).await.unwrap();
    assert_eq!(response.failures().count(), 0);
    assert_eq!(state(&store, "a").await, Some(MessageState::Done { result: Some("3 reserved".to_owned()) }));
    assert_eq!(state(&store, "b").await, Some(MessageState::Done { result: None }));
    // A third delivery changes nothing.
    testing::run(consumer(), &event(&[("a", "reserved")], true, 3)).await.unwrap();
    assert_eq!(state(&store, "a").await, Some(MessageState::Done { result: Some("3 reserved".to_owned()) }));
}

/// Another sender may know the key.
#[tokio::test]
async fn another_message_with_the_same_key_is_done_without_the_result() {
    use crate::{IdempotencyKey, IdempotencyRule};

    let store = accepted(&["a", "b"]).await;
    let rule = IdempotencyRule { key: IdempotencyKey::Pointer("/order_id"), ..IdempotencyRule::default() };
    for id in ["a", "b"] {
        let consumer = Consumer::builder().store(AnyStore::Memory(store.clone())).idempotency_for("*", rule);
        let handler = async |delivery: Arc<Delivery>| delivery.set_result("3 reserved").map(|()| Outcome::Done);
        let event = event(&[(id, "order.placed")], true, 1);
        assert_eq!(testing::run(consumer.otherwise(handler), &event).await.unwrap().failures().count(), 0);
    }
    assert_eq!(state(&store, "a").await, Some(MessageState::Done { result: Some("3 reserved".to_owned()) }));
    assert_eq!(state(&store, "b").await, Some(MessageState::Done { result: None }));
}

/// A table that accepts connections and does not answer.
#[cfg(feature = "dynamodb")]
#[tokio::test]
async fn a_table_that_does_not_answer_delays_a_batch_by_a_second_at_most() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let lookup = |name: &str| match name {
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        "AWS_REGION" => Some("us-east-1".to_owned()),
        "IDEMPOTENCY_TABLE" => Some("table".to_owned()),
        _ => Some("test".to_owned()).filter(|_| name.starts_with("AWS_ACCESS") || name.starts_with("AWS_SECRET")),
    };
    let store = crate::store::from_env(&crate::AwsEnvironment::read(lookup), lookup, &mut Vec::new()).unwrap();
    let consumer = Consumer::builder().store(store).otherwise(handle);
    let messages: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    let messages: Vec<_> = messages.iter().map(|id| (id.as_str(), "done")).collect();
    let started = Instant::now();
    let response = testing::run(consumer, &event(&messages, true, 1)).await.unwrap();
    assert_eq!(response.failures().count(), 0, "the messages are settled");
    assert!(started.elapsed() < WRITE_TIMEOUT * 3, "{:?}", started.elapsed());
}
