//! [`Ledger`]: what happened to each message, and the checks of each [`Property`] against it.

mod dead_letters;
mod invocation;
mod key_fetches;
mod rate_limit;
mod requests;
mod statuses;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

pub(crate) use self::dead_letters::{NEW_VERSION, REJECTION};
use self::invocation::Invocation;
pub(crate) use self::invocation::{Decision, Ended};
use self::key_fetches::KeyFetches;
pub(crate) use self::rate_limit::Admission;
use self::rate_limit::Limited;
use self::requests::Attempt;
pub(crate) use self::requests::{Conclusion, Queue};
pub(crate) use self::statuses::State;
use crate::dynamodb::Table;
use crate::fault::FaultId;
use crate::property::Property;
use crate::scenario::Scenario;

/// What is known of the messages so far.
pub(crate) struct Ledger {
    messages: Vec<Entry>,
    attempts: Vec<Attempt>,
    /// The requests of the route for messages, and of that for batches.
    limited: [Limited; 2],
    key_fetches: KeyFetches,
    invocations: Vec<Invocation>,
    /// The messages of each group in the order in which SQS stored them.
    groups: BTreeMap<u32, Vec<u32>>,
    /// Until when a fault of a whole service has an effect.
    disturbed_until: Duration,
    /// The messages of the keys in the idempotency store.
    keys: HashMap<String, u32>,
    /// The messages of the ids.
    ids: HashMap<String, u32>,
    pub(crate) faults: Vec<FaultId>,
    pub(crate) violations: Vec<String>,
    pub(crate) receives: u64,
    /// The dead letters that the consumer has stored, and those that it has logged.
    dead_letters: (u64, u64),
}

/// One message.
#[derive(Default)]
struct Entry {
    /// Whether a request or another program has sent it.
    is_sent: bool,
    /// The id of the first 202.
    id: Option<String>,
    /// Whether a request was answered that it may be stored, or not at all.
    may_be_stored: bool,
    /// Whether it was stored when a request was refused because its idempotency key belongs to another message.
    is_refused_for_key: bool,
    /// Whether a fault has hit the store of its idempotency key.
    is_key_touched: bool,
    /// The id of the event that its handler received.
    event_id: Option<String>,
    stored: u32,
    /// How often it came to the queue of the copies.
    copies: u32,
    is_archived: bool,
    /// Whether a 202 named its status.
    has_status: bool,
    /// Whether its status may be behind: a fault has hit an invocation of the consumer with it, or the table in a
    /// request, or the queue itself has dead-lettered it.
    may_be_behind: bool,
    /// Copies on the queue.
    queued: u32,
    receives: u32,
    /// Receives that ended with an answer that returned the message.
    returned: u32,
    /// Whether a fault has hit a receive of it.
    is_touched: bool,
    calls: u32,
    running: u32,
    failures: u32,
    done: u32,
    /// How often its effect has happened.
    effects: u32,
    /// Whether the idempotency store has recorded that it was handled.
    is_recorded: bool,
    /// How often the consumer has published a copy of it to a queue of RabbitMQ.
    copied: u32,
    /// How often a delivery of RabbitMQ came back to its queue.
    came_back: u32,
    /// Whether RabbitMQ had no retry queue for a copy.
    is_unroutable: bool,
    /// Copies in the dead-letter queue.
    dead: u32,
    /// How often one came there.
    dead_lettered: u32,
    /// Whether it was moved back to its queue, where it has lost its place.
    is_redriven: bool,
    not_before: Option<Duration>,
}

impl Entry {
    /// Returns whether a handler is done, or its effect has happened, also if the handler has not learned of it.
    fn is_handled(&self) -> bool {
        self.done > 0 || self.effects > 0
    }
}

impl Ledger {
    pub(crate) fn new(messages: usize) -> Self {
        Self {
            messages: std::iter::repeat_with(Entry::default).take(messages).collect(),
            attempts: Vec::new(),
            limited: Default::default(),
            key_fetches: KeyFetches::default(),
            invocations: Vec::new(),
            groups: BTreeMap::new(),
            disturbed_until: Duration::ZERO,
            keys: HashMap::new(),
            ids: HashMap::new(),
            faults: Vec::new(),
            violations: Vec::new(),
            receives: 0,
            dead_letters: (0, 0),
        }
    }

