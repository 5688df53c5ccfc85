//! Runs over a whole dead-letter queue: [`scan`], [`redrive`] and [`purge`], for every [`DeadLetterQueue`].
//!
//! Every message that is taken stays in flight until the run has ended, so each is seen once; the caller releases them.
//! At most [`AT_ONCE`] messages are in memory. On a queue that keeps order, the messages of a group are redriven one
//! after another, and a failure holds back the later ones. A message that fails again and returns during the run is
//! left for the next run.

mod seen_again;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, collections::HashSet, ops::ControlFlow};

use futures_util::future::join_all;
use sluicegate_queue::ordering_groups;

use self::seen_again::SeenAgain;
use crate::{
    CancellationToken, DeadLetter, DeadLetterQueue, Error, Filter,
    rate_limiter::{Rate, RateLimiter},
};

/// Messages that are in memory and in progress at once, which is the maximum of one SQS receive.
const AT_ONCE: usize = 10;

/// Consecutive failures after which a run ends, because the cause is then not a single message.
const FAILURES_MAX: u32 = 10;

/// The order for a redrive.
#[derive(Clone, Debug)]
pub struct Redrive<'a> {
    /// Selects the messages.
    pub filter: &'a Filter,
    /// The destination; the source queue of each message if `None`.
    pub to: Option<&'a str>,
    /// The largest number of messages per second.
    pub rate: Option<Rate>,
    /// The largest number of messages.
    pub limit: Option<u64>,
    /// Report the destinations without sending.
    pub dry_run: bool,
}

/// The progress of a run.
#[derive(Debug)]
pub enum RunStep<'a> {
    /// A message was taken.
    Seen,
    /// A message would be sent to `destination`.
    Planned {
        /// The message.
        letter: &'a DeadLetter,
        /// The queue it would be sent to.
        destination: &'a str,
    },
    /// A message was redriven or deleted.
    Done(&'a DeadLetter),
    /// A message was not redriven or deleted.
    Failed(&'a Error),
}

/// The result of a run.
#[derive(Debug, Default)]
pub struct RunReport {
    /// Messages taken.
    pub seen: u64,
    /// Messages that the filter matches.
    pub matched: u64,
    /// Messages redriven or deleted, or in a dry run those that would be.
    pub done: u64,
    /// Messages that were not sent and are unchanged.
    pub not_sent: u64,
    /// Messages that are unchanged and may be stored at their destination too.
    pub unknown: u64,
    /// Messages that came back during the run.
    pub returned: u64,
    /// Messages that were not sent because an earlier message of their group failed.
    pub behind: u64,
    /// Message groups that are blocked by a message in flight.
    pub groups_held: u64,
    /// About how many messages were not reached, if known.
    pub unreached: Option<u64>,
    /// Whether the run was cancelled.
    pub interrupted: bool,
    /// The error that ended the run early, if it failed.
    pub broke: Option<Error>,
}

impl RunReport {
    /// Returns whether every matching message that was reached was redriven or deleted.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.not_sent == 0 && self.unknown == 0 && self.behind == 0 && self.broke.is_none() && !self.interrupted
    }
}

/// Passes every message that can be reached to `each`, until `each` returns `Break`.
pub async fn scan<S: DeadLetterQueue>(
    queue: &S,
    stop: &CancellationToken,
    mut each: impl FnMut(DeadLetter) -> ControlFlow<()>,
) -> RunReport {
    let run = Run::new(queue, stop);
    while let Some(batch) = run.take().await {
        for letter in batch {
            run.hold(&letter);
            if each(letter).is_break() {
                return run.report.into_inner();
            }
        }
    }
    run.end().await
}

/// Takes messages until the one with this id, its own or the broker's, which stays in flight.
///
/// # Errors
/// The report of a run that did not reach it.
pub async fn find<S: DeadLetterQueue>(queue: &S, id: &str, stop: &CancellationToken) -> Result<DeadLetter, RunReport> {
    let filter = Filter { ids: vec![id.to_owned()], ..Filter::default() };
    let mut found = None;
    let report = scan(queue, stop, |letter| {
        if !filter.matches(&letter) {
            return ControlFlow::Continue(());
        }
        found = Some(letter);
        ControlFlow::Break(())
    })
    .await;
    found.ok_or(report)
}

