//! [`Ledger`]: what happened to each message, and the checks of each [`Property`] against it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::time::Duration;

use serde::Deserialize;
use sluicegate_lambda_emulator::Invocation as Ended;

use crate::deploy::Change;
use crate::fault::FaultId;
use crate::message::{Behaviour, Sender};
use crate::property::Property;
use crate::scenario::Scenario;

/// Receives of a healthy message on a standard queue that may end without its handler being called.
const UNTOUCHED_MAX: u32 = 3;

/// How long a fault that hits the reading of the redrive policy has an effect: the call with its attempts, and the 10 s
/// after which `RedrivePolicies` of the consumer reads it again.
const POLICY_UNKNOWN_MAX: Duration = Duration::from_secs(30);

/// What is known of the messages so far.
pub(crate) struct Ledger {
    messages: Vec<Entry>,
    attempts: Vec<Attempt>,
    invocations: Vec<Invocation>,
    /// The messages of each group in the order in which SQS stored them.
    groups: BTreeMap<u32, Vec<u32>>,
    /// Until when an environment may not know the redrive policy, which it does not read again at once.
    policy_unknown_until: Duration,
    /// The messages of the keys in the idempotency store.
    keys: HashMap<String, u32>,
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
    /// The id of the event that its handler received.
    event_id: Option<String>,
    stored: u32,
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
    /// Whether the idempotency store has recorded that it was handled.
    is_recorded: bool,
    /// How often the consumer has published a copy of it to a queue of RabbitMQ.
    copied: u32,
    /// Copies in the dead-letter queue.
    dead: u32,
    /// How often one came there.
    dead_lettered: u32,
    /// Whether it was moved back to its queue, where it has lost its place.
    is_redriven: bool,
    not_before: Option<Duration>,
}

/// One message of one request.
#[derive(Default)]
struct Attempt {
    message: u32,
    is_stored: bool,
    is_refused: bool,
    is_unknown: bool,
    /// Whether a message was stored that is this one's or an earlier one's.
    may_be_stored: bool,
}

