//! [`World`]: what all parts of one simulation share.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use sqs_emulator::Sqs;
use tokio::time::Instant;

use crate::clock::Skew;
use crate::dice::Dice;
use crate::dynamodb::Table;
use crate::fault::{FaultId, Kind, Site};
use crate::ledger::Ledger;
use crate::message::number_in;
use crate::rabbitmq::Rabbitmq;
use crate::s3::Bucket;
use crate::scenario::Scenario;
use crate::simulation::chain;
use crate::trace::Trace;

/// The chance of a fault after a fault of the same call, in percent. Retries hide most faults that come alone.
const AGAIN_PERCENT: u32 = 50;

/// What a run leaves out of its seed's scenario.
#[derive(Clone, Debug, Default)]
pub(crate) struct Only {
    /// The messages that are sent; `None` for all.
    pub(crate) messages: Option<BTreeSet<u32>>,
    /// The faults that happen; `None` for all.
    pub(crate) faults: Option<BTreeSet<FaultId>>,
}

/// A simulation.
pub(crate) struct World {
    pub(crate) scenario: Scenario,
    pub(crate) dice: Dice,
    pub(crate) sqs: Sqs,
    pub(crate) queue_url: String,
    pub(crate) queue_arn: String,
    /// The broker of a scenario with RabbitMQ.
    pub(crate) rabbitmq: Rabbitmq,
    only: Only,
    started: Instant,
    /// The idempotency stores of both functions.
    table: Mutex<Table>,
    /// The payloads that are larger than the queue accepts.
    bucket: Mutex<Bucket>,
    ledger: Mutex<Ledger>,
    trace: Mutex<Trace>,
    failure: Mutex<Option<String>>,
    /// Where and about what the last call had a fault.
    failed_last: Mutex<HashSet<(Site, u64)>>,
}

/// A fault that happens now.
pub(crate) struct Injected {
    pub(crate) kind: Kind,
    /// Of the details of the fault.
    pub(crate) rng: Rng,
}

impl World {
    pub(crate) fn new(scenario: Scenario, dice: Dice, only: Only, trace: Trace, queues: Queues) -> Self {
        let ledger = Ledger::new(scenario.messages.len());
        let Queues { sqs, url, arn, rabbitmq } = queues;
        Self {
            scenario,
            dice,
            sqs,
            queue_url: url,
            queue_arn: arn,
            rabbitmq,
            only,
            started: Instant::now(),
            table: Mutex::default(),
            bucket: Mutex::default(),
            ledger: Mutex::new(ledger),
            trace: Mutex::new(trace),
            failure: Mutex::default(),
            failed_last: Mutex::default(),
        }
    }

    /// Records that the simulation itself failed.
    pub(crate) fn failed(&self, error: &(dyn Error + 'static)) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| chain(error));
    }

    /// Returns why the simulation itself failed, if it did.
    pub(crate) fn take_failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns the virtual time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns how wrong the clock of an environment of a function is.
    pub(crate) fn skew(&self, function: &str, environment: u64) -> Skew {
        Skew::new(&mut self.dice.about(function, environment), self.scenario.skew_max)
    }

    pub(crate) fn is_sent(&self, message: u32) -> bool {
        self.only.messages.as_ref().is_none_or(|messages| messages.contains(&message))
    }

    /// Decides whether a fault happens.
    pub(crate) fn fault(&self, site: Site, subject: u64) -> Option<Injected> {
        let now = self.now();
        let percent = self.scenario.rate_percent(site, now);
        if percent == 0 {
            return None;
        }
        let (mut rng, nth) = self.dice.next(site.name(), subject);
        let mut failed = self.failed_last.lock().unwrap_or_else(PoisonError::into_inner);
        let percent = if failed.contains(&(site, subject)) { percent.max(AGAIN_PERCENT) } else { percent };
        if rng.u32(0..100) >= percent {
            failed.remove(&(site, subject));
            return None;
        }
        failed.insert((site, subject));
        drop(failed);
        let kind = rng.choice(site.kinds().iter().copied())?;
        let id = FaultId { site, subject, nth };
        if self.only.faults.as_ref().is_some_and(|faults| !faults.contains(&id)) {
            return None;
        }
        self.record(format_args!("fault {id} {kind:?}"));
        self.ledger().faults.push(id);
        Some(Injected { kind, rng })
    }

    /// Writes a step to the schedule.
    pub(crate) fn record(&self, step: fmt::Arguments<'_>) {
        self.trace().record(self.now(), step);
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the payload in S3 that a text names, otherwise the text.
    pub(crate) fn whole<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if !self.scenario.has_payloads {
            return text.into();
        }
        self.bucket().named_in(text).map_or(Cow::Borrowed(text), |object| object.to_owned().into())
    }

    /// Returns the number of the message that a text has, is about, or names the payload of.
    pub(crate) fn number_in(&self, text: &str) -> Option<u32> {
        number_in(&self.whole(text))
    }

    /// Returns the name of the queue of SQS.
    pub(crate) fn queue_name(&self) -> &str {
        self.queue_url.rsplit('/').next().unwrap_or_default()
    }

    /// Returns the URL of the queue of the copies.
    pub(crate) fn copies_url(&self) -> String {
        self.queue_url.replace("/work", "/copies")
    }

    /// Returns the ARN of the dead-letter queue.
    pub(crate) fn dead_letter_arn(&self) -> String {
        self.queue_arn.replace(":work", ":dead")
    }

    pub(crate) fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The services with the queue.
pub(crate) struct Queues {
    pub(crate) sqs: Sqs,
    pub(crate) url: String,
    pub(crate) arn: String,
    pub(crate) rabbitmq: Rabbitmq,
}
