//! `sluicegate dlq redrive`: sends messages to the queue they came from, or to another.

use std::process::ExitCode;

use clap::Args;
use sluicegate_dlq::{
    CancellationToken, DeadLetterQueue, Error, Filter, Rate, Redrive, RunReport, RunStep,
    sqs::{MoveError, SqsDeadLetterQueue},
};

use super::{code, text};
use crate::{fail, interrupt::INTERRUPTED, output::say, progress::Progress};

/// Send messages back to the queue they came from, or to another
///
/// Each message is sent with its attributes and its body byte for byte, and removed here only after the broker has
/// confirmed that it is stored. No message is lost on a failure. A message may be stored twice if the command is killed
/// or an answer is lost (on a FIFO queue not within five minutes). The attribute sluicegate-redrives counts the
/// redrives. A message that fails again while the command runs is left for the next run.
///
/// The destination is --to; or the queue in sluicegate-source or DeadLetterQueueSourceArn; or the only queue that has
/// this one as its dead-letter queue, which on Kafka is the topic that the name says. A message without a destination
/// stays. On Kafka, records with one key keep their order: after a failure the later ones stay too.
///
/// On SQS, without a filter and with --to or a single possible destination, SQS itself moves the messages (a message
/// move task). Their attributes are then unchanged, and the redrive is not counted. A message that is not an event has
/// a new id then, if SQS had dead-lettered it.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// The dead-letter queue
    pub(super) queue: String,
    /// The destination: a queue's name, URL or ARN [default: the queue that each message came from]
    #[arg(long, value_name = "QUEUE")]
    to: Option<String>,
    /// The largest number of messages per second, such as 50/s (or per minute: 30/m)
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// The largest number of messages
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Print each message and its destination without sending
    #[arg(long)]
    dry_run: bool,
    /// SQS: send each message instead of a message move task of SQS
    #[arg(long)]
    one_by_one: bool,
    #[command(flatten)]
    filter: Filter,
}

/// Makes SQS move the messages. Returns `None` if it cannot.
pub(super) async fn by_move_task(
    queue: &SqsDeadLetterQueue,
    arguments: &Arguments,
    stop: &CancellationToken,
) -> Result<Option<ExitCode>, Error> {
    if let Some(to) = &arguments.to {
        // Reports a missing queue once instead of for every message.
        queue.only_destination(Some(to)).await?;
    }
    let is_selective = !arguments.filter.is_empty() || arguments.limit.is_some();
    let Some(rate) = move_rate(arguments.rate).filter(|_| !is_selective && !arguments.dry_run && !arguments.one_by_one)
    else {
        return Ok(None);
    };
    let Some(destination) = queue.only_destination(arguments.to.as_deref()).await? else { return Ok(None) };
    let progress = Progress::new(queue.depth().await?);
    progress.note(&format!("SQS moves the messages to {}", destination.name));
    let moved = queue.move_all(&destination, rate, stop, |done, all| progress.set(done, all)).await;
    progress.finish();
    match moved {
        Ok(moved) => {
            let left = if moved.cancelled { "; cancelled, the rest stays" } else { "" };
            say(format_args!("{} messages moved to {}{left}", moved.moved, destination.name));
            Ok(Some(match moved.failure {
                Some(reason) => fail(format!(
                    "the move task failed: {reason}; what was not moved is still a dead letter: run this again"
                )),
                None if moved.cancelled => ExitCode::from(INTERRUPTED),
                None => ExitCode::SUCCESS,
            }))
        }
        Err(MoveError::Unsupported(reason)) => {
            eprintln!("one by one instead, because SQS does not do it here: {}", text::line(&reason));
            Ok(None)
        }
        Err(MoveError::Other(error)) => Err(error),
    }
}

/// Returns the rate for a move task, which accepts whole numbers only; `None` for another one.
fn move_rate(rate: Option<Rate>) -> Option<Option<u32>> {
    let Some(rate) = rate else { return Some(None) };
    let rate = rate.per_s().min(f64::from(SqsDeadLetterQueue::MOVES_PER_S_MAX));
    (1..=SqsDeadLetterQueue::MOVES_PER_S_MAX).find(|whole| f64::from(*whole) == rate).map(Some)
}

pub(super) async fn one_by_one<S: DeadLetterQueue>(
    queue: &S,
    arguments: &Arguments,
    stop: &CancellationToken,
) -> ExitCode {
    let order = Redrive {
        filter: &arguments.filter,
        to: arguments.to.as_deref(),
        rate: arguments.rate,
        limit: arguments.limit,
        dry_run: arguments.dry_run,
    };
    let progress = match queue.depth().await {
        Ok(depth) => Progress::new(depth),
        Err(error) => return fail(error),
    };
    let tell = |step: RunStep<'_>| match step {
        RunStep::Seen => progress.advance(),
        RunStep::Planned { letter, destination } => {
            progress.print(&format!("{}  to {}", text::summary(letter), text::line(destination)));
        }
        RunStep::Done(_) => {}
        RunStep::Failed(error) => progress.note(&format!("not redriven: {}", text::line(&error.to_string()))),
    };
    let report = sluicegate_dlq::redrive(queue, &order, stop, &tell).await;
    progress.finish();
    say(conclusion(&report, arguments.dry_run));
    if let Some(line) = text::unreached(&report) {
        eprintln!("{line}");
    }
    let code = code(&report);
    report.broke.map_or(code, |error| fail(text::line(&error.to_string())))
}

fn conclusion(report: &RunReport, dry_run: bool) -> String {
    let would = if dry_run { "would be redriven" } else { "redriven" };
    let mut parts =
        vec![format!("{} {would} of {} that match, {} looked at", report.done, report.matched, report.seen)];
    for (count, what) in [
        (report.not_sent, "stay as they are"),
        (report.unknown, "stay and may be stored at their destination too"),
        (report.returned, "failed again meanwhile and were left"),
        (report.behind, "left because an earlier message of their group was"),
    ] {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    if report.interrupted {
        parts.push("interrupted".to_owned());
    }
    parts.join("; ")
}
