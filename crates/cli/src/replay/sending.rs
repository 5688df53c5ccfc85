//! The run of a replay: reads the objects hour by hour, and sends the events that match, each once.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use sluicegate_archive::{Archive, ObjectKey};
use sluicegate_dlq::{CancellationToken, Rate, RateLimiter};
use sluicegate_envelope::Envelope;
use sluicegate_queue::{Message, SendError};
use tokio::time::Instant;

use super::{Selection, journal::Journal, target::Target};
use crate::{CommandError, progress::Progress};

/// Events that are sent together.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const BATCH_ENTRIES_MAX: usize = 10;

/// Longest send of a batch, all attempts with their pauses.
const SEND_TIME_MAX: Duration = Duration::from_secs(30);

/// What a run did.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The events of the objects.
    pub(super) read: u64,
    /// Those that match, each once.
    pub(super) matched: u64,
    /// Those that were sent, or would be.
    pub(super) sent: u64,
    /// Those of the matching ones that an earlier run sent.
    pub(super) earlier: u64,
    /// Second occurrences of an event that matches.
    pub(super) repeats: u64,
    /// Those that the queue cannot have.
    pub(super) refused: u64,
    /// What was sent, by type.
    pub(super) by_type: BTreeMap<String, u64>,
    /// Whether Ctrl-C ended the run.
    pub(super) interrupted: bool,
    /// Why the run ended before all was sent.
    pub(super) failure: Option<String>,
}

/// What is done with the events.
pub(super) trait Sink {
    /// Returns whether an earlier run has sent the event.
    fn has(&self, event: &Envelope) -> bool;

    /// Sends the event, or keeps it for the next batch.
    async fn send(&mut self, event: Envelope, report: &mut Report) -> Result<(), String>;

    /// Sends what was kept.
    async fn flush(&mut self, report: &mut Report) -> Result<(), String>;
}

/// Counts the events that would be sent.
pub(super) struct DryRun;

impl Sink for DryRun {
    fn has(&self, _: &Envelope) -> bool {
        false
    }

    async fn send(&mut self, event: Envelope, report: &mut Report) -> Result<(), String> {
        report.count(&event);
        Ok(())
    }

    async fn flush(&mut self, _: &mut Report) -> Result<(), String> {
        Ok(())
    }
}

/// Sends the events to a queue.
pub(super) struct Sender {
    target: Target,
    replay_id: String,
    limiter: RateLimiter,
    /// The size of a batch: at a low rate, events are sent one by one.
    entries_max: usize,
    journal: Journal,
    kept: Vec<Envelope>,
}

impl Sender {
    pub(super) fn new(target: Target, selection: &Selection, rate: Option<Rate>, journal: Journal) -> Self {
        let whole_batches = rate.is_none_or(|rate| rate.per_s() >= BATCH_ENTRIES_MAX as f64 * 10.0);
        Self {
            target,
            replay_id: selection.replay_id.clone(),
            limiter: RateLimiter::new(rate),
            entries_max: if whole_batches { BATCH_ENTRIES_MAX } else { 1 },
            journal,
            kept: Vec::new(),
        }
    }

    /// Returns whether the event must not be sent together with those that are kept: after a failure in its group, the
    /// later events of the group must not be on the queue.
    fn is_apart(&self, event: &Envelope) -> bool {
        let is_in_group = || event.group().is_some() && self.kept.iter().any(|kept| kept.group() == event.group());
        self.kept.len() >= self.entries_max || self.target.is_ordered() && is_in_group()
    }
}

impl Sink for Sender {
    fn has(&self, event: &Envelope) -> bool {
        self.journal.has(event)
    }

    async fn send(&mut self, event: Envelope, report: &mut Report) -> Result<(), String> {
        if self.is_apart(&event) {
            self.flush(report).await?;
        }
        self.limiter.turn().await;
        match replayed(event.clone(), &self.replay_id) {
            Ok(replayed) => self.kept.push(replayed),
            Err(error) => report.refuse(&event, &error),
        }
        Ok(())
    }

    async fn flush(&mut self, report: &mut Report) -> Result<(), String> {
        let events = std::mem::take(&mut self.kept);
        let messages: Vec<_> = events.iter().map(Message::new).collect();
        let results = self.target.send_all(&messages, Instant::now() + SEND_TIME_MAX).await;
        let mut failure = Ok(());
        let mut stored = Vec::new();
        for (event, result) in events.iter().zip(results) {
            match result {
                Ok(_) => {
                    report.count(event);
                    stored.push(event);
                }
                Err(error @ (SendError::TooLarge { .. } | SendError::Refused { message_at_fault: true, .. })) => {
                    report.refuse(event, &error);
                }
                Err(error) if failure.is_ok() => failure = Err(format!("{}: {error}", event.id())),
                Err(_) => {}
            }
        }
        self.journal.record(stored.into_iter()).map_err(|error| format!("the journal cannot be written: {error}"))?;
        failure
    }
}

impl Report {
    fn count(&mut self, event: &Envelope) {
        self.sent += 1;
        match self.by_type.get_mut(event.event_type()) {
            Some(count) => *count += 1,
            None => drop(self.by_type.insert(event.event_type().to_owned(), 1)),
        }
    }

    fn refuse(&mut self, event: &Envelope, reason: &dyn std::fmt::Display) {
        self.refused += 1;
        eprintln!("not sent: {}: {reason}", event.id());
    }
}

/// Returns an event as it is sent again. Its sender must not see another status because of it.
///
/// # Errors
/// The event has an attribute more than fit, or longer ones than an envelope that is made here.
fn replayed(event: Envelope, replay_id: &str) -> Result<Envelope, String> {
    let id = event.id().to_owned();
    let marked = event.into_builder(id).has_status(false).and_then(|builder| builder.replay_id(Some(replay_id)));
    marked.map_err(|error| error.to_string())?.build().map_err(|error| error.to_string())
}

/// Sends the events of these objects that match.
///
/// # Errors
/// The archive cannot be read. A failed send is in the report.
pub(super) async fn run(
    archive: &Archive,
    keys: &[ObjectKey],
    selection: &Selection,
    sink: &mut impl Sink,
    stop: &CancellationToken,
) -> Result<Report, CommandError> {
    let mut report = Report::default();
    let mut seen = HashSet::new();
    let progress = Progress::new(keys.len() as u64);
    let sent = 'run: {
        for hour in keys.chunk_by(|a, b| a.hour() == b.hour()) {
            for event in archive.events(hour).await? {
                if stop.is_cancelled() {
                    report.interrupted = true;
                    break 'run Ok(());
                }
                report.read += 1;
                if !selection.filter.matches_event(&event) {
                    continue;
                }
                if !seen.insert((event.id().to_owned(), event.source().to_owned())) {
                    report.repeats += 1;
                    continue;
                }
                report.matched += 1;
                if sink.has(&event) {
                    report.earlier += 1;
                } else if let Err(reason) = sink.send(event, &mut report).await {
                    break 'run Err(reason);
                }
            }
            hour.iter().for_each(|_| progress.advance());
        }
        Ok(())
    };
    let sent = match sent {
        Ok(()) => sink.flush(&mut report).await,
        failed => failed,
    };
    progress.finish();
    report.failure = sent.err();
    Ok(report)
}
