//! Runs over a whole dead-letter queue: [`scan`], [`redrive`] and [`purge`], the same for every [`Shelf`].
//!
//! Every message that is reached is held until the run has ended, so that each is looked at once and what is left alone does not come
//! again; the caller releases. A handful of messages is in memory at a time. Messages of a group are redriven one after another on
//! a shelf that keeps order, and once one of them could not be, the later ones stay behind it. A message that fails again during the run
//! and comes back is left for the next.

mod lanes;
mod returns;
#[cfg(test)]
mod tests;

use std::{cell::RefCell, collections::HashSet, ops::ControlFlow};

use futures_util::future::join_all;

use self::{lanes::lanes, returns::Returns};
use crate::{
    Error, Filter, Parked, Shelf, Stop,
    pace::{Pace, Rate},
};

/// Messages that are in memory, and under way, at once. SQS gives no more in one receive.
const AT_ONCE: usize = 10;

/// Failures in a row after which it is not the messages that are at fault.
const FAILURES_MAX: u32 = 10;

/// What a redrive is to do.
#[derive(Clone, Debug)]
pub struct Redrive<'a> {
    /// Which messages.
    pub filter: &'a Filter,
    /// Where to; where each came from if none.
    pub to: Option<&'a str>,
    /// How many in a second at most.
    pub rate: Option<Rate>,
    /// How many at most.
    pub limit: Option<u64>,
    /// Only tell.
    pub dry_run: bool,
}

/// What happens to a message, told while it happens.
#[derive(Debug)]
pub enum Step<'a> {
    /// One more was looked at.
    Seen,
    /// It would go there.
    Planned {
        /// The message.
        parked: &'a Parked,
        /// Where it would go.
        destination: &'a str,
    },
    /// It was redriven, or deleted.
    Done(&'a Parked),
    /// It was not.
    Failed(&'a Error),
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Report {
    /// Messages that were reached.
    pub seen: u64,
    /// Those that the filter means.
    pub matched: u64,
    /// Those that were redriven or deleted; in a dry run, would be.
    pub done: u64,
    /// Those that could not be, and are where they were.
    pub stayed: u64,
    /// Those that are where they were, and perhaps at their destination too.
    pub unclear: u64,
    /// Those that came back during the run.
    pub returned: u64,
    /// Those that were left because an earlier message of their group was.
    pub behind: u64,
    /// Message groups that give nothing more while something of theirs is held.
    pub groups_held: u64,
    /// About how many were not reached, if that can be told.
    pub unreached: Option<u64>,
    /// Whether the end was asked for.
    pub interrupted: bool,
    /// Why it ended early, if something broke.
    pub broke: Option<Error>,
}

impl Report {
    /// Whether everything that was meant and reached is where it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.stayed == 0 && self.unclear == 0 && self.behind == 0 && self.broke.is_none() && !self.interrupted
    }
}

/// Shows every message that can be reached to `each`, until that breaks.
pub async fn scan<S: Shelf>(shelf: &S, stop: &Stop, mut each: impl FnMut(Parked) -> ControlFlow<()>) -> Report {
    let run = Run::new(shelf, stop);
    while let Some(batch) = run.take().await {
        for parked in batch {
            run.hold(&parked);
            if each(parked).is_break() {
                return run.report.into_inner();
            }
        }
    }
    run.end().await
}

/// Sends messages back to where they came from, or elsewhere.
pub async fn redrive<S: Shelf>(shelf: &S, order: &Redrive<'_>, stop: &Stop, tell: &dyn Fn(Step<'_>)) -> Report {
    let run = Run::new(shelf, stop);
    let pace = Pace::new(order.rate.filter(|_| !order.dry_run));
    let returns = RefCell::new(Returns::default());
    let blocked = RefCell::new(HashSet::new());
    let begun = RefCell::new(0);
    let is_enough = || order.limit.is_some_and(|limit| *begun.borrow() >= limit);
    let one = async |parked: &Parked| {
        tell(Step::Seen);
        if !order.filter.matches(parked) {
            return run.hold(parked);
        }
        run.count(|report| report.matched += 1);
        if returns.borrow().is_return(parked) {
            run.count(|report| report.returned += 1);
            return run.hold(parked);
        }
        let group = parked.group.as_ref().filter(|_| shelf.keeps_order());
        if group.is_some_and(|group| blocked.borrow().contains(group)) {
            run.count(|report| report.behind += 1);
            return run.hold(parked);
        }
        if is_enough() || run.is_over() {
            return run.hold(parked);
        }
        *begun.borrow_mut() += 1;
        let result = if order.dry_run {
            run.hold(parked);
            let planned = shelf.destination(parked, order.to).await;
            planned.map(|destination| tell(Step::Planned { parked, destination: &destination }))
        } else {
            tokio::select! {
                () = pace.turn() => {}
                () = stop.requested() => return run.hold(parked),
            }
            // Before it is sent: it may be back before the answer is.
            returns.borrow_mut().sent(parked);
            let result = shelf.redrive(parked, order.to, None).await;
            if result.is_ok() {
                tell(Step::Done(parked));
            } else {
                run.hold(parked);
            }
            result
        };
        if result.is_err()
            && let Some(group) = group
        {
            blocked.borrow_mut().insert(group.clone());
        }
        run.settle(result, tell);
    };
    while !is_enough()
        && let Some(batch) = run.take().await
    {
        let lanes = lanes(batch, shelf.keeps_order());
        join_all(lanes.iter().map(async |lane| {
            for parked in lane {
                one(parked).await;
            }
        }))
        .await;
    }
    let is_whole = !is_enough();
    let mut report = run.end().await;
    report.unreached = report.unreached.filter(|_| is_whole);
    report
}

