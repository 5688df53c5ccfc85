//! The checks of dead letters: whether each has its reason.

use std::time::Duration;

use super::{Entry, Ledger};
use crate::deploy::Change;
use crate::message::{Behaviour, Sender};
use crate::property::Property;
use crate::scenario::Scenario;

impl Ledger {
    /// The queue itself has moved a message to the dead-letter queue.
    pub(crate) fn dead_lettered_by_the_queue(&mut self, now: Duration, scenario: &Scenario, message: u32) {
        let entry = self.entry(message);
        entry.dead += 1;
        entry.dead_lettered += 1;
        entry.may_be_behind = true;
        entry.queued = entry.queued.saturating_sub(1);
        if scenario.is_calm() || !entry.is_touched {
            let details = format!("message {message} without a fault, after {} receives", entry.receives);
            self.violated(now, Property::DeadLettersHaveTheirReason, &details);
        }
    }

    /// The consumer has stored a message in the dead-letter queue.
    pub(crate) fn dead_lettered(&mut self, now: Duration, scenario: &Scenario, message: u32, code: &str, reason: &str) {
        self.dead_letters.0 += 1;
        let entry = self.entry(message);
        entry.dead += 1;
        entry.dead_lettered += 1;
        let entry = &*entry;
        let Some(sent) = scenario.messages.get(message as usize) else { return };
        let (accepts_raw, always_accepts_raw) = scenario.accepts_raw();
        let (is_event, is_never_undecodable) = match sent.sender {
            Sender::Undecodable => (false, false),
            // To RabbitMQ, a text is an event of a type of its own.
            Sender::Raw if scenario.rabbitmq => (true, true),
            Sender::Raw => (accepts_raw, always_accepts_raw),
            Sender::Client | Sender::OtherType => (true, true),
        };
        let receives = reason
            .strip_prefix("receives exhausted after ")
            .and_then(|rest| rest.split_once(": "))
            .and_then(|(receives, _)| receives.parse::<u32>().ok());
        let is_last = |receives| is_last(scenario, entry, receives);
        let is_right = match code {
            "undecodable" => !is_never_undecodable,
            // Whatever it is, and whether it has a handler.
            "not_started" => !scenario.rabbitmq && receives.is_some_and(is_last),
            _ if !is_event => false,
            // Also while the store is away, when no handler was called.
            "retry_queue_missing" => entry.is_unroutable,
            // RabbitMQ has no last receive, after which it would dead-letter the message itself.
            "in_progress" => {
                scenario.has_store
                    && !scenario.rabbitmq
                    && receives.is_some_and(|receives| receives >= scenario.receive_count_max)
            }
            // Whether the message has a handler is asked later.
            "receives_exhausted" if reason.contains(STORE_FAILED) => {
                scenario.has_table && !scenario.rabbitmq && entry.is_touched && receives.is_some_and(is_last)
            }
            "receives_exhausted" if reason.contains(PAYLOAD_FAILED) => {
                sent.is_in_s3 && entry.is_touched && receives.is_some_and(is_last)
            }
            "no_handler" => sent.sender == Sender::OtherType || sent.sender == Sender::Raw && !always_accepts_raw,
            _ if sent.sender == Sender::OtherType && !scenario.changes(Change::HandlesOthers) => false,
            _ if sent.sender == Sender::Raw && !accepts_raw => false,
            NEW_VERSION => scenario.changes(Change::Rejects) && entry.calls > 0,
            REJECTION => sent.behaviour == Behaviour::Rejects && entry.calls > 0,
            "receives_exhausted" | "handler_panicked" | "handler_cancelled" => {
                entry.failures > 0 && receives.is_some_and(is_last)
            }
            _ => false,
        };
        if !is_right {
            let details = format!("message {message}, {:?}, {:?}: {code} {reason:?}", sent.sender, sent.behaviour);
            self.violated(now, Property::DeadLettersHaveTheirReason, &details);
        }
    }
}

/// Returns whether a failing message may be dead-lettered at this receive. On a FIFO queue only failures of its handler
/// count, unless the queue itself would soon give up: `source/sqs/fifo.rs` of the consumer has the rules.
///
/// RabbitMQ does not count: the consumer dead-letters at the first failure of the last receive or later. Receives that
/// do not end with a failure are those of a batch that came back as a whole, or in which no handler was called.
fn is_last(scenario: &Scenario, entry: &Entry, receives: u32) -> bool {
    let max = scenario.receive_count_max;
    match (scenario.rabbitmq, scenario.fifo) {
        // A try within an invocation is a receive, also one while the store is away. Nothing else is.
        (true, true) => receives == max || receives > max && scenario.has_table && entry.is_touched,
        (true, false) => {
            let others = entry.receives.saturating_sub(entry.failures) + entry.came_back;
            receives >= max && (receives - max <= others || entry.is_touched)
        }
        (false, false) => receives >= max,
        (false, true) => {
            let reserved = (max / 10).clamp(1, 10);
            entry.is_touched
                || entry.failures >= scenario.fifo_receive_count_max
                || receives >= max.saturating_sub(reserved)
        }
    }
}

/// The reason of a message whose key could not be claimed, which is retried as if its handler had failed.
const STORE_FAILED: &str = "the idempotency store failed";

/// The reason of a message whose payload could not be read from S3, which is retried as well.
const PAYLOAD_FAILED: &str = "payload not fetched";

/// The code of a handler that rejects.
pub(crate) const REJECTION: &str = "simulated";

/// The code of a handler of another version.
pub(crate) const NEW_VERSION: &str = "new_version";
