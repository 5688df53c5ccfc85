//! `sluicegate replay`: sends archived events to a queue again.
//!
//! Exit codes: 0 done, 1 not every event could be sent, 2 invalid command line, 130 interrupted by Ctrl-C.

mod journal;
mod sending;
mod target;

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use serde_json::{Value, json};
use sluicegate_archive::{Archive, Hour, ObjectKey};
use sluicegate_dlq::{Filter, Glob, Rate, TimeBound, sqs};
use sluicegate_envelope::fresh_id;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use self::{
    journal::Journal,
    sending::{DryRun, Report, Sender},
    target::{Target, is_of_sqs},
};
use crate::{
    CommandError,
    aws::{self, Aws, SdkConfig},
    fail, fail_with_advice,
    interrupt::{INTERRUPTED, stop_at_ctrl_c},
    output::say,
};

/// How a bucket is named on the command line.
const BUCKET: &str = "s3://";

/// Send archived events to a queue again, with their ids
///
/// ARCHIVE is the bucket, as s3://BUCKET, or a folder with a copy of it. Events are sent in the order of their time,
/// hour by hour, each once, with the attribute replayid: a handler sees it as Delivery::is_replay. A consumer that
/// handles each event once takes an event that it has handled for a duplicate; see docs/archive.md.
///
/// With --journal, a run that was interrupted goes on where it stopped when the same command is run again. Without,
/// nothing is known of an earlier run. What is in flight when the command is killed, at most 10 events, may be sent
/// twice (on a FIFO queue not within five minutes).
///
/// Exit codes: 0 done, 1 not every event could be sent, 2 invalid command line, 130 interrupted by Ctrl-C.
#[derive(Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    aws: Aws,
    /// The archive: s3://BUCKET, or a folder
    archive: String,
    /// Only events of this time or later: 2026-11-21T08:00:00Z, or a time ago: 90s, 30m, 2h, 7d
    #[arg(long, value_name = "TIME")]
    from: String,
    /// Only events before this time; as --from [default: now]
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events of this type; * matches any text, ? one character; repeat it for more types
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only events with this in their payload, or this attribute: /json/pointer=VALUE, /json/pointer~REGEX, name=VALUE,
    /// name~REGEX; all must hold
    #[arg(long = "filter", value_name = "CONDITION")]
    filters: Vec<String>,
    /// The queue: a name, URL or ARN of SQS; rabbitmq:EXCHANGE/ROUTING_KEY (rabbitmq:/QUEUE for one queue) at
    /// RABBITMQ_URL; or kafka:TOPIC, also with /KEY, at KAFKA_BOOTSTRAP_SERVERS. These two read the variables of
    /// ingress
    #[arg(long, value_name = "QUEUE", required_unless_present = "dry_run")]
    queue: Option<String>,
    /// The largest number of events per second, such as 50/s (or per minute: 30/m)
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Records what was sent in this file, and does not send what is in it
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    journal: Option<PathBuf>,
    /// Count the events by type without sending
    #[arg(long)]
    dry_run: bool,
}

