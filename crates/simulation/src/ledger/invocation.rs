//! What an invocation of the consumer decided, logged, counted and answered, and the checks of how it settled its
//! messages.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;

use super::{Ledger, index};
use crate::log::SETTLED_BEFORE;
use crate::metrics::Metrics;
use crate::property::Property;
use crate::scenario::Scenario;

/// Receives of a healthy message on a standard queue that may end without its handler being called.
const UNTOUCHED_MAX: u32 = 3;

/// How often a healthy message of an ordered queue of RabbitMQ may come back beyond the receives of the messages before
/// it, as after a deploy, which ends the environment that knows those receives.
const ORDERED_RESERVE: u32 = 10;

/// The outcomes in the log of messages that are returned. The metrics call the others as the log does.
const RETURNS: [&str; 3] = ["retry", "reject_failed", "returned"];

/// The outcomes in the log of messages that are dead-lettered.
const DEAD_LETTERS: [&str; 2] = ["rejected", "undecodable"];

/// One invocation of the consumer.
#[derive(Default)]
pub(super) struct Invocation {
    number: u64,
    started_at: Duration,
    /// The messages with their ids.
    batch: Vec<(u32, String)>,
    /// How often each message was copied, and was in the dead-letter queue, before.
    before: BTreeMap<u32, (u32, u32)>,
    decisions: Vec<(u32, Decision)>,
    /// Until when messages are to wait.
    wait_until: BTreeMap<u32, Duration>,
    /// The outcomes in the log, by id.
    logged: Vec<(String, String)>,
    metrics: Metrics,
    is_touched: bool,
}

/// What a handler decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Done,
    Failed,
    Waits(Duration),
    Rejected,
    /// It panicked, or was cancelled.
    Ended,
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Answered(Bytes),
    /// It answered with this error, so the whole batch comes back.
    Failed(String),
    TimedOut,
    /// Its process ended.
    Killed,
}

/// The answer of the consumer.
#[derive(Deserialize)]
struct BatchResponse {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<Failure>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

/// The deliveries of one message in an invocation, and what became of them.
struct Share<'i> {
    message: u32,
    deliveries: usize,
    /// How many were returned: by the answer, or as a copy on RabbitMQ.
    returned: usize,
    done: usize,
    dead_lettered: usize,
    wait_until: Option<Duration>,
    /// The outcomes in the log, [`SETTLED_BEFORE`] of those that an earlier delivery had.
    logged: Vec<&'i str>,
}

impl Share<'_> {
    fn logged(&self, outcomes: &[&str]) -> usize {
        self.logged.iter().filter(|outcome| outcomes.contains(outcome)).count()
    }
}

impl Invocation {
    pub(super) fn decided(&mut self, now: Duration, message: u32, decision: Decision) {
        self.decisions.push((message, decision));
        if let Decision::Waits(delay) = decision {
            self.wait_until.insert(message, now + delay);
        }
    }
}

impl Ledger {
    /// The consumer is invoked with these messages and their ids; returns the number of the invocation.
    pub(crate) fn invoked(&mut self, now: Duration, batch: Vec<(u32, String)>) -> u64 {
        let before = batch.iter().map(|(message, _)| {
            let entry = self.entry(*message);
            (*message, (entry.copied, entry.dead_lettered))
        });
        let before = before.collect();
        let number = self.invocations.len() as u64;
        self.invocations.push(Invocation { number, started_at: now, batch, before, ..Invocation::default() });
        number
    }

    /// A fault has hit an invocation.
    pub(crate) fn touch_invocation(&mut self, invocation: u64) {
        let Some(invocation) = self.invocations.get_mut(index(invocation)) else { return };
        invocation.is_touched = true;
        let batch: Vec<u32> = invocation.batch.iter().map(|(message, _)| *message).collect();
        self.touch_all(&batch);
        batch.iter().for_each(|message| self.entry(*message).may_be_behind = true);
    }

    /// The consumer has logged the outcome of a delivery, [`SETTLED_BEFORE`] if an earlier delivery had it.
    pub(crate) fn logged(&mut self, invocation: u64, broker_id: &str, outcome: &str) {
        if let Some(invocation) = self.invocations.get_mut(index(invocation)) {
            invocation.logged.push((broker_id.to_owned(), outcome.to_owned()));
        }
    }

    /// The consumer has written these lines of metrics.
    pub(crate) fn counted(&mut self, now: Duration, number: u64, lines: &[u8]) {
        let Some(invocation) = self.invocations.get_mut(index(number)) else { return };
        if let Err(error) = invocation.metrics.add(lines) {
            self.violated(now, Property::MetricsAddUp, &format!("invocation {number}: {error}"));
        }
    }