/// Sends messages to their source queues, or to another queue.
pub async fn redrive<S: DeadLetterQueue>(
    queue: &S,
    order: &Redrive<'_>,
    stop: &CancellationToken,
    observe: &dyn Fn(RunStep<'_>),
) -> RunReport {
    let run = Run::new(queue, stop);
    let limiter = RateLimiter::new(order.rate.filter(|_| !order.dry_run));
    let seen_again = RefCell::new(SeenAgain::default());
    let blocked = RefCell::new(HashSet::new());
    let begun = RefCell::new(0);
    let is_enough = || order.limit.is_some_and(|limit| *begun.borrow() >= limit);
    let one = async |letter: &DeadLetter| {
        observe(RunStep::Seen);
        if !order.filter.matches(letter) {
            return run.hold(letter);
        }
        run.count(|report| report.matched += 1);
        if seen_again.borrow().is_return(letter) {
            run.count(|report| report.returned += 1);
            return run.hold(letter);
        }
        let group = letter.group.as_ref().filter(|_| queue.keeps_order());
        if group.is_some_and(|group| blocked.borrow().contains(group)) {
            run.count(|report| report.behind += 1);
            return run.hold(letter);
        }
        if is_enough() || run.is_over() {
            return run.hold(letter);
        }
        *begun.borrow_mut() += 1;
        let result = if order.dry_run {
            run.hold(letter);
            let planned = queue.destination(letter, order.to).await;
            planned.map(|destination| observe(RunStep::Planned { letter, destination: &destination }))
        } else {
            tokio::select! {
                () = limiter.turn() => {}
                () = stop.cancelled() => return run.hold(letter),
            }
            // Recorded before sending, because the message may return before the broker has answered.
            seen_again.borrow_mut().sent(letter);
            let result = queue.redrive(letter, order.to, None).await;
            if result.is_ok() {
                observe(RunStep::Done(letter));
            } else {
                run.hold(letter);
            }
            result
        };
        if result.is_err()
            && let Some(group) = group
        {
            blocked.borrow_mut().insert(group.clone());
        }
        run.settle(result, observe);
    };
    while !is_enough()
        && let Some(batch) = run.take().await
    {
        let group = |letter: &DeadLetter| letter.group.clone().filter(|_| queue.keeps_order());
        join_all(ordering_groups(batch, group).iter().map(async |group| {
            for letter in group {
                one(letter).await;
            }
        }))
        .await;
    }
    let is_whole = !is_enough();
    let mut report = run.end().await;
    report.unreached = report.unreached.filter(|_| is_whole);
    report
}

/// Deletes `found`, which are in flight, and then every other message that the filter matches.
pub async fn purge<S: DeadLetterQueue>(
    queue: &S,
    filter: &Filter,
    found: Vec<DeadLetter>,
    stop: &CancellationToken,
    observe: &dyn Fn(RunStep<'_>),
) -> RunReport {
    let run = Run::new(queue, stop);
    let one = async |letter: &DeadLetter| {
        run.count(|report| report.matched += 1);
        if run.is_over() {
            return run.hold(letter);
        }
        let result = queue.delete(letter).await;
        if result.is_ok() {
            observe(RunStep::Done(letter));
        } else {
            run.hold(letter);
        }
        run.settle(result, observe);
    };
    run.count(|report| report.seen = found.len() as u64);
    for chunk in found.chunks(AT_ONCE) {
        join_all(chunk.iter().map(one)).await;
    }
    while let Some(batch) = run.take().await {
        join_all(batch.iter().map(async |letter| {
            observe(RunStep::Seen);
            if filter.matches(letter) {
                one(letter).await;
            } else {
                run.hold(letter);
            }
        }))
        .await;
    }
    run.end().await
}

/// The state of a run.
struct Run<'a, S> {
    queue: &'a S,
    stop: &'a CancellationToken,
    report: RefCell<RunReport>,
    held: RefCell<u64>,
    groups: RefCell<HashSet<String>>,
    failures: RefCell<u32>,
}

impl<'a, S: DeadLetterQueue> Run<'a, S> {
    fn new(queue: &'a S, stop: &'a CancellationToken) -> Self {
        Self {
            queue,
            stop,
            report: RefCell::default(),
            held: RefCell::default(),
            groups: RefCell::default(),
            failures: RefCell::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_cancelled() || self.report.borrow().broke.is_some()
    }

    fn count(&self, count: impl FnOnce(&mut RunReport)) {
        count(&mut self.report.borrow_mut());
    }

    /// Takes the next messages, unless the run is over or there are none.
    async fn take(&self) -> Option<Vec<DeadLetter>> {
        if self.is_over() {
            return None;
        }
        // Not cancelled with the run: messages of a cancelled receive would stay hidden.
        match self.queue.take(AT_ONCE).await {
            Ok(batch) if batch.is_empty() => None,
            Ok(batch) => {
                self.count(|report| report.seen += batch.len() as u64);
                Some(batch)
            }
            Err(error) => {
                self.count(|report| report.broke = Some(error));
                None
            }
        }
    }

    /// Keeps the message in flight until the end of the run.
    fn hold(&self, letter: &DeadLetter) {
        *self.held.borrow_mut() += 1;
        if let Some(group) = letter.group.as_ref().filter(|_| self.queue.keeps_order()) {
            self.groups.borrow_mut().insert(group.clone());
        }
    }

    fn settle(&self, result: Result<(), Error>, observe: &dyn Fn(RunStep<'_>)) {
        let Err(error) = result else {
            *self.failures.borrow_mut() = 0;
            return self.count(|report| report.done += 1);
        };
        observe(RunStep::Failed(&error));
        *self.failures.borrow_mut() += 1;
        let is_hopeless = *self.failures.borrow() >= FAILURES_MAX;
        self.count(|report| {
            match &error {
                Error::NotSent { .. } | Error::Broker(_) => report.not_sent += 1,
                Error::Unknown { .. } => report.unknown += 1,
            }
            if let Error::Broker(_) = error {
                report.broke.get_or_insert(error);
            } else if is_hopeless {
                let reason = format!("{FAILURES_MAX} failures in a row, the last: {error}");
                report.broke.get_or_insert(Error::Broker(reason));
            }
        });
    }

    async fn end(self) -> RunReport {
        let mut report = self.report.into_inner();
        report.interrupted = self.stop.is_cancelled();
        report.groups_held = self.groups.borrow().len() as u64;
        if report.broke.is_none() && !report.interrupted {
            match self.queue.depth().await {
                Ok(depth) => report.unreached = Some(depth.saturating_sub(*self.held.borrow())),
                Err(error) => report.broke = Some(error),
            }
        }
        report
    }
}
