//! The archive in a folder: DuckDB reads it, and a replay sends it to RabbitMQ and to Kafka.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sluicegate_archive::{Hour, ObjectKey, line, write};
use sluicegate_envelope::Envelope;

use crate::dlq::binary::{ran, sluicegate};
use crate::support::kafka::Broker;
use crate::support::rabbitmq::Vhost;
use crate::support::root;
use crate::webhook_peers::from_run;

/// The folder of programs with DuckDB.
const PYTHON_BIN: &str = "SLUICEGATE_PYTHON_BIN";

/// Sums the quantities by the partitions that the folders name, each event once.
const BY_PARTITION: &str = "
    select date::varchar, hour::integer, event_type, count(*), sum(quantity)::integer
    from (
        select distinct on (id, source) date, hour, event_type, (data->>'quantity')::integer as quantity
        from read_json('s3://BUCKET/archive/**/*.jsonl.zst', format = 'newline_delimited', hive_partitioning = true,
                       columns = {id: 'VARCHAR', source: 'VARCHAR', time: 'TIMESTAMP', data: 'JSON'})
    )
    group by all order by all";

/// Returns the rows that DuckDB finds in a copy of the bucket.
fn rows(query: &str, folder: &Path) -> Value {
    let query = query.replace("s3://BUCKET", folder.to_str().expect("UTF-8"));
    let mut command = Command::new(from_run(PYTHON_BIN).join("python"));
    command.arg(root().join("tests/peers/duckdb_archive.py")).arg(query);
    let output = command.output().expect("./tests/run installs the packages");
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Writes an object with these events, which have one hour and type.
fn write_object(folder: &Path, events: &[&Envelope]) {
    let text: String = events.iter().map(|event| line(event)).collect();
    let hour = Hour::of(events[0].time().expect("a time"));
    let path = folder.join(ObjectKey::new(hour, events[0].event_type(), &text).to_string());
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("created");
    std::fs::write(path, write(&text)).expect("written");
}

fn event(id: &str, event_type: &str, time: &str, payload: &Value) -> Envelope {
    let event = Envelope::builder(id, "/orders", event_type).attribute("time", time).expect("a time");
    // With line breaks, which must not be lines of the object.
    let payload = serde_json::to_string_pretty(payload).expect("JSON");
    event.payload(Some("application/json"), payload).build().expect("valid")
}

#[test]
#[ignore = "needs DuckDB, which ./tests/run installs"]
fn duckdb_reads_the_archive_by_its_partitions() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut long = String::new();
    for n in 0..20_000 {
        write!(long, "{n} ").expect("written");
    }
    let orders: Vec<_> = (0..1_000)
        .map(|n| {
            event(
                &format!("e-{n}"),
                "order.placed",
                "2026-11-29T10:59:59Z",
                &json!({ "order_id": "o-1", "quantity": n }),
            )
        })
        .collect();
    write_object(folder.path(), &orders.iter().collect::<Vec<_>>());
    // A batch that was delivered again, with another message.
    let late =
        event("e-1000", "order.placed", "2026-11-29T10:00:00Z", &json!({ "order_id": "o-1", "quantity": 1_000 }));
    write_object(folder.path(), &[&orders[7], &late]);
    let other = event("e-1001", "a/b=c", "2026-11-29T11:00:00Z", &json!({ "quantity": 5, "text": long }));
    write_object(folder.path(), &[&other]);

    let expected = json!([["2026-11-29", 10, "order.placed", 1_001, 500_500], ["2026-11-29", 11, "a/b=c", 1, 5]]);
    assert_eq!(rows(BY_PARTITION, folder.path()), expected);
    let page = std::fs::read_to_string(root().join("docs/archive.md")).expect("the page");
    let (_, query) = page.split_once("```sql\n").expect("a query");
    let (query, _) = query.split_once("```").expect("its end");
    assert_eq!(rows(query, folder.path()), json!([["o-1", 1_001]]));
}

