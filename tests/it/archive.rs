//! Other readers of the archive: DuckDB.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use sluicegate_archive::{Hour, ObjectKey, line, write};
use sluicegate_envelope::Envelope;

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
