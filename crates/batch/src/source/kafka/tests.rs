//! Events, what the handlers get, dead letters and responses. The cluster is a fake with scripted results.

use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::time::sleep_until;

use super::*;
use crate::report::Report;
use crate::{Consumer, Delivery, Outcome, RetryPolicy};

const MSK: &str = include_str!("../../../../../tests/events/kafka-msk.json");
const SELF_MANAGED: &str = include_str!("../../../../../tests/events/kafka-self-managed.json");
const PARTITIONS: &str = include_str!("../../../../../tests/events/kafka-partitions.json");

/// A cluster that stores each record, unless it refuses all.
#[derive(Default)]
struct Fake {
    refuses: std::sync::atomic::AtomicBool,
    stored: Mutex<Vec<Stored>>,
}

#[derive(Clone, Debug)]
struct Stored {
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Stored {
    fn text(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }
}

impl Publish for Fake {
    async fn publish(&self, publication: &Publication<'_>, _: Instant) -> Result<(), SendError> {
        if self.refuses.load(Ordering::Relaxed) {
            return Err(SendError::NotSent { reason: "planned".to_owned() });
        }
        let Publication { topic, key, value, headers } = *publication;
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.unwrap().to_vec())).collect();
        self.stored.lock().unwrap().push(Stored { topic: topic.to_owned(), key, value, headers });
        Ok(())
    }
}

fn source() -> KafkaSource<Fake> {
    KafkaSource {
        cluster: Fake::default(),
        receive_count_max: 3,
        dead_letter_topic: None,
        partial_batch_response: false,
        accepts_tombstones: false,
        progress: Progress::default(),
    }
}

type Calls = Arc<Mutex<Vec<Arc<Delivery>>>>;

/// Returns a consumer whose handlers act by the payload and record their deliveries.
fn consumer(calls: &Calls) -> Consumer {
    let calls = Arc::clone(calls);
    let handler = move |delivery: Arc<Delivery>| {
        calls.lock().unwrap().push(Arc::clone(&delivery));
        async move {
            match &*delivery.envelope().payload() {
                b"retry" => Outcome::Retry,
                b"once" if delivery.receive_count() == 1 => Outcome::Retry,
                b"reject" => Outcome::reject("card_bad", "bad card"),
                b"hang" => std::future::pending().await,
                _ => Outcome::Done,
            }
        }
    };
    let retry = RetryPolicy { base: Duration::from_millis(10), ..RetryPolicy::default() };
    Consumer::builder().otherwise(handler).retry(retry).without_services().unwrap().build().unwrap()
}

/// Invokes with 20 s, of which the last are for settling.
async fn invoke(source: &KafkaSource<Fake>, consumer: &Consumer, event: &Value) -> Result<Value, String> {
    settle(source, consumer, event).await.1
}

/// As [`invoke`], with the settlement of each record.
async fn settle(
    source: &KafkaSource<Fake>,
    consumer: &Consumer,
    event: &Value,
) -> (Vec<Settlement>, Result<Value, String>) {
    let event = event.to_string();
    let now = Instant::now();
    let at = |s| now + Duration::from_secs(s);
    let deadlines = Deadlines::at(at(16), at(18), at(20));
    let report = Report { request_id: "r", xray: None, at: std::time::UNIX_EPOCH, emitter: None };
    let batch = read(Some(source), &event, deadlines).expect("an event of Kafka").expect("records");
    let messages = batch.messages();
    let settlements = consumer.batch_run(deadlines, report).settle(&batch, &messages).await;
    assert_eq!(settlements.len(), messages.len());
    let response = batch.respond(&settlements).map_err(|error| error.to_string());
    (settlements, response.map(|response| serde_json::to_value(response).unwrap()))
}

fn record(partition: i32, offset: i64, key: Option<&str>, value: &str) -> Value {
    json!({
        "topic": "orders", "partition": partition, "offset": offset, "timestamp": 1,
        "key": key.map(|key| STANDARD.encode(key)), "value": STANDARD.encode(value), "headers": [],
    })
}