    fn violated(&mut self, now: Duration, property: Property, details: &str) {
        self.violations.push(format!("{property} at {:.3} s: {details}", now.as_secs_f64()));
    }

    fn entry(&mut self, message: u32) -> &mut Entry {
        let index = message as usize;
        if index >= self.messages.len() {
            self.messages.resize_with(index + 1, Entry::default);
        }
        &mut self.messages[index]
    }

    /// Another program sends a message.
    pub(crate) fn sent_by_another(&mut self, message: u32) {
        self.entry(message).is_sent = true;
    }

    /// A message is on the queue.
    pub(crate) fn queued(&mut self, now: Duration, message: Option<u32>, group: Option<u32>, body: &str) {
        let Some(message) = message.filter(|message| self.entry(*message).is_sent) else {
            return self.invented(now, body);
        };
        let entry = self.entry(message);
        entry.stored += 1;
        entry.queued += 1;
        if let Some(group) = group {
            let order = self.groups.entry(group).or_default();
            if !order.contains(&message) {
                order.push(message);
            }
        }
    }

    /// A text was received that was not sent.
    pub(crate) fn invented(&mut self, now: Duration, text: &str) {
        let start: String = text.chars().take(200).collect();
        self.violated(now, Property::NothingIsInvented, &start);
    }

    pub(crate) fn received(&mut self, now: Duration, message: u32) {
        self.receives += 1;
        let entry = self.entry(message);
        entry.receives += 1;
        let early = entry.not_before.take().filter(|not_before| now < *not_before && !entry.is_touched);
        // If there are others of the same message, this may be one of them.
        if let Some(not_before) = early.filter(|_| entry.queued == 1) {
            let details = format!("message {message} was to wait until {:.3} s", not_before.as_secs_f64());
            self.violated(now, Property::RetriesWait, &details);
        }
    }

    pub(crate) fn deleted(&mut self, now: Duration, message: u32) {
        let entry = self.entry(message);
        entry.queued = entry.queued.saturating_sub(1);
        // Its dead letter may have been moved back meanwhile.
        if !entry.is_handled() && entry.dead == 0 && !(entry.is_redriven && entry.queued > 0) {
            self.violated(now, Property::NothingIsLost, &format!("message {message} was deleted"));
        }
    }

    /// The consumer has published a copy of a message to its queue, or to a retry queue.
    pub(crate) fn copied(&mut self, message: u32) {
        let entry = self.entry(message);
        entry.copied += 1;
        entry.queued += 1;
    }

    /// A copy had no retry queue.
    pub(crate) fn unroutable(&mut self, message: u32) {
        self.entry(message).is_unroutable = true;
    }

    /// A delivery of RabbitMQ came back to its queue.
    pub(crate) fn came_back(&mut self, message: u32) {
        self.entry(message).came_back += 1;
    }

