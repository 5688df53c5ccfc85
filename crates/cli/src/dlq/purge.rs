//! `sluicegate dlq purge`: deletes messages.
//!
//! It does not use `PurgeQueue`, which also deletes messages that arrive within the next minute and messages in flight
//! at other readers.

use std::{
    cell::RefCell,
    io::{BufRead as _, IsTerminal as _, Write as _},
    ops::ControlFlow,
    process::ExitCode,
};

use clap::Args;
use sluicegate_dlq::{CancellationToken, DeadLetter, DeadLetterQueue, Filter, RunReport, RunStep, scan};

use super::{code, text};
use crate::{fail, interrupt::INTERRUPTED, output::say, progress::Progress};

/// Delete messages permanently
///
/// Asks for confirmation. Messages of another reader are not deleted, and neither are those that the filter does not
/// match. On Kafka they are not dead letters any more, and the topic's retention deletes them (kafka-delete-records.sh
/// deletes the records before an offset at once).
#[derive(Args)]
pub(super) struct Arguments {
    /// The dead-letter queue
    pub(super) queue: String,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
    /// Print the number of messages that would be deleted, without deleting them
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    filter: Filter,
}

impl Arguments {
    /// Checks that the deletion is confirmed, or can be.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let is_interactive = || std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if self.yes || self.dry_run || is_interactive() {
            return Ok(());
        }
        Err("stdin is not a terminal: pass --yes or --dry-run")
    }
}

pub(super) async fn purge<S: DeadLetterQueue>(queue: &S, arguments: &Arguments, stop: &CancellationToken) -> ExitCode {
    let filter = &arguments.filter;
    let mut found = Vec::new();
    if !arguments.yes || arguments.dry_run {
        found = match find(queue, filter, arguments.dry_run, stop).await {
            Ok(found) => found,
            Err(code) => return code,
        };
        if arguments.dry_run {
            say(format_args!("{} would be deleted", found.len()));
            return ExitCode::SUCCESS;
        }
        match confirmed(&arguments.queue, found.len(), filter.is_empty()) {
            Ok(true) => {}
            Ok(false) => return fail("nothing was deleted"),
            Err(error) => return fail(error),
        }
    }
    let progress = match queue.depth().await {
        Ok(depth) => Progress::new(depth),
        Err(error) => return fail(error),
    };
    let tell = |step: RunStep<'_>| match step {
        RunStep::Seen => progress.advance(),
        RunStep::Planned { .. } | RunStep::Done(_) => {}
        RunStep::Failed(error) => progress.note(&format!("not deleted: {}", text::line(&error.to_string()))),
    };
    let report = sluicegate_dlq::purge(queue, filter, found, stop, &tell).await;
    progress.finish();
    let interrupted = if report.interrupted { "; interrupted" } else { "" };
    let RunReport { done, matched, seen, .. } = &report;
    say(format_args!("{done} deleted of {matched} that match, {seen} looked at{interrupted}"));
    if let Some(line) = text::unreached(&report) {
        eprintln!("{line}");
    }
    let code = code(&report);
    report.broke.map_or(code, |error| fail(text::line(&error.to_string())))
}

/// Takes the matching messages, and keeps only their handles and ids.
async fn find<S: DeadLetterQueue>(
    queue: &S,
    filter: &Filter,
    shown: bool,
    stop: &CancellationToken,
) -> Result<Vec<DeadLetter>, ExitCode> {
    let found = RefCell::new(Vec::new());
    let report = scan(queue, stop, |letter| {
        if filter.matches(&letter) {
            if shown {
                say(format_args!("{}  {}", text::summary(&letter), text::line(&letter.reason)));
            }
            let DeadLetter { handle, id, group, .. } = letter;
            found.borrow_mut().push(DeadLetter { handle, id, group, ..DeadLetter::default() });
        }
        ControlFlow::Continue(())
    })
    .await;
    if let Some(line) = text::unreached(&report) {
        eprintln!("{line}");
    }
    match report.broke {
        Some(error) => Err(fail(text::line(&error.to_string()))),
        None if report.interrupted => Err(ExitCode::from(INTERRUPTED)),
        None => Ok(found.into_inner()),
    }
}

fn confirmed(queue: &str, count: usize, is_all: bool) -> std::io::Result<bool> {
    let which = if is_all { "everything" } else { "what matches" };
    eprint!("Delete {which} in {}, {count} messages so far, for good? [y/N] ", text::line(queue));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
