//! `sluicegate dlq show`: shows one message.

use std::{io::Write as _, process::ExitCode};

use clap::Args;
use serde_json::json;
use sluicegate_dlq::{CancellationToken, DeadLetter, DeadLetterQueue};

use super::{list, text};
use crate::{fail, interrupt::INTERRUPTED};

/// Show one message: its reason and time, its attributes and its payload
///
/// A payload in S3 is read with the same credentials.
#[derive(Args)]
pub(super) struct Arguments {
    /// The dead-letter queue
    pub(super) queue: String,
    /// The message's id, its own or the broker's
    id: String,
    /// Print only the body, byte for byte (for `edit --body`)
    #[arg(long, conflicts_with = "json")]
    body: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn show<S: DeadLetterQueue>(queue: &S, arguments: &Arguments, stop: &CancellationToken) -> ExitCode {
    let letter = match find(queue, &arguments.id, stop).await {
        Ok(letter) => letter,
        Err(code) => return code,
    };
    let letter = match queue.body(&letter).await {
        Ok(body) => letter.with_body(body),
        Err(error) if arguments.body => return fail(text::line(&error.to_string())),
        Err(error) => {
            eprintln!("warning: {}; other credentials read it with `aws s3 cp`", text::line(&error.to_string()));
            letter
        }
    };
    let printed = if arguments.body {
        std::io::stdout().write_all(&letter.body)
    } else if arguments.json {
        writeln!(std::io::stdout(), "{:#}", in_json(&letter))
    } else {
        std::io::stdout().write_all(as_text(&letter).as_bytes())
    };
    printed.map_or_else(fail, |()| ExitCode::SUCCESS)
}

/// Takes messages until the one with this id, which stays in flight.
///
/// # Errors
/// The exit code, after the reason was printed.
pub(super) async fn find<S: DeadLetterQueue>(
    queue: &S,
    id: &str,
    stop: &CancellationToken,
) -> Result<DeadLetter, ExitCode> {
    let report = match sluicegate_dlq::find(queue, id, stop).await {
        Ok(letter) => return Ok(letter),
        Err(report) => report,
    };
    if let Some(error) = report.broke {
        return Err(fail(error));
    }
    if report.interrupted {
        return Err(ExitCode::from(INTERRUPTED));
    }
    if let Some(line) = text::unreached(&report) {
        eprintln!("{line}");
    }
    Err(fail(format!(
        "no message {} among the {} that were reached: `sluicegate dlq list QUEUE --each` has their ids",
        text::line(id),
        report.seen
    )))
}

fn in_json(letter: &DeadLetter) -> serde_json::Value {
    let mut shown = list::metadata(letter);
    shown["attributes"] = json!(letter.attributes);
    match std::str::from_utf8(&letter.body) {
        Ok(text) => shown["body"] = text.into(),
        Err(_) => shown["body_base64"] = base64(&letter.body).into(),
    }
    shown
}

fn as_text(letter: &DeadLetter) -> String {
    let count = letter.receive_count.map(|count| count.to_string());
    let mut rows = vec![
        vec!["id".to_owned(), text::line(&letter.id)],
        vec!["broker's id".to_owned(), text::line(&letter.broker_id)],
        vec!["type".to_owned(), text::optional(letter.event_type.as_deref())],
        vec!["time".to_owned(), text::time(letter.time)],
        vec!["dead-lettered".to_owned(), text::time(letter.dead_lettered_at)],
        vec!["code".to_owned(), text::optional(letter.code.as_deref())],
        vec!["reason".to_owned(), text::line(&letter.reason)],
        vec!["came from".to_owned(), text::optional(letter.source_queue.as_deref())],
        vec!["received there".to_owned(), text::optional(count.as_deref())],
        vec!["redriven".to_owned(), letter.redrives.to_string()],
        vec!["group".to_owned(), text::optional(letter.group.as_deref())],
    ];
    rows.extend(letter.pointer.as_ref().map(|pointer| vec!["payload in".to_owned(), text::line(&pointer.to_string())]));
    let mut shown = text::table(&rows);
    let envelope = letter.envelope();
    if let Some(envelope) = &envelope {
        shown += &section("envelope", envelope.attributes());
    }
    if !letter.attributes.is_empty() {
        shown += &section("attributes", &letter.attributes);
    }
    let payload = envelope.as_ref().map_or_else(|| letter.body.clone(), |envelope| envelope.payload().into_owned());
    let (encoding, payload_shown) = match std::str::from_utf8(&payload) {
        Ok(payload) => ("", text::lines(payload)),
        Err(_) => (" in base64", base64(&payload)),
    };
    format!("{shown}\npayload ({} bytes{encoding})\n{payload_shown}\n", payload.len())
}

fn section<'a>(title: &str, entries: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)> + 'a) -> String {
    let row = |(name, value): (_, _)| vec![format!("  {}", line_of(&name)), line_of(&value)];
    let rows: Vec<Vec<String>> = entries.into_iter().map(row).collect();
    format!("\n{title}\n{}", text::table(&rows))
}

fn line_of(value: &impl AsRef<str>) -> String {
    text::line(value.as_ref())
}

/// Returns base64, for bytes that are not text.
fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
