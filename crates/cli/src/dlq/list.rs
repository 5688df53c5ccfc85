//! `sluicegate dlq list`: lists the dead-letter queues, or the messages in one of them.

use std::{cell::RefCell, ops::ControlFlow, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};
use sluicegate_dlq::{CancellationToken, DeadLetter, DeadLetterQueue, Filter, ListedQueue, Summary, scan};

use super::{Verb, code, text};
use crate::{fail, output::say};

/// List the dead-letter queues with their depth; or the reasons in one of them, or its messages
#[derive(Args)]
pub(super) struct Arguments {
    /// The dead-letter queue; without it all of them are listed: on SQS those that a redrive policy names, on RabbitMQ
    /// those that receive dead letters of other queues, or whose name ends in .dlq, on Kafka topics of such a name
    pub(super) queue: Option<String>,
    /// List the messages instead of their reasons
    #[arg(long, requires = "queue")]
    each: bool,
    /// Print JSON; with --each one object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    filter: Filter,
}

pub(super) fn queues(verb: &Verb, queues: &[ListedQueue]) -> ExitCode {
    if matches!(verb, Verb::List(arguments) if arguments.json) {
        let queues: Vec<Value> = queues
            .iter()
            .map(|queue| json!({"queue": queue.name, "messages": queue.depth, "sources": queue.sources}))
            .collect();
        say(format_args!("{:#}", Value::from(queues)));
        return ExitCode::SUCCESS;
    }
    let mut rows = vec![["QUEUE", "MESSAGES", "FROM"].map(str::to_owned).to_vec()];
    rows.extend(queues.iter().map(|queue| {
        let depth = queue.depth.map_or_else(|| "?".to_owned(), |depth| depth.to_string());
        vec![text::line(&queue.name), depth, text::line(&queue.sources.join(", "))]
    }));
    say(text::table(&rows).trim_end());
    ExitCode::SUCCESS
}

pub(super) async fn list<S: DeadLetterQueue>(queue: &S, arguments: &Arguments, stop: &CancellationToken) -> ExitCode {
    let summary = RefCell::new(Summary::default());
    let matched = RefCell::new(0_u64);
    let report = scan(queue, stop, |letter| {
        if arguments.filter.matches(&letter) {
            *matched.borrow_mut() += 1;
            let is_read = match (arguments.each, arguments.json) {
                (true, true) => say(metadata(&letter)),
                (true, false) => say(row(&letter)),
                (false, _) => {
                    summary.borrow_mut().add(&letter);
                    true
                }
            };
            if !is_read {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    })
    .await;
    if !arguments.each {
        print_summary(&summary.borrow(), arguments.json);
    }
    eprintln!("{} of the {} messages that were reached", matched.borrow(), report.seen);
    if let Some(line) = text::unreached(&report) {
        eprintln!("{line}");
    }
    match report.broke {
        Some(error) => fail(error),
        None => code(&report),
    }
}

fn print_summary(summary: &Summary, as_json: bool) {
    if as_json {
        let groups: Vec<Value> = summary
            .groups()
            .into_iter()
            .map(|group| {
                json!({
                    "code": group.code,
                    "reason": group.reason,
                    "count": group.count,
                    "types": group.types,
                    "oldest": group.oldest.map(|moment| text::time(Some(moment))),
                    "newest": group.newest.map(|moment| text::time(Some(moment))),
                })
            })
            .collect();
        say(format_args!("{:#}", Value::from(groups)));
        return;
    }
    let mut rows = vec![["COUNT", "OLDEST", "NEWEST", "TYPES", "CODE", "REASON"].map(str::to_owned).to_vec()];
    rows.extend(summary.groups().into_iter().map(|group| {
        let name =
            |event_type: &str| if event_type.is_empty() { "(no envelope)".into() } else { text::line(event_type) };
        let types: Vec<String> =
            group.types.iter().map(|(event_type, count)| format!("{}:{count}", name(event_type))).collect();
        vec![
            group.count.to_string(),
            text::time(group.oldest),
            text::time(group.newest),
            types.join(","),
            text::optional(group.code.as_deref()),
            text::line(&group.reason),
        ]
    }));
    say(text::table(&rows).trim_end());
}

fn row(letter: &DeadLetter) -> String {
    let source = letter.source_queue.as_deref().map_or("?", text::queue);
    let reason = text::line(&letter.reason);
    let (source, code) = (text::line(source), text::optional(letter.code.as_deref()));
    format!("{}  from {source}  redriven {}  {code}  {reason}", text::summary(letter), letter.redrives)
}

/// Returns a message without its body.
pub(super) fn metadata(letter: &DeadLetter) -> Value {
    let time = |moment: Option<_>| moment.map(|moment| text::time(Some(moment)));
    json!({
        "id": letter.id,
        "broker_id": letter.broker_id,
        "type": letter.event_type,
        "time": time(letter.time),
        "dead_lettered_at": time(letter.dead_lettered_at),
        "code": letter.code,
        "reason": letter.reason,
        "source_queue": letter.source_queue,
        "receive_count": letter.receive_count,
        "redrives": letter.redrives,
        "group": letter.group,
        "bytes": letter.body.len(),
        "payload_in": letter.pointer.as_ref().map(ToString::to_string),
    })
}
