//! The floor of the consumer: reads a batch without copying it, calls a handler, answers. It has no log lines, metrics,
//! deadlines or groups.

use std::borrow::Cow;

use peers::{Result, serve};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    #[serde(borrow)]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    message_id: &'a str,
    #[serde(borrow)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    data: &'a RawValue,
}

fn main() -> Result<()> {
    serve(|event| {
        let event: Event = serde_json::from_str(event)?;
        let is_failed = |record: &&Record| !serde_json::from_str(&record.body).is_ok_and(|envelope| handle(&envelope));
        let failed = event.records.iter().filter(is_failed);
        let failed: Vec<_> = failed.map(|record| format!("{{\"itemIdentifier\":\"{}\"}}", record.message_id)).collect();
        Ok(format!("{{\"batchItemFailures\":[{}]}}", failed.join(",")))
    })
}

/// Returns whether the message is done.
fn handle(envelope: &Envelope) -> bool {
    !envelope.id.is_empty() && envelope.kind == "order.placed" && envelope.data.get().starts_with('{')
}