/// One invocation of the consumer.
#[derive(Default)]
struct Invocation {
    /// The messages with their ids.
    batch: Vec<(u32, String)>,
    /// How often each was in the dead-letter queue before, and was copied.
    before: Vec<(u32, u32)>,
    decisions: Vec<(u32, Decision)>,
    /// The outcomes in the log, by id.
    logged: Vec<(String, String)>,
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

/// What the answer to a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    Accepted { id: String },
    NotStored,
    TooLarge,
    Unknown,
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

impl Ledger {
    pub(crate) fn new(messages: usize) -> Self {
        Self {
            messages: std::iter::repeat_with(Entry::default).take(messages).collect(),
            attempts: Vec::new(),
            invocations: Vec::new(),
            groups: BTreeMap::new(),
            policy_unknown_until: Duration::ZERO,
            keys: HashMap::new(),
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

    /// A request with these messages starts; returns the number of the first. The others follow in order.
    pub(crate) fn requested(&mut self, messages: &[u32]) -> u64 {
        let first = self.attempts.len() as u64;
        for message in messages.iter().copied() {
            self.entry(message).is_sent = true;
            self.attempts.push(Attempt { message, ..Attempt::default() });
        }
        first
    }

    /// Another program sends a message.
    pub(crate) fn sent_by_another(&mut self, message: u32) {
        self.entry(message).is_sent = true;
    }

    /// The queue has stored a message of a request.
    pub(crate) fn request_stored(&mut self, now: Duration, request: u64, message: u32) {
        let attempts = self.attempts.get_mut(index(request)..).unwrap_or_default();
        let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.message == message) else { return };
        attempt.is_stored = true;
        if attempt.is_refused {
            let details = format!("message {} was stored after the answer that it was not", attempt.message);
            self.violated(now, Property::NotStoredIsTrue, &details);
        }
    }

    /// A message of a request is answered.
    pub(crate) fn answered(&mut self, now: Duration, attempt: u64, conclusion: &Conclusion) {
        let Some(attempt) = self.attempts.get_mut(index(attempt)) else { return };
        let (message, is_stored, may_be_stored) = (attempt.message, attempt.is_stored, attempt.may_be_stored);
        match conclusion {
            Conclusion::Accepted { id } => {
                if !is_stored && !may_be_stored {
                    self.violated(now, Property::AcceptedIsStored, &format!("message {message}"));
                }
                let entry = self.entry(message);
                let first = entry.id.get_or_insert_with(|| id.clone());
                if first != id {
                    let details = format!("message {message}: {first} and {id}");
                    self.violated(now, Property::RepeatsHaveOneId, &details);
                } else if let Some(event) = entry.event_id.as_ref().filter(|event| *event != id) {
                    let details = format!("message {message} has {event}, and was answered with {id}");
                    self.violated(now, Property::IdsNameTheirMessage, &details);
                }
            }
            Conclusion::NotStored | Conclusion::TooLarge => {
                attempt.is_refused = true;
                if is_stored {
                    self.violated(now, Property::NotStoredIsTrue, &format!("message {message} was stored"));
                }
            }
            Conclusion::Unknown => attempt.is_unknown = true,
        }
    }

    /// The message of one of these requests was stored: of the first one whose client knows nothing yet, or else of the
    /// last.
    pub(crate) fn one_request_stored(&mut self, now: Duration, attempts: &[u64]) {
        let is_open = |attempt: &&u64| {
            self.attempts.get(index(**attempt)).is_some_and(|attempt| attempt.is_unknown && !attempt.is_stored)
        };
        let Some(last) = attempts.last() else { return };
        let stored = *attempts.iter().find(is_open).unwrap_or(last);
        if let Some(message) = self.attempts.get(index(stored)).map(|attempt| attempt.message) {
            self.request_stored(now, stored, message);
        }
        if let Some(last) = self.attempts.get_mut(index(*last)) {
            last.may_be_stored = true;
        }
    }

    /// A request got another answer than one of those.
    pub(crate) fn answered_otherwise(&mut self, now: Duration, request: impl Display, answer: &str) {
        self.violated(now, Property::RequestsAreAnswered, &format!("message {request}: {answer}"));
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
        // A copy of the same message is another one to SQS.
        if let Some(not_before) = early.filter(|_| entry.stored == 1) {
            let details = format!("message {message} was to wait until {:.3} s", not_before.as_secs_f64());
            self.violated(now, Property::RetriesWait, &details);
        }
    }

    pub(crate) fn deleted(&mut self, now: Duration, message: u32) {
        let entry = self.entry(message);
        entry.queued = entry.queued.saturating_sub(1);
        // Its dead letter may have been moved back meanwhile.
        if entry.done == 0 && entry.dead == 0 && !(entry.is_redriven && entry.queued > 0) {
            self.violated(now, Property::NothingIsLost, &format!("message {message} was deleted"));
        }
    }

    /// The consumer has published a copy of a message to its queue, or to a retry queue.
    pub(crate) fn copied(&mut self, message: u32) {
        let entry = self.entry(message);
        entry.copied += 1;
        entry.queued += 1;
    }

    /// A delivery of RabbitMQ was acknowledged.
    pub(crate) fn acknowledged(&mut self, now: Duration, message: u32) {
        let entry = self.entry(message);
        entry.queued = entry.queued.saturating_sub(1);
        if entry.done == 0 && entry.dead == 0 && entry.queued == 0 {
            self.violated(now, Property::NothingIsLost, &format!("message {message} was acknowledged"));
        }
    }

    pub(crate) fn expired(&mut self, now: Duration, message: u32) {
        self.violated(now, Property::NothingIsLost, &format!("message {message} expired"));
    }

    /// The queue itself has moved a message to the dead-letter queue.
    pub(crate) fn dead_lettered_by_the_queue(&mut self, now: Duration, scenario: &Scenario, message: u32) {
        let entry = self.entry(message);
        entry.dead += 1;
        entry.dead_lettered += 1;
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
        let is_right = match code {
            "undecodable" => !is_never_undecodable,
            _ if !is_event => false,
            "in_progress" => {
                scenario.has_store && receives.is_some_and(|receives| receives >= scenario.receive_count_max)
            }
            // Whether the message has a handler is asked later.
            "receives_exhausted" if reason.contains(STORE_FAILED) => {
                let is_last = |receives| is_last(scenario, receives, entry.failures, entry.is_touched);
                scenario.has_table && entry.is_touched && receives.is_some_and(is_last)
            }
            "no_handler" => sent.sender == Sender::OtherType || sent.sender == Sender::Raw && !always_accepts_raw,
            "retry_queue_missing" => entry.is_touched && entry.failures > 0,
            _ if sent.sender == Sender::OtherType && !scenario.changes(Change::HandlesOthers) => false,
            _ if sent.sender == Sender::Raw && !accepts_raw => false,
            NEW_VERSION => scenario.changes(Change::Rejects) && entry.calls > 0,
            REJECTION => sent.behaviour == Behaviour::Rejects && entry.calls > 0,
            "receives_exhausted" | "handler_panicked" | "handler_cancelled" => {
                entry.failures > 0
                    && receives.is_some_and(|receives| is_last(scenario, receives, entry.failures, entry.is_touched))
            }
            _ => false,
        };
        if !is_right {
            let details = format!("message {message}, {:?}, {:?}: {code} {reason:?}", sent.sender, sent.behaviour);
            self.violated(now, Property::DeadLettersHaveTheirReason, &details);
        }
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
        if entry.done == 0 && entry.dead == 0 && entry.queued == 0 {
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

    /// A fault has hit an invocation.
    pub(crate) fn touch_invocation(&mut self, invocation: u64) {
        let Some(invocation) = self.invocations.get_mut(index(invocation)) else { return };
        invocation.is_touched = true;
        let batch: Vec<u32> = invocation.batch.iter().map(|(message, _)| *message).collect();
        for message in batch {
            self.touch(message);
        }
    }

    /// A fault has hit the reading of the redrive policy.
    pub(crate) fn policy_unread(&mut self, now: Duration) {
        self.policy_unknown_until = now + POLICY_UNKNOWN_MAX;
    }

    /// The consumer is invoked with these messages and their ids; returns the number of the invocation.
    pub(crate) fn invoked(&mut self, batch: Vec<(u32, String)>) -> u64 {
        let counts = |entry: &mut Entry| (entry.dead_lettered, entry.copied);
        let before = batch.iter().map(|(message, _)| counts(self.entry(*message))).collect();
        self.invocations.push(Invocation { batch, before, ..Invocation::default() });
        self.invocations.len() as u64 - 1
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

    /// A handler receives the event of a message.
    pub(crate) fn delivered(&mut self, now: Duration, message: u32, event_id: &str) {
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
            invocation.decisions.push((message, decision));
        }
        let Some(order) = group.filter(|_| is_first).and_then(|group| self.groups.get(&group)) else { return };
        let earlier = order.iter().take_while(|other| **other != message);
        let is_open = |other: &u32| {
            let entry = self.messages.get(*other as usize);
            entry.is_some_and(|entry| entry.done == 0 && entry.dead == 0 && !entry.is_redriven)
        };
        if let Some(waiting) = earlier.copied().find(is_open) {
            let details = format!("message {message} was handled before message {waiting}");
            self.violated(now, Property::GroupsAreInOrder, &details);
        }
    }

    /// The consumer has logged the outcome of a delivery; it is empty if another delivery had it.
    pub(crate) fn logged(&mut self, invocation: u64, broker_id: &str, outcome: &str) {
        if let Some(invocation) = self.invocations.get_mut(index(invocation)) {
            invocation.logged.push((broker_id.to_owned(), outcome.to_owned()));
        }
    }

    /// An invocation has ended.
    pub(crate) fn ended(&mut self, now: Duration, scenario: &Scenario, number: u64, ended: &Ended) {
        let Some(invocation) = self.invocations.get_mut(index(number)) else { return };
        // What it was for is known now; its memory is freed.
        let Invocation { batch, before, decisions, logged, is_touched } = std::mem::take(invocation);
        let answer = match ended {
            Ended::Response(answer) => answer,
            Ended::TimedOut => {
                return self.violated(now, Property::InvocationsEndInTime, &format!("invocation {number}"));
            }
            Ended::FunctionError { .. } | Ended::Throttled => {
                // RabbitMQ delivers the whole batch again, which uses up a receive of each message.
                let again = batch.iter().filter(|_| scenario.rabbitmq);
                return again.for_each(|(message, _)| self.touch(*message));
            }
        };
        let Ok(BatchResponse { failures }) = serde_json::from_slice(answer) else {
            let answer = String::from_utf8_lossy(answer).into_owned();
            return self.violated(now, Property::EachDeliveryIsSettledOnce, &format!("answered {answer}"));
        };
        let mut returned: Vec<&str> = failures.iter().map(|failure| failure.id.as_str()).collect();
        returned.sort_unstable();
        // A message may be in its batch twice, if its visibility timeout ended meanwhile.
        let count = |id: &str| batch.iter().filter(|(_, other)| other == id).count();
        let is_wrong = |ids: &[&str]| ids.first().is_some_and(|id| ids.len() > count(id));
        if let Some(ids) = returned.chunk_by(|a, b| a == b).find(|ids| is_wrong(ids)) {
            let details = format!("invocation {number} returned {ids:?}");
            self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
        }
        let mut copied = 0;
        for ((message, id), (dead_before, copied_before)) in batch.iter().zip(before) {
            let is_copied = self.entry(*message).copied > copied_before;
            copied += usize::from(is_copied);
            // The consumer returns a message of RabbitMQ as a copy.
            let is_returned = is_copied || returned.binary_search(&id.as_str()).is_ok();
            let is_done = decisions.contains(&(*message, Decision::Done));
            let copies = batch.iter().filter(|(other, _)| other == message).count();
            let waits = decisions.iter().find_map(|(other, decision)| match decision {
                Decision::Waits(delay) if other == message => Some(*delay),
                _ => None,
            });
            let entry = self.entry(*message);
            let was_dead_lettered = entry.dead_lettered > dead_before;
            copied += usize::from(was_dead_lettered && is_touched && !is_copied);
            // An ordered queue of RabbitMQ gives a batch back with messages that it has settled.
            let was_settled = scenario.rabbitmq && scenario.fifo && (entry.done > 0 || entry.dead_lettered > 0);
            let is_settled = is_done || was_dead_lettered || was_settled || (scenario.has_store && entry.done > 0);
            let is_healthy =
                scenario.messages.get(*message as usize).is_some_and(|m| m.is_healthy(scenario.accepts_raw().1));
            // A table says so itself: a call that fails leaves no record. Nor does a handler that has lost its lease.
            let is_certain = !scenario.has_table && scenario.skew_max.is_zero();
            entry.is_recorded |= is_done && !is_returned && is_certain;
            entry.returned += u32::from(is_returned && !entry.is_touched);
            entry.not_before = waits.filter(|_| is_returned).map(|delay| now + delay);
            let returns = entry.returned;
            let is_open = is_healthy && entry.done == 0;
            if !is_returned && !is_settled {
                let details = format!("invocation {number}: message {message} was neither handled nor returned");
                self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
            }
            if is_returned && is_done && copies == 1 {
                let details = format!("invocation {number}: message {message} was handled and returned");
                self.violated(now, Property::EachDeliveryIsSettledOnce, &details);
            }
            let bound = if scenario.fifo { scenario.receive_count_max } else { UNTOUCHED_MAX };
            if is_open && returns > bound {
                let details = format!("message {message} was returned {returns} times without being handled");
                self.violated(now, Property::HealthyMessagesAreHandled, &details);
            }
        }
        let count_of = |outcomes: &[&str]| {
            logged.iter().filter(|(_, outcome)| outcomes.contains(&outcome.as_str())).count() as u64
        };
        let is_return = |outcome: &str| matches!(outcome, "retry" | "returned" | "reject_failed");
        let mut logged_returns: Vec<&str> =
            logged.iter().filter(|(_, outcome)| is_return(outcome)).map(|(id, _)| id.as_str()).collect();
        logged_returns.sort_unstable();
        // A message of an ordered queue of RabbitMQ is retried within the invocation, which does not return it.
        let in_place = if scenario.rabbitmq && scenario.fifo { logged_returns.len() } else { 0 };
        // Of the others, those that are returned are copied, or dead-lettered because a retry queue is missing.
        let adds_up = match scenario.rabbitmq {
            true => logged_returns.len() - in_place <= copied,
            false => logged_returns == returned,
        };
        if logged.len() - in_place != batch.len() || !adds_up {
            let details =
                format!("invocation {number}: {} messages, {returned:?} returned, logged {logged:?}", batch.len());
            self.violated(now, Property::LogsAddUp, &details);
        }
        self.dead_letters.1 += count_of(&["rejected", "undecodable"]);
        let handled = decisions.iter().filter(|(_, decision)| *decision == Decision::Done).count() as u64;
        if count_of(&["done"]) != handled {
            let details = format!("invocation {number}: {handled} messages were handled, logged {logged:?}");
            self.violated(now, Property::LogsAddUp, &details);
        }
        if is_touched || now < self.policy_unknown_until {
            for (message, ..) in &batch {
                self.touch(*message);
            }
        }
    }

    /// The simulation has ended. `left` messages are on the queue.
    pub(crate) fn finished(&mut self, now: Duration, scenario: &Scenario, left: u64) {
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
        let is_lost = |entry: &Entry| (entry.id.is_some() || entry.stored > 0) && entry.done == 0 && entry.dead == 0;
        let lost: Vec<usize> =
            self.messages.iter().enumerate().filter(|(_, entry)| is_lost(entry)).map(|(number, _)| number).collect();
        if !lost.is_empty() {
            self.violated(now, Property::NothingIsLost, &format!("messages {lost:?} are gone"));
        }
    }

    /// Returns how many messages were stored, handled and dead-lettered.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let count = |is: fn(&Entry) -> bool| self.messages.iter().filter(|entry| is(entry)).count() as u64;
        (count(|entry| entry.stored > 0), count(|entry| entry.done > 0), count(|entry| entry.dead > 0))
    }
}

/// Returns whether a failing message may be dead-lettered at this receive. On a FIFO queue only failures of its handler
/// count, unless the queue itself would soon give up: `source/sqs/fifo.rs` of the consumer has the rules.
fn is_last(scenario: &Scenario, receives: u32, failures: u32, is_touched: bool) -> bool {
    let max = scenario.receive_count_max;
    if scenario.rabbitmq {
        return receives == max || receives > max && is_touched;
    }
    if !scenario.fifo {
        return receives >= max;
    }
    let reserved = (max / 10).clamp(1, 10);
    is_touched || failures >= scenario.fifo_receive_count_max || receives >= max.saturating_sub(reserved)
}

/// The reason of a message whose key could not be claimed, which is retried as if its handler had failed.
const STORE_FAILED: &str = "the idempotency store failed";

/// The code of a handler that rejects.
pub(crate) const REJECTION: &str = "simulated";

/// The code of a handler of another version.
pub(crate) const NEW_VERSION: &str = "new_version";

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