fn event(partitions: &[&[Value]]) -> Value {
    let lists = partitions.iter().enumerate().map(|(index, list)| (format!("orders-{index}"), json!(list)));
    json!({ "eventSource": "aws:kafka", "records": lists.collect::<serde_json::Map<_, _>>() })
}

/// Returns the place, payload and receive count of each call.
fn shown(calls: &Calls) -> Vec<(String, String, u32)> {
    let calls = calls.lock().unwrap();
    let shown = calls.iter().map(|delivery| {
        let payload = String::from_utf8_lossy(&delivery.envelope().payload()).into_owned();
        (delivery.kafka_record().unwrap().place(), payload, delivery.receive_count())
    });
    shown.collect()
}

fn places(calls: &Calls) -> Vec<String> {
    shown(calls).into_iter().map(|(place, _, _)| place).collect()
}

#[tokio::test(start_paused = true)]
async fn the_events_of_the_documentation_are_read() {
    for text in [MSK, SELF_MANAGED] {
        let (calls, source) = (Calls::default(), source());
        let answer = invoke(&source, &consumer(&calls), &serde_json::from_str(text).unwrap()).await;
        assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
        let calls = calls.lock().unwrap();
        let (envelope, record) = (calls[0].envelope(), calls[0].kafka_record().unwrap());
        assert_eq!((envelope.event_type(), envelope.source()), ("kafka.message", "/kafka/mytopic"));
        assert_eq!((envelope.id(), &*envelope.payload()), ("mytopic:0:15", &b"Hello, this is a test."[..]));
        assert_eq!((calls[0].queue(), record.partition, record.offset), ("mytopic", 0, 15));
        assert_eq!((record.timestamp_unix_ms, record.key.as_ref().unwrap().len()), (Some(1_545_084_650_987), 22));
        assert_eq!(record.header("headerKey"), Some(&b"headerValue"[..]));
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_record_is_read_and_none_affects_another() {
    let (calls, source) = (Calls::default(), source());
    let answer = invoke(&source, &consumer(&calls), &serde_json::from_str(PARTITIONS).unwrap()).await;
    assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
    {
        let calls = calls.lock().unwrap();
        let mut handled: Vec<_> = calls.iter().map(|each| (each.envelope().id(), each.envelope().payload())).collect();
        handled.sort();
        let expected = [
            ("binary", br#"{"n":1}"#.to_vec()),
            ("my-topic:1:4", vec![255, 255]),
            ("structured", br#"{"n": 1}"#.to_vec()),
        ];
        assert_eq!(handled, expected.map(|(id, payload)| (id, payload.into())));
        let raw = calls.iter().find(|each| each.envelope().id() == "my-topic:1:4").unwrap();
        assert_eq!(raw.kafka_record().unwrap().header("signed"), Some("ö".as_bytes()));
    }
    let stored = source.cluster.stored.lock().unwrap();
    let mut reasons: Vec<_> = stored.iter().map(|each| each.text(REASON).unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 4, "{reasons:?}");
    assert_eq!(reasons[1..], ["undecodable: no offset", "undecodable: no offset", "undecodable: value is not text"]);
    assert!(reasons[0].starts_with("undecodable: "), "{reasons:?}");
    assert!(stored.iter().all(|each| each.topic == "my-topic.dlq" && each.text(CODE) == Some("undecodable")));
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_is_acknowledged_unless_its_type_has_a_handler() {
    let mut tombstone = record(0, 1, Some("k"), "");
    tombstone["value"] = Value::Null;
    for accepts_tombstones in [false, true] {
        let calls = Calls::default();
        let source = KafkaSource { accepts_tombstones, ..source() };
        let answer = invoke(&source, &consumer(&calls), &event(&[&[tombstone.clone()]])).await;
        assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
        let calls = calls.lock().unwrap();
        let types: Vec<_> = calls.iter().map(|each| each.envelope().event_type()).collect();
        assert_eq!(types, if accepts_tombstones { vec!["kafka.tombstone"] } else { vec![] });
        assert!(calls.iter().all(|each| each.group() == Some("k")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_record_is_tried_again_and_then_dead_lettered_while_the_others_are_done_once() {
    let (calls, source) = (Calls::default(), source());
    let records = [
        record(0, 0, Some("a"), "retry"),
        record(0, 1, Some("a"), "fine"),
        record(0, 2, Some("b"), "once"),
        record(0, 3, None, "reject"),
        record(0, 4, None, "fine"),
    ];
    let answer = invoke(&source, &consumer(&calls), &event(&[&records])).await;
    assert_eq!(answer, Ok(json!({ "batchItemFailures": [] })));
    let calls = shown(&calls);
    let of = |offset: usize| calls.iter().filter(|(place, ..)| *place == format!("orders:0:{offset}")).count();
    assert_eq!((0..5).map(of).collect::<Vec<_>>(), [3, 1, 2, 1, 1]);
    let first = calls.iter().rposition(|(place, ..)| place == "orders:0:0");
    let second = calls.iter().position(|(place, ..)| place == "orders:0:1");
    assert!(first < second, "the later record of the key waits: {calls:?}");
    let stored = source.cluster.stored.lock().unwrap();
    let shown: Vec<_> = stored
        .iter()
        .map(|each| {
            let [code, count, place] = [CODE, RECEIVE_COUNT, SOURCE].map(|name| each.text(name).unwrap());
            (each.topic.as_str(), each.key.as_deref(), each.value.as_deref().unwrap(), code, count, place)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("orders.dlq", None, &b"reject"[..], "card_bad", "1", "orders:0:3"),
            ("orders.dlq", Some(&b"a"[..]), b"retry", "receives_exhausted", "3", "orders:0:0"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn without_the_confirm_of_a_dead_letter_the_batch_is_returned_and_its_other_records_are_not_handled_again() {
    let (calls, source) = (Calls::default(), source());
    let consumer = consumer(&calls);
    source.cluster.refuses.store(true, Ordering::Relaxed);
    let event =
        event(&[&[record(0, 0, Some("a"), "reject"), record(0, 1, Some("a"), "later"), record(0, 2, None, "fine")]]);
    let error = invoke(&source, &consumer, &event).await.unwrap_err();
    assert!(error.contains("2 of 3 records") && error.contains("not dead-lettered: not sent: planned"), "{error}");
    assert_eq!(places(&calls), ["orders:0:0", "orders:0:2"]);
    source.cluster.refuses.store(false, Ordering::Relaxed);
    assert!(invoke(&source, &consumer, &event).await.is_ok());
    assert_eq!(places(&calls), ["orders:0:0", "orders:0:2", "orders:0:0", "orders:0:1"]);
    assert_eq!(source.cluster.stored.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn each_call_of_a_handler_is_timed_and_a_record_that_was_settled_before_is_a_duplicate() {
    let (calls, source) = (Calls::default(), source());
    let (consumer, event) = (consumer(&calls), event(&[&[record(0, 0, None, "once"), record(0, 1, None, "reject")]]));
    source.cluster.refuses.store(true, Ordering::Relaxed);
    let (settlements, response) = settle(&source, &consumer, &event).await;
    assert!(response.is_err());
    let timed =
        |settlement: &Settlement| settlement.retried_in_place.iter().chain([&settlement.handler]).flatten().count();
    assert_eq!(settlements.iter().map(timed).collect::<Vec<_>>(), [2, 1]);
    source.cluster.refuses.store(false, Ordering::Relaxed);
    let (settlements, response) = settle(&source, &consumer, &event).await;
    assert!(response.is_ok());
    let before = &settlements[0];
    assert_eq!((before.disposition, timed(before), calls.lock().unwrap().len()), (Disposition::Duplicate, 0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_uses_up_the_time_is_dead_lettered_after_its_receives() {
    let (calls, source) = (Calls::default(), source());
    let (consumer, event) = (consumer(&calls), event(&[&[record(0, 0, None, "hang"), record(0, 1, None, "fine")]]));
    for _ in 0..2 {
        assert!(invoke(&source, &consumer, &event).await.is_err());
    }
    assert!(invoke(&source, &consumer, &event).await.is_ok());
    let calls = shown(&calls);
    let receives: Vec<_> = calls.iter().filter(|(_, payload, _)| payload == "hang").map(|(_, _, n)| *n).collect();
    assert_eq!((receives, calls.len()), (vec![1, 2, 3], 4), "the other record is handled once");
    assert_eq!(source.cluster.stored.lock().unwrap()[0].text(CODE), Some("handler_cancelled"));
}

#[tokio::test(start_paused = true)]
async fn progress_is_not_used_for_another_record_at_the_same_place_or_after_a_while() {
    let (calls, source) = (Calls::default(), source());
    let consumer = consumer(&calls);
    source.cluster.refuses.store(true, Ordering::Relaxed);
    let events = ["fine", "other"].map(|value| event(&[&[record(0, 0, None, value), record(0, 1, None, "reject")]]));
    assert!(invoke(&source, &consumer, &events[0]).await.is_err());
    assert!(invoke(&source, &consumer, &events[1]).await.is_err());
    sleep_until(Instant::now() + Duration::from_secs(1_000)).await;
    assert!(invoke(&source, &consumer, &events[0]).await.is_err());
    let handled = places(&calls).into_iter().filter(|place| place == "orders:0:0").count();
    assert_eq!(handled, 3);
}

#[tokio::test(start_paused = true)]
async fn a_mapping_that_reads_the_response_gets_the_records_that_are_left() {
    let calls = Calls::default();
    let source = KafkaSource { partial_batch_response: true, ..source() };
    source.cluster.refuses.store(true, Ordering::Relaxed);
    let event = event(&[&[record(0, 7, None, "fine"), record(0, 8, None, "reject")], &[record(1, 3, None, "fine")]]);
    let answer = invoke(&source, &consumer(&calls), &event).await.unwrap();
    let left = json!([{ "itemIdentifier": { "partition": "orders-0", "offset": 8 } }]);
    assert_eq!(answer, json!({ "batchItemFailures": left }));
}

#[tokio::test(start_paused = true)]
async fn dead_letters_go_to_the_topic_that_is_set_but_never_to_their_own() {
    for (topic, is_stored) in [("graveyard", true), ("orders", false)] {
        let (calls, source) = (Calls::default(), KafkaSource { dead_letter_topic: Some(topic.to_owned()), ..source() });
        let answer = invoke(&source, &consumer(&calls), &event(&[&[record(0, 0, None, "reject")]])).await;
        assert_eq!(answer.is_ok(), is_stored, "{answer:?}");
        let stored = source.cluster.stored.lock().unwrap();
        assert_eq!(
            stored.iter().map(|each| each.topic.as_str()).collect::<Vec<_>>(),
            if is_stored { vec![topic] } else { vec![] }
        );
    }
}

#[test]
fn an_event_of_another_source_is_left_to_it_and_one_without_records_is_refused() {
    let read = |event: Value| {
        let event = event.to_string();
        event::records(&event).map(|records| records.map(|records| records.len()).map_err(|error| error.to_string()))
    };
    assert_eq!(read(json!({ "Records": [{ "eventSource": "aws:sqs" }] })), None);
    assert_eq!(read(json!([])), None);
    assert_eq!(read(json!({ "records": {} })), Some(Ok(0)));
    let missing = Some(Err("the Kafka event has no object records".to_owned()));
    assert_eq!(read(json!({ "eventSource": "aws:kafka" })), missing);
    assert_eq!(read(json!({ "eventSource": "aws:kafka", "records": [] })), missing);
    let not_a_list = Some(Err(r#"the records of "t-0" are not a list"#.to_owned()));
    assert_eq!(read(json!({ "records": { "t-0": {} } })), not_a_list);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        "[a-zA-Z0-9=-]{0,8}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        prop::sample::select(vec!["topic", "partition", "offset", "timestamp", "key", "value", "headers", "ce_id"])
            .prop_map(str::to_owned),
        "[a-z-]{0,4}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::hash_map(name.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_is_read_or_refused_without_a_panic(
        records in any_json(),
        list in prop::collection::vec(any_json(), 0..5),
    ) {
        for records in [records, json!({ "orders-0": list })] {
            let event = json!({ "eventSource": "aws:kafka", "records": records });
            let event = event.to_string();
            if let Some(Ok(records)) = event::records(&event) {
                for record in records {
                    let _ = envelope::envelope(&record);
                }
            }
        }
    }
}