    /// A delivery of RabbitMQ was acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Duration, message: u32) {
        let entry = self.entry(message);
        entry.queued = entry.queued.saturating_sub(1);
        if !entry.is_handled() && entry.dead == 0 && entry.queued == 0 {
            self.violated(now, Property::NothingIsLost, &format!("message {message} was acknowledged"));
        }
    }

    pub(crate) fn expired(&mut self, now: Duration, message: u32) {
        self.violated(now, Property::NothingIsLost, &format!("message {message} expired"));
    }

    /// SQS has moved a message from the dead-letter queue to its queue.
    pub(crate) fn moved(&mut self, now: Duration, message: u32) {
        self.copied_back(message);
        self.dead_letter_deleted(now, message);
    }

    /// The dead-letter tool has deleted a message of the dead-letter queue.
    pub(crate) fn dead_letter_deleted(&mut self, now: Duration, message: u32) {
        let entry = self.entry(message);
        entry.dead = entry.dead.saturating_sub(1);
        if !entry.is_handled() && entry.dead == 0 && entry.queued == 0 {
            self.violated(now, Property::NothingIsLost, &format!("message {message} was deleted as a dead letter"));
        }
    }

    /// A copy of a dead letter is on the queue.
    pub(crate) fn copied_back(&mut self, message: u32) {
        let entry = self.entry(message);
        entry.queued += 1;
        entry.is_redriven = true;
        entry.returned = 0;
        entry.not_before = None;
    }

    /// A fault has hit a receive of a message.
    pub(crate) fn touch(&mut self, message: u32) {
        self.entry(message).is_touched = true;
    }

    /// The dead-letter tool has ended with an error.
    pub(crate) fn redrive_failed(&mut self, now: Duration, scenario: &Scenario, reason: &str) {
        if scenario.is_calm() {
            self.violated(now, Property::RedrivesSucceed, reason);
        }
    }

    /// A fault has hit the redrive of the dead letters.
    pub(crate) fn touch_dead_letters(&mut self) {
        for entry in self.messages.iter_mut().filter(|entry| entry.dead > 0) {
            entry.is_touched = true;
        }
    }

    /// A fault has hit a receive of these messages, or there may be copies of them.
    pub(crate) fn touch_all(&mut self, messages: &[u32]) {
        messages.iter().for_each(|message| self.touch(*message));
    }

    /// A fault has hit a whole service, and has an effect until then.
    pub(crate) fn disturbed(&mut self, until: Duration) {
        self.disturbed_until = self.disturbed_until.max(until);
    }

    /// A message has a key in the idempotency store.
    pub(crate) fn claimed(&mut self, key: &str, message: u32) {
        if !self.keys.contains_key(key) {
            self.keys.insert(key.to_owned(), message);
        }
    }

    /// The idempotency store has recorded that the message of a key was handled.
    pub(crate) fn effect_recorded(&mut self, key: &str) {
        if let Some(message) = self.keys.get(key).copied() {
            self.entry(message).is_recorded = true;
        }
    }

    /// A transaction with the effect of a message has happened. It is one of those that happen once if `is_once`.
    pub(crate) fn effect_happened(&mut self, now: Duration, is_once: bool, message: u32) {
        let entry = self.entry(message);
        entry.effects += 1;
        if is_once && entry.effects > 1 {
            let details = format!("the effect of message {message} has happened {} times", entry.effects);
            self.violated(now, Property::StoredEffectsHappenOnce, &details);
        }
    }

    /// A handler receives the event of a message.
    pub(crate) fn delivered(&mut self, now: Duration, message: u32, event_id: &str) {
        self.identified(event_id, message);
        let entry = self.entry(message);
        if let Some(answered) = entry.id.as_ref().filter(|id| *id != event_id) {
            let details = format!("message {message} was answered with {answered}, and has {event_id}");
            self.violated(now, Property::IdsNameTheirMessage, &details);
        } else if entry.event_id.is_none() {
            entry.event_id = Some(event_id.to_owned());
        }
    }

    /// A handler is called, which must happen once if `is_once`; and after others of the message have ended, if
    /// `is_alone`. Returns how often it was before.
    pub(crate) fn called(&mut self, now: Duration, is_once: bool, is_alone: bool, message: u32) -> u32 {
        let entry = self.entry(message);
        let calls = entry.calls;
        entry.calls += 1;
        entry.running += 1;
        if is_once && ((is_alone && entry.running > 1) || entry.is_recorded) {
            let details = format!("message {message} is handled again, after it was recorded: {}", entry.is_recorded);
            self.violated(now, Property::StoredEffectsHappenOnce, &details);
        }
        calls
    }

    pub(crate) fn payload_differs(&mut self, now: Duration, message: u32) {
        self.violated(now, Property::PayloadsAreIntact, &format!("message {message}"));
    }

    /// A handler has ended.
    pub(crate) fn decided(
        &mut self,
        now: Duration,
        invocation: u64,
        message: u32,
        group: Option<u32>,
        decision: Decision,
    ) {
        let entry = self.entry(message);
        entry.running = entry.running.saturating_sub(1);
        match decision {
            Decision::Done => entry.done += 1,
            Decision::Failed | Decision::Waits(_) | Decision::Ended => entry.failures += 1,
            Decision::Rejected => {}
        }
        let is_first = decision == Decision::Done && entry.done == 1 && !entry.is_redriven;
        if let Some(invocation) = self.invocations.get_mut(index(invocation)) {
            invocation.decided(now, message, decision);
        }
        let Some(order) = group.filter(|_| is_first).and_then(|group| self.groups.get(&group)) else { return };
        let earlier = order.iter().take_while(|other| **other != message);
        let is_open = |other: &u32| {
            let entry = self.messages.get(*other as usize);
            entry.is_some_and(|entry| !entry.is_handled() && entry.dead == 0 && !entry.is_redriven)
        };
        if let Some(waiting) = earlier.copied().find(is_open) {
            let details = format!("message {message} was handled before message {waiting}");
            self.violated(now, Property::GroupsAreInOrder, &details);
        }
    }

    /// The simulation has ended. `left` messages are on the queue.
    pub(crate) fn finished(&mut self, now: Duration, scenario: &Scenario, table: &Table, left: u64) {
        let (stored, logged) = self.dead_letters;
        // With a fault, a dead letter is stored twice, or stored and not logged.
        if logged > stored || (logged < stored && scenario.is_calm()) {
            let details = format!("{stored} dead letters were stored, and {logged} logged");
            self.violated(now, Property::LogsAddUp, &details);
        }
        if left > 0 {
            self.violated(now, Property::EverythingDrains, &format!("{left} messages are left"));
            return;
        }
        self.check_stored_keys(now, scenario);
        self.check_rate_limits(now, scenario);
        self.check_statuses(now, table, scenario.skew_max.is_zero());
        let is_missing = |entry: &&Entry| entry.copies > 0 && !entry.is_archived;
        let missing = self.messages.iter().filter(is_missing).count();
        if scenario.has_archive && missing > 0 {
            self.violated(now, Property::NothingIsLost, &format!("{missing} messages are not in the archive"));
        }
        let is_lost =
            |entry: &Entry| (entry.id.is_some() || entry.stored > 0) && !entry.is_handled() && entry.dead == 0;
        let lost: Vec<usize> =
            self.messages.iter().enumerate().filter(|(_, entry)| is_lost(entry)).map(|(number, _)| number).collect();
        if !lost.is_empty() {
            self.violated(now, Property::NothingIsLost, &format!("messages {lost:?} are gone"));
        }
    }

    fn check_stored_keys(&mut self, now: Duration, scenario: &Scenario) {
        for messages in scenario.by_stored_key.values() {
            let entries: Vec<_> = messages.iter().filter_map(|message| self.messages.get(*message as usize)).collect();
            let accepted = entries.iter().filter(|entry| entry.id.is_some()).count();
            let copies: u32 = entries.iter().map(|entry| entry.stored).sum();
            // The end of a connection of RabbitMQ may repeat any message of it.
            let may_repeat = scenario.rabbitmq && !scenario.is_calm() || !scenario.skew_max.is_zero();
            let is_touched = may_repeat || entries.iter().any(|entry| entry.is_touched || entry.may_be_stored);
            // The route of a FIFO queue admits requests while the store is away.
            let is_open = scenario.fifo && entries.iter().any(|entry| entry.is_key_touched);
            let refused = entries.iter().filter(|entry| entry.is_refused_for_key).count();
            if (accepted > 1 || refused > 0) && !is_open || copies > 1 && !is_touched {
                let details = format!(
                    "of messages {messages:?}, {accepted} were accepted, {copies} copies stored, and {refused} then refused"
                );
                self.violated(now, Property::StoredKeysNameOneMessage, &details);
            }
        }
    }

    /// Returns how many messages were stored, handled and dead-lettered.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let count = |is: fn(&Entry) -> bool| self.messages.iter().filter(|entry| is(entry)).count() as u64;
        (count(|entry| entry.stored > 0), count(Entry::is_handled), count(|entry| entry.dead > 0))
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