    /// An invocation has ended.
    pub(crate) fn ended(&mut self, now: Duration, scenario: &Scenario, number: u64, ended: &Ended) {
        let Some(invocation) = self.invocations.get_mut(index(number)) else { return };
        // What it was for is known now; its memory is freed.
        let mut invocation = std::mem::take(invocation);
        invocation.is_touched |= invocation.started_at < self.disturbed_until;
        if invocation.is_touched {
            let batch: Vec<u32> = invocation.batch.iter().map(|(message, _)| *message).collect();
            self.touch_all(&batch);
        }
        let mut failures = Vec::new();
        match ended {
            Ended::Answered(answer) => match serde_json::from_slice::<BatchResponse>(answer) {
                Ok(response) => failures = response.failures,
                Err(_) => {
                    let answer = String::from_utf8_lossy(answer);
                    return self.violated(now, Property::EachDeliveryIsSettledOnce, &format!("answered {answer}"));
                }
            },
            Ended::Failed(_) => {}
            Ended::TimedOut => {
                return self.violated(now, Property::InvocationsEndInTime, &format!("invocation {number}"));
            }
            Ended::Killed => return,
        }
        let returned: Vec<&str> = failures.iter().map(|failure| failure.id.as_str()).collect();
        if let Some(id) = returned.iter().find(|id| !invocation.batch.iter().any(|(_, other)| other == *id)) {
            let details = format!("invocation {number} returned {id}, which it did not get");
            self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
        }
        let shares = self.shares(scenario, &invocation, &returned);
        match ended {
            Ended::Failed(reason) => {
                let may_fail = invocation.is_touched || scenario.fifo;
                let is_left = shares.iter().any(|share| share.logged(&RETURNS) > 0);
                if !(scenario.rabbitmq && is_left && may_fail) {
                    let details = format!("invocation {number} failed: {reason}");
                    self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
                }
            }
            _ => shares.iter().for_each(|share| self.check_settlement(now, scenario, number, share)),
        }
        let is_whole = matches!(ended, Ended::Answered(_));
        self.check_log(now, scenario, &invocation, &shares, is_whole);
        self.check_metrics(now, &invocation);
        self.remember(now, scenario, &shares, is_whole);
    }

