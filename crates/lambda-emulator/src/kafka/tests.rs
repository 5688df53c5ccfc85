//! The mapping on a log in memory: what is delivered, committed and given up.

use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use serde_json::json;
use sluicegate_queue::kafka::ReadError;

use super::partition::Log;
use super::*;
use crate::environment::Invocation;

/// The time limit of what a mapping does.
const PATIENCE: Duration = Duration::from_secs(600);

/// A log with records that are all there from the beginning, and what is stored in other topics.
#[derive(Clone, Default)]
struct MemoryLog {
    records: Arc<Vec<FetchedRecord>>,
    committed: Arc<AtomicI64>,
    published: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Log for MemoryLog {
    async fn committed(&self) -> Result<Option<i64>, ReadError> {
        Ok(Some(self.committed.load(Ordering::SeqCst)).filter(|offset| *offset > 0))
    }

    async fn offset(&self, position: Position) -> Result<i64, ReadError> {
        Ok(if position == Position::End { self.records.last().map_or(0, |last| last.offset + 1) } else { 0 })
    }

    async fn fetch(&self, offset: i64, wait: Duration) -> Result<(Vec<FetchedRecord>, i64), ReadError> {
        let records: Vec<_> = self.records.iter().filter(|record| record.offset >= offset).cloned().collect();
        if records.is_empty() {
            sleep(wait).await;
        }
        let next = records.last().map_or(offset, |last| last.offset + 1);
        Ok((records, next))
    }

    async fn commit(&self, offset: i64) -> Result<(), ReadError> {
        self.committed.store(offset, Ordering::SeqCst);
        Ok(())
    }

    async fn publish(&self, topic: &str, _: Option<&[u8]>, value: &[u8]) -> Result<(), String> {
        let value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
        self.published.lock().unwrap().push((topic.to_owned(), value));
        Ok(())
    }
}

/// A function that fails for a batch with this value, and the offsets of each batch that it received.
#[derive(Clone)]
struct Picky {
    poison: &'static str,
    reports: bool,
    batches: Arc<Mutex<Vec<Vec<i64>>>>,
}

impl Invoke for Picky {
    async fn invoke(&self, event: Bytes) -> Invocation {
        let event: Value = serde_json::from_slice(&event).unwrap();
        let records = event["records"]["orders-0"].as_array().unwrap();
        let offset = |record: &Value| record["offset"].as_i64().unwrap();
        self.batches.lock().unwrap().push(records.iter().map(offset).collect());
        let Some(failed) = records.iter().find(|record| record["value"] == self.poison) else {
            return Invocation::Response("null".into());
        };
        if self.reports {
            let id = json!({ "partition": "orders-0", "offset": failed["offset"] });
            return Invocation::Response(json!({ "batchItemFailures": [{ "itemIdentifier": id }] }).to_string().into());
        }
        Invocation::FunctionError { payload: "no".into() }
    }
}

fn spec() -> KafkaMappingSpec {
    let lookup = |name: &str| (name == "KAFKA_BOOTSTRAP_SERVERS").then(|| "127.0.0.1:1".to_owned());
    KafkaMappingSpec {
        function: "consumer".to_owned(),
        function_arn: "arn:f".to_owned(),
        topic: "orders".to_owned(),
        cluster: ClusterConfig::from_env(lookup).unwrap().unwrap(),
        bootstrap_servers: "127.0.0.1:1".to_owned(),
        cluster_arn: Some("arn:c".to_owned()),
        group: "g".to_owned(),
        start: Position::Start,
        batch_size: 4,
        batching_window: Duration::from_millis(500),
        report_batch_item_failures: false,
        bisects: false,
        retries_max: None,
        record_age_max: None,
        on_failure: None,
        filters: Vec::new(),
    }
}

fn record(offset: i64, value: &str) -> FetchedRecord {
    FetchedRecord {
        offset,
        timestamp_ms: 1_000,
        is_append_time: false,
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
    }
}

/// What a mapping did by the time at which it committed the end of the log.
struct Run {
    batches: Vec<Vec<i64>>,
    published: Vec<(String, Value)>,
    /// The offset at the end of each message's id, and the name of the event.
    events: Vec<String>,
}

/// Runs a mapping on records with these values, from offset 0 on, until it commits the end.
async fn run(spec: KafkaMappingSpec, values: &[&str]) -> Run {
    let records = values.iter().enumerate().map(|(offset, value)| record(i64::try_from(offset).unwrap(), value));
    let log = MemoryLog { records: Arc::new(records.collect()), ..MemoryLog::default() };
    let batches = Arc::<Mutex<Vec<_>>>::default();
    // In base64: poison.
    let function =
        Picky { poison: "cG9pc29u", reports: spec.report_batch_item_failures, batches: Arc::clone(&batches) };
    let events = Arc::<Mutex<Vec<String>>>::default();
    let observer: KafkaObserver = {
        let events = Arc::clone(&events);
        Arc::new(move |event: &KafkaEvent| {
            let KafkaEvent::Message(event) = event else { return };
            let name = match event {
                MappingEvent::Delivered(_) => "delivered".to_owned(),
                MappingEvent::Done(_) => "done".to_owned(),
                MappingEvent::Returned(_) => "returned".to_owned(),
                MappingEvent::FilteredOut(_) => "filtered out".to_owned(),
                MappingEvent::BatchFailed { .. } => "failed".to_owned(),
                MappingEvent::DeadLettered { destination, reason, .. } => format!("to {destination}: {reason}"),
                MappingEvent::Dropped { reason, .. } => format!("dropped: {reason}"),
            };
            let id = event.message().message_id.clone();
            events.lock().unwrap().push(format!("{} {name}", id.trim_start_matches("orders:0:")));
        })
    };
    let shared = Arc::new(Shared {
        filters: Filters::parse(&spec.filters).unwrap(),
        names: MappingNames::new(&spec.topic, &spec.function),
        cluster: Cluster::new(spec.cluster.clone()),
        waits_for: Mutex::default(),
        function,
        observer,
        spec,
    });
    let stop = CancellationToken::new();
    let task = tokio::spawn(Partition::new(shared, 0, log.clone()).run(stop.clone()));
    let end = i64::try_from(values.len()).unwrap();
    let committed = async {
        while log.committed.load(Ordering::SeqCst) < end {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, committed).await.expect("the end is committed");
    stop.cancel();
    task.await.unwrap();
    let published = log.published.lock().unwrap().clone();
    Run { batches: batches.lock().unwrap().clone(), published, events: events.lock().unwrap().clone() }
}

#[tokio::test(start_paused = true)]
async fn batches_keep_the_order_and_the_size() {
    let run = run(spec(), &["a", "b", "c", "d", "e"]).await;
    assert_eq!(run.batches, [vec![0, 1, 2, 3], vec![4]]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_batch_is_delivered_again_up_to_its_retries_and_then_dropped() {
    let run = run(KafkaMappingSpec { retries_max: Some(2), ..spec() }, &["a", "poison", "c", "d", "e"]).await;
    let batch = vec![0, 1, 2, 3];
    assert_eq!(run.batches, [batch.clone(), batch.clone(), batch, vec![4]]);
    let of_a: Vec<_> = run.events.iter().filter(|event| event.starts_with("0 ")).collect();
    let delivered = ["0 delivered", "0 failed"].repeat(3);
    assert_eq!(of_a, [&delivered[..], &["0 dropped: failed 3 times"]].concat());
}

#[tokio::test(start_paused = true)]
async fn a_split_batch_leaves_the_poison_record_alone_in_the_topic_of_failures() {
    let on_failure = Some(FailureDestination::Topic("orders.dlq".to_owned()));
    let spec = KafkaMappingSpec { bisects: true, retries_max: Some(1), on_failure, ..spec() };
    let run = run(spec, &["a", "b", "poison", "d"]).await;
    assert_eq!(
        run.batches,
        [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2], vec![2], vec![3]],
        "the halves are delivered in order"
    );
    let [(topic, record)] = run.published.as_slice() else { panic!("{:?}", run.published) };
    assert_eq!(topic, "orders.dlq");
    assert_eq!(record["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(record["requestContext"]["approximateInvokeCount"], 2);
    assert_eq!(record["KafkaBatchInfo"]["recordsInfo"]["orders-0"]["firstRecordOffset"], "2");
    assert_eq!(record["KafkaBatchInfo"]["recordsInfo"]["orders-0"]["lastRecordTimestamp"], "1970-01-01T00:00:01Z");
    assert_eq!(record["payload"]["records"]["orders-0"][0]["value"], "cG9pc29u");
    assert!(run.events.contains(&"2 to orders.dlq: failed 2 times".to_owned()), "{:?}", run.events);
}

#[tokio::test(start_paused = true)]
async fn a_partial_batch_response_moves_the_start_of_the_next_delivery() {
    let spec = KafkaMappingSpec { report_batch_item_failures: true, retries_max: Some(1), ..spec() };
    let run = run(spec, &["a", "poison", "c"]).await;
    assert_eq!(run.batches, [vec![0, 1, 2], vec![1, 2]]);
    assert_eq!(
        run.events.iter().filter(|event| event.starts_with("1 ")).collect::<Vec<_>>(),
        ["1 delivered", "1 returned", "1 delivered", "1 returned", "1 dropped: failed 2 times"]
    );
    assert!(run.events.contains(&"0 done".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_queue_gets_one_record_of_the_whole_batch() {
    let sqs = sqs_emulator::Sqs::new(sqs_emulator::Clock::system(), sqs_emulator::SqsConfig::default());
    let client = SqsClient::Emulated(sqs);
    let created = client.call("CreateQueue", json!({ "QueueName": "failures" })).await.unwrap();
    let url = created["QueueUrl"].as_str().unwrap().to_owned();
    let queue = FailureDestination::Queue { name: "failures".to_owned(), url: url.clone(), client: client.clone() };
    let spec = KafkaMappingSpec { retries_max: Some(0), on_failure: Some(queue), cluster_arn: None, ..spec() };
    let run = run(spec, &["a", "poison"]).await;
    assert_eq!(run.batches, [vec![0, 1]]);
    let received = client.call("ReceiveMessage", json!({ "QueueUrl": url })).await.unwrap();
    let record: Value = serde_json::from_str(received["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!(record["KafkaBatchInfo"]["batchSize"], 2);
    assert_eq!(record["KafkaBatchInfo"]["recordsInfo"]["orders-0"]["lastRecordOffset"], "1");
    assert_eq!(record["responseContext"]["functionError"], "Unhandled");
    assert!(record.get("payload").is_none(), "a queue does not get the records");
}

#[tokio::test(start_paused = true)]
async fn old_records_are_given_up_and_filtered_ones_are_committed() {
    let old = KafkaMappingSpec { record_age_max: Some(Duration::from_secs(60)), ..spec() };
    let run_old = run(old, &["a"]).await;
    assert_eq!(run_old.batches, Vec::<Vec<i64>>::new());
    assert_eq!(run_old.events, ["0 dropped: older than MaximumRecordAgeInSeconds"]);
    let filtered = KafkaMappingSpec { filters: vec![json!({ "value": { "n": [1] } })], ..spec() };
    let run_filtered = run(filtered, &[r#"{"n":2}"#, r#"{"n":1}"#, "text"]).await;
    assert_eq!(run_filtered.batches, [vec![1]]);
    assert_eq!(run_filtered.events, ["0 filtered out", "2 filtered out", "1 delivered", "1 done"]);
}

#[test]
fn the_event_has_the_form_of_the_developer_guide() {
    let msk = event::head(&spec(), 0) + event::TAIL;
    let msk: Value = serde_json::from_str(&msk).unwrap();
    assert_eq!(
        msk,
        json!({
            "eventSource": "aws:kafka", "eventSourceArn": "arn:c", "bootstrapServers": "127.0.0.1:1",
            "records": { "orders-0": [] },
        })
    );
    let other = event::head(&KafkaMappingSpec { cluster_arn: None, ..spec() }, 2) + event::TAIL;
    let other: Value = serde_json::from_str(&other).unwrap();
    assert_eq!((&other["eventSource"], other.get("eventSourceArn")), (&json!("SelfManagedKafka"), None));
    let headers = vec![("h".to_owned(), Some("é".as_bytes().to_vec())), ("n".to_owned(), None)];
    let record = FetchedRecord { key: Some(b"k".to_vec()), value: None, headers, ..record(7, "") };
    assert_eq!(
        event::record("orders", 2, &record),
        json!({
            "topic": "orders", "partition": 2, "offset": 7, "timestamp": 1_000, "timestampType": "CREATE_TIME",
            "key": "aw==", "value": null, "headers": [{ "h": [-61, -87] }, { "n": null }],
        })
    );
}