/// Which events are sent, and under which name.
struct Selection {
    filter: Filter,
    from: OffsetDateTime,
    to: OffsetDateTime,
    /// The name of the replay.
    replay_id: String,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let mut journal = Journal::default();
    let selection = match arguments.selection(&mut journal) {
        Ok(selection) => selection,
        Err(reason) => {
            eprintln!("error: {reason}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    match runtime.block_on(arguments.replay(&selection, journal)) {
        Ok(report) => arguments.conclude(report),
        Err(reason) => fail_with_advice(reason, &format!("check the names of bucket and queue, and {}", aws::ADVICE)),
    }
}

impl Arguments {
    /// Reads the conditions. With a journal, times are those of its first run, and so is the name of the replay.
    fn selection(&self, journal: &mut Journal) -> Result<Selection, CommandError> {
        let wrong = |name: &str, reason: &dyn std::fmt::Display| CommandError::from(format!("--{name}: {reason}"));
        let time = |name: &str, text: &str| text.parse::<TimeBound>().map_err(|error| wrong(name, &error));
        let types = self.types.iter().map(|text| text.parse::<Glob>().map_err(|error| wrong("type", &error)));
        let conditions = self.filters.iter().map(|text| text.parse().map_err(|error| wrong("filter", &error)));
        let (types, conditions) = (types.collect::<Result<_, _>>()?, conditions.collect::<Result<_, _>>()?);
        let from = time("from", &self.from)?.0;
        let to = match &self.to {
            Some(to) => time("to", to)?.0,
            None => OffsetDateTime::now_utc(),
        };
        let mut selection = Selection { filter: Filter::default(), from, to, replay_id: fresh_id() };
        if let Some(path) = &self.journal {
            let text = |moment: OffsetDateTime| moment.format(&Rfc3339).unwrap_or_default();
            let run = json!({ "replay": selection.replay_id, "from": text(selection.from), "to": text(selection.to) });
            let earlier;
            (*journal, earlier) = Journal::open(path, &self.command(), &run)?;
            let moment = |name: &str| OffsetDateTime::parse(earlier[name].as_str().unwrap_or_default(), &Rfc3339);
            let (Ok(from), Ok(to), Some(replay)) = (moment("from"), moment("to"), earlier["replay"].as_str()) else {
                return Err(format!("{}: the first line is not that of a journal", path.display()).into());
            };
            (selection.from, selection.to, selection.replay_id) = (from, to, replay.to_owned());
        }
        if selection.from >= selection.to {
            return Err(wrong("from", &"is not before --to: there is nothing between them"));
        }
        let (since, until) = (Some(TimeBound(selection.from)), Some(TimeBound(selection.to)));
        selection.filter = Filter { types, conditions, since, until, ..Filter::default() };
        Ok(selection)
    }

    /// Returns what must be the same in every run with a journal.
    fn command(&self) -> Value {
        json!({
            "archive": self.archive,
            "from": self.from,
            "to": self.to,
            "type": self.types,
            "filter": self.filters,
            "queue": self.queue,
        })
    }

    async fn replay(&self, selection: &Selection, journal: Journal) -> Result<Report, CommandError> {
        let config = if self.needs_aws() { Some(self.aws.load().await?) } else { None };
        let archive = match (self.archive.strip_prefix(BUCKET), &config) {
            (Some(bucket), Some(config)) => {
                Archive::in_bucket(&environment(config).await?, bucket.trim_end_matches('/'))
            }
            _ => Archive::Folder(PathBuf::from(&self.archive)),
        };
        let mut keys = archive.keys(Hour::of(selection.from), Hour::of(selection.to)).await?;
        keys.retain(|key| selection.has_type(key));
        let stop = stop_at_ctrl_c();
        let Some(target) = self.target(config.as_ref()).await? else {
            return sending::run(&archive, &keys, selection, &mut DryRun, &stop).await;
        };
        let mut sender = Sender::new(target, selection, self.rate, journal);
        sending::run(&archive, &keys, selection, &mut sender, &stop).await
    }

    /// Returns where the events are sent; `None` for a dry run.
    async fn target(&self, config: Option<&SdkConfig>) -> Result<Option<Target>, CommandError> {
        match (&self.queue, config) {
            (Some(queue), _) if !self.dry_run && !is_of_sqs(queue) => {
                Target::of_binding(queue, |name| std::env::var(name).ok()).map(Some)
            }
            (Some(queue), Some(config)) if !self.dry_run => {
                let queue = sqs::find(config, queue).await?;
                Ok(Some(Target::sqs(&environment(config).await?, &queue.url)))
            }
            _ => Ok(None),
        }
    }

    fn needs_aws(&self) -> bool {
        let sends_to_sqs = || self.queue.as_deref().is_some_and(is_of_sqs);
        self.archive.starts_with(BUCKET) || !self.dry_run && sends_to_sqs()
    }

    /// Prints what was done, and returns the exit code.
    fn conclude(&self, report: Report) -> ExitCode {
        for (event_type, count) in &report.by_type {
            say(format_args!("{count:>9}  {}", crate::text::line(event_type)));
        }
        let sent = if self.dry_run { "would be sent" } else { "sent" };
        let mut parts = vec![format!("{} {sent} of {} that match, {} read", report.sent, report.matched, report.read)];
        for (count, what) in [
            (report.earlier, "sent by an earlier run"),
            (report.repeats, "repeats were left out"),
            (report.refused, "cannot be sent"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        if report.interrupted {
            parts.push("interrupted".to_owned());
        }
        say(parts.join("; "));
        match report.failure {
            Some(reason) => {
                let advice = match &self.journal {
                    Some(_) => "run the same command again to go on",
                    None => "a run with --journal can be continued",
                };
                fail_with_advice(reason, advice)
            }
            None if report.interrupted => ExitCode::from(INTERRUPTED),
            None if report.refused > 0 => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        }
    }
}

impl Selection {
    /// Returns whether an object may have events that match.
    fn has_type(&self, key: &ObjectKey) -> bool {
        let types = &self.filter.types;
        types.is_empty() || key.event_type().is_none_or(|event_type| types.iter().any(|glob| glob.matches(&event_type)))
    }
}

async fn environment(config: &SdkConfig) -> Result<sluicegate_archive::AwsEnvironment, CommandError> {
    sqs::environment(config).await.map_err(|error| error.to_string().into())
}