/// Deletes `found`, which are held, and then everything else that the filter means.
pub async fn purge<S: Shelf>(
    shelf: &S,
    filter: &Filter,
    found: Vec<Parked>,
    stop: &Stop,
    tell: &dyn Fn(Step<'_>),
) -> Report {
    let run = Run::new(shelf, stop);
    let one = async |parked: &Parked| {
        run.count(|report| report.matched += 1);
        if run.is_over() {
            return run.hold(parked);
        }
        let result = shelf.delete(parked).await;
        if result.is_ok() {
            tell(Step::Done(parked));
        } else {
            run.hold(parked);
        }
        run.settle(result, tell);
    };
    run.count(|report| report.seen = found.len() as u64);
    for chunk in found.chunks(AT_ONCE) {
        join_all(chunk.iter().map(one)).await;
    }
    while let Some(batch) = run.take().await {
        join_all(batch.iter().map(async |parked| {
            tell(Step::Seen);
            if filter.matches(parked) {
                one(parked).await;
            } else {
                run.hold(parked);
            }
        }))
        .await;
    }
    run.end().await
}

/// What a run has come to.
struct Run<'a, S> {
    shelf: &'a S,
    stop: &'a Stop,
    report: RefCell<Report>,
    held: RefCell<u64>,
    groups: RefCell<HashSet<String>>,
    failures: RefCell<u32>,
}

impl<'a, S: Shelf> Run<'a, S> {
    fn new(shelf: &'a S, stop: &'a Stop) -> Self {
        Self {
            shelf,
            stop,
            report: RefCell::default(),
            held: RefCell::default(),
            groups: RefCell::default(),
            failures: RefCell::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.stop.is_requested() || self.report.borrow().broke.is_some()
    }

    fn count(&self, count: impl FnOnce(&mut Report)) {
        count(&mut self.report.borrow_mut());
    }

    /// The next messages, unless it is over or there are none.
    async fn take(&self) -> Option<Vec<Parked>> {
        if self.is_over() {
            return None;
        }
        // Not cut short when the end is asked for: what a cut receive took would stay hidden for nothing.
        match self.shelf.take(AT_ONCE).await {
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

    /// The message stays taken until the end.
    fn hold(&self, parked: &Parked) {
        *self.held.borrow_mut() += 1;
        if let Some(group) = parked.group.as_ref().filter(|_| self.shelf.keeps_order()) {
            self.groups.borrow_mut().insert(group.clone());
        }
    }

    fn settle(&self, result: Result<(), Error>, tell: &dyn Fn(Step<'_>)) {
        let Err(error) = result else {
            *self.failures.borrow_mut() = 0;
            return self.count(|report| report.done += 1);
        };
        tell(Step::Failed(&error));
        *self.failures.borrow_mut() += 1;
        let is_hopeless = *self.failures.borrow() >= FAILURES_MAX;
        self.count(|report| {
            match &error {
                Error::Stays { .. } | Error::Broker(_) => report.stayed += 1,
                Error::Unclear { .. } => report.unclear += 1,
            }
            if let Error::Broker(_) = error {
                report.broke.get_or_insert(error);
            } else if is_hopeless {
                let reason = format!("{FAILURES_MAX} failures in a row, the last: {error}");
                report.broke.get_or_insert(Error::Broker(reason));
            }
        });
    }

    async fn end(self) -> Report {
        let mut report = self.report.into_inner();
        report.interrupted = self.stop.is_requested();
        report.groups_held = self.groups.borrow().len() as u64;
        if report.broke.is_none() && !report.interrupted {
            match self.shelf.depth().await {
                Ok(depth) => report.unreached = Some(depth.saturating_sub(*self.held.borrow())),
                Err(error) => report.broke = Some(error),
            }
        }
        report
    }
}