    /// Returns what became of each message of an invocation whose answer returns these ids.
    fn shares<'i>(&mut self, scenario: &Scenario, invocation: &'i Invocation, returned: &[&str]) -> Vec<Share<'i>> {
        let share = |(message, (copied, dead_lettered)): (&u32, &(u32, u32))| {
            let entry = self.entry(*message);
            let is_id = |id: &str| invocation.batch.iter().any(|(other, own)| other == message && own == id);
            let in_answer = returned.iter().filter(|id| is_id(id)).count();
            let copies = (entry.copied - copied) as usize;
            Share {
                message: *message,
                deliveries: invocation.batch.iter().filter(|(other, _)| other == message).count(),
                returned: if scenario.rabbitmq { copies } else { in_answer },
                done: invocation.decisions.iter().filter(|decided| **decided == (*message, Decision::Done)).count(),
                dead_lettered: (entry.dead_lettered - dead_lettered) as usize,
                wait_until: invocation.wait_until.get(message).copied(),
                logged: invocation
                    .logged
                    .iter()
                    .filter(|(id, _)| is_id(id))
                    .map(|(_, outcome)| outcome.as_str())
                    .collect(),
            }
        };
        invocation.before.iter().map(share).collect()
    }

    /// Checks the deliveries of a message in an invocation that ended well.
    fn check_settlement(&mut self, now: Duration, scenario: &Scenario, number: u64, share: &Share<'_>) {
        let entry = self.entry(share.message);
        let &Share { message, deliveries, returned, done, dead_lettered, .. } = share;
        let before = match (entry.is_handled(), entry.dead_lettered > 0) {
            (true, _) => share.logged(&["duplicate", SETTLED_BEFORE]),
            // An ordered queue of RabbitMQ gives a batch back with messages that were dead-lettered.
            (false, true) => share.logged(&[SETTLED_BEFORE]),
            (false, false) => 0,
        };
        // An earlier invocation may have stored a copy meanwhile, after a fault. On SQS, another one at the same time
        // may have dead-lettered the message.
        let may_be_copied = scenario.rabbitmq && entry.is_touched;
        let at_most = returned + done + if scenario.rabbitmq { dead_lettered } else { 0 };
        if returned + done + dead_lettered + before < deliveries {
            let details = format!("invocation {number}: message {message} was neither handled nor returned");
            self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
        } else if at_most > deliveries && !may_be_copied {
            let details = format!("invocation {number}: message {message} was settled more often than delivered");
            self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
        }
    }

    /// Checks the outcomes in the log: one for each delivery, beside those of retries within the invocation, which an
    /// ordered queue of RabbitMQ has. `is_whole` if the invocation ended well.
    fn check_log(
        &mut self,
        now: Duration,
        scenario: &Scenario,
        invocation: &Invocation,
        shares: &[Share<'_>],
        is_whole: bool,
    ) {
        let number = invocation.number;
        let is_in_place = scenario.rabbitmq && scenario.fifo;
        for share in shares {
            let (returns, dead) = (share.logged(&RETURNS), share.logged(&DEAD_LETTERS));
            self.dead_letters.1 += dead as u64;
            let lines = share.logged.len();
            let is_complete = match (is_in_place, is_whole) {
                (false, _) => lines == share.deliveries,
                (true, true) => lines - returns == share.deliveries,
                (true, false) => lines >= share.deliveries,
            };
            let is_touched = self.entry(share.message).is_touched;
            let is_returned = match (scenario.rabbitmq, is_whole) {
                (_, _) if is_in_place => share.returned == 0,
                (_, false) => true,
                (false, true) => returns == share.returned,
                // What a fault hit may be stored twice.
                (true, true) if is_touched => returns <= share.returned,
                (true, true) => returns == share.returned && dead == share.dead_lettered,
            };
            let is_done = share.logged(&["done"]) == share.done && dead <= share.dead_lettered;
            if !(is_complete && is_returned && is_done) {
                let Share { message, deliveries, returned, done, dead_lettered, logged, .. } = share;
                let details = format!(
                    "invocation {number}: message {message} was delivered {deliveries} times, returned {returned}, \
                     handled {done}, dead-lettered {dead_lettered}, logged {logged:?}"
                );
                self.violated(now, Property::LogsAddUp, &details);
            }
        }
        let lines: usize = shares.iter().map(|share| share.logged.len()).sum();
        if lines != invocation.logged.len() {
            let details = format!("invocation {number}: logged {:?}", invocation.logged);
            self.violated(now, Property::LogsAddUp, &details);
        }
    }

    /// Checks the metrics of an invocation against its log.
    fn check_metrics(&mut self, now: Duration, invocation: &Invocation) {
        let Invocation { number, metrics, logged, decisions, .. } = invocation;
        let lines = |outcomes: &[&str]| {
            logged.iter().filter(|(_, outcome)| outcomes.contains(&outcome.as_str())).count() as u64
        };
        let counted = [
            ("received", logged.len() as u64),
            ("done", lines(&["done"])),
            ("duplicate", lines(&["duplicate", SETTLED_BEFORE])),
            ("retried", lines(&["retry", "reject_failed"])),
            ("rejected", lines(&["rejected"])),
            ("undecodable", lines(&["undecodable"])),
            ("returned", lines(&["returned"])),
        ];
        let (times, calls) = (metrics.get("handler_ms"), decisions.len() as u64);
        if times != calls || counted.iter().any(|(name, count)| metrics.get(name) != *count) {
            let details =
                format!("invocation {number}: {calls} handlers were called, counted {metrics:?}, logged {logged:?}");
            self.violated(now, Property::MetricsAddUp, &details);
        }
    }

    /// Remembers what later invocations are checked by, and checks how often healthy messages come back.
    fn remember(&mut self, now: Duration, scenario: &Scenario, shares: &[Share<'_>], is_whole: bool) {
        // A table says so itself: a call that fails leaves no record. Nor does a handler that has lost its lease.
        let is_certain = !scenario.has_table && scenario.skew_max.is_zero();
        let bound = match (scenario.rabbitmq, scenario.fifo) {
            (_, false) => UNTOUCHED_MAX,
            (false, true) => scenario.receive_count_max,
            (true, true) => scenario.receive_count_max * count_of(scenario.batch_size) + ORDERED_RESERVE,
        };
        for share in shares {
            let &Share { message, deliveries, returned, done, wait_until, .. } = share;
            let is_healthy =
                scenario.messages.get(message as usize).is_some_and(|m| m.is_healthy(scenario.accepts_raw().1));
            let entry = self.entry(message);
            entry.is_recorded |= done > 0 && returned == 0 && is_certain;
            entry.not_before = wait_until.filter(|_| is_whole && returned > 0);
            if !entry.is_touched {
                entry.returned += count_of(if is_whole { returned } else { deliveries });
            }
            let returns = entry.returned;
            if is_healthy && !entry.is_handled() && returns > bound {
                let details = format!("message {message} was returned {returns} times without being handled");
                self.violated(now, Property::HealthyMessagesAreHandled, &details);
            }
        }
    }
}

fn count_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