/// Returns a folder with five events of two groups in two hours, and an arguments' list of a replay of them all.
fn grouped() -> (tempfile::TempDir, Vec<String>) {
    let folder = tempfile::tempdir().expect("a folder");
    for hour in [10, 11] {
        let of_hour = |n: u32| {
            let time = format!("2026-11-29T{hour}:00:0{n}Z");
            let event =
                Envelope::builder(format!("e-{hour}-{n}"), "/orders", "order.placed").group(format!("g-{}", n % 2));
            let event = event.attribute("time", &time).expect("a time");
            event.payload(Some("application/json"), "{}").build().expect("valid")
        };
        let events: Vec<_> = (0..if hour == 10 { 3 } else { 2 }).map(of_hour).collect();
        write_object(folder.path(), &events.iter().collect::<Vec<_>>());
    }
    let arguments = [folder.path().to_str().expect("UTF-8"), "--from", "2026-11-29T10:00:00Z", "--queue"];
    let arguments = arguments.map(str::to_owned).to_vec();
    (folder, arguments)
}

/// The ids of [`grouped`] in the order of their time.
const GROUPED: [&str; 5] = ["e-10-0", "e-10-1", "e-10-2", "e-11-0", "e-11-1"];

#[tokio::test]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn a_replay_goes_to_a_queue_of_rabbitmq_in_order_and_once_per_journal() {
    let (vhost, (folder, arguments)) = (Vhost::create().await, grouped());
    vhost.declare_queue("orders").await;
    let journal = folder.path().join("journal").to_str().expect("UTF-8").to_owned();
    let replay = async |queue: &str| {
        let own = [queue, "--journal", &journal];
        let all: Vec<_> = arguments.iter().map(String::as_str).chain(own).collect();
        let mut command = sluicegate("replay", &all);
        command.env("RABBITMQ_URL", vhost.url());
        ran(command).await
    };
    replay("rabbitmq:/orders").await.expect(0, &["5 sent of 5 that match"]);
    replay("rabbitmq:/orders").await.expect(0, &["0 sent of 5 that match", "5 sent by an earlier run"]);
    let messages = vhost.until_drained("orders", 5).await;
    let events: Vec<_> = messages.iter().map(|message| Envelope::decode(message.text()).expect("an event")).collect();
    assert_eq!(events.iter().map(Envelope::id).collect::<Vec<_>>(), GROUPED);
    assert!(events.iter().all(|event| event.replay_id().is_some() && event.group().is_some()));
    std::fs::remove_file(&journal).expect("removed");
    replay("rabbitmq:/absent").await.expect(1, &["run the same command again"]);
    vhost.delete().await;
}

#[tokio::test]
#[ignore = "needs the Kafka peers, which ./tests/run brings"]
async fn a_replay_goes_to_a_topic_in_the_order_of_each_group() {
    let (broker, (_folder, arguments)) = (Broker::start(&["orders:2"]).await, grouped());
    let all: Vec<_> = arguments.iter().map(String::as_str).chain(["kafka:orders"]).collect();
    let mut command = sluicegate("replay", &all);
    command.env("KAFKA_BOOTSTRAP_SERVERS", broker.servers()).env("KAFKA_SECURITY_PROTOCOL", "PLAINTEXT");
    ran(command).await.expect(0, &["5 sent of 5 that match"]);
    let records = broker.records("orders").await;
    for (group, expected) in [("g-0", &["e-10-0", "e-10-2", "e-11-0"][..]), ("g-1", &["e-10-1", "e-11-1"])] {
        let of_group = records.iter().filter(|record| record.key.as_deref() == Some(group));
        assert_eq!(of_group.map(|record| record.event_id()).collect::<Vec<_>>(), expected, "{group}");
    }
    assert!(records.iter().all(|record| record.headers["ce_replayid"].is_string()), "{records:?}");
}
