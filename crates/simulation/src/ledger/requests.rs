//! What clients asked for and were answered, and the checks of it.

use std::fmt::Display;
use std::time::Duration;

use super::{Ledger, index};
use crate::credentials::Validity;
use crate::metrics::Metrics;
use crate::property::Property;
use crate::scenario::Scenario;

/// One message of one request.
#[derive(Default)]
pub(super) struct Attempt {
    message: u32,
    /// The queues that have stored it.
    stored: Queues,
    /// Those that have not, by the answer.
    refused: Queues,
    /// Those of the whole request, in its first message.
    metrics: Metrics,
    /// Whether a fault has hit the store in the request.
    pub(super) is_store_touched: bool,
    /// Whether an attacker has sent it.
    pub(super) is_forged: bool,
    /// When the table has counted it against its rate limit.
    pub(super) counted_at: Option<Duration>,
}

/// A queue of the routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    Work,
    Copies,
}

/// Some of the queues of the routes.
#[derive(Clone, Copy, Debug, Default)]
struct Queues([bool; 2]);

impl Queues {
    fn insert(&mut self, queue: Queue) {
        self.0[queue as usize] = true;
    }

    fn contains(self, queue: Queue) -> bool {
        self.0[queue as usize]
    }
}

/// What the answer to a request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Conclusion {
    Accepted {
        id: String,
        /// Whether it is the answer to an earlier request with the same key.
        is_replayed: bool,
    },
    NotStored,
    TooLarge,
    /// The key belongs to another message.
    KeyReused,
    /// It may be stored. Which queues have it and which do not, if the answer lists them.
    Unknown {
        stored: Vec<Queue>,
        not_stored: Vec<Queue>,
    },
}

impl Conclusion {
    /// Returns what follows from no answer.
    pub(crate) fn unknown() -> Self {
        Self::Unknown { stored: Vec::new(), not_stored: Vec::new() }
    }
}

impl Ledger {
    /// A request with these messages starts; returns the number of the first. The others follow in order.
    pub(crate) fn requested(&mut self, messages: &[u32]) -> u64 {
        let first = self.attempts.len() as u64;
        for message in messages.iter().copied() {
            self.entry(message).is_sent = true;
            self.attempts.push(Attempt { message, ..Attempt::default() });
        }
        first
    }

    /// An attacker sends a request with these messages; returns the number of the first, as of one of a client.
    pub(crate) fn forged(&mut self, messages: &[u32]) -> u64 {
        let first = self.requested(messages);
        self.attempts.iter_mut().skip(index(first)).for_each(|attempt| attempt.is_forged = true);
        first
    }

    /// A request was answered whose signature is of this validity by the clock of the ingress.
    pub(crate) fn signature_answered(
        &mut self,
        now: Duration,
        scenario: &Scenario,
        request: u64,
        validity: Validity,
        status: u16,
        has_id: bool,
    ) {
        let Some(message) = self.attempts.get(index(request)).map(|attempt| attempt.message) else { return };
        let is_right = match (validity, status) {
            (Validity::Uncertain, _) | (Validity::Invalid, 401) => true,
            // The secret cannot be read, or the body was not.
            (Validity::Invalid, 503) => !has_id && !scenario.is_undisturbed(),
            (Validity::Invalid, 413) => scenario.is_too_large(message),
            (Validity::Invalid, _) | (Validity::Valid, 401) => false,
            (Validity::Valid, _) => true,
        };
        if !is_right {
            let details = format!("message {message}: {status} for a signature that is {validity:?}");
            self.violated(now, Property::SignaturesHold, &details);
        }
    }

    /// A fault has hit the store of the idempotency key, the status and the rate limit of a request.
    pub(crate) fn touch_key(&mut self, request: u64) {
        if let Some(attempt) = self.attempts.get_mut(index(request)) {
            attempt.is_store_touched = true;
            let message = attempt.message;
            self.touch(message);
            self.entry(message).is_key_touched = true;
            self.entry(message).may_be_behind = true;
        }
    }

    /// A queue has stored a message of a request.
    pub(crate) fn request_stored(&mut self, now: Duration, request: u64, message: u32, queue: Queue) {
        let attempts = self.attempts.get_mut(index(request)..).unwrap_or_default();
        let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.message == message) else { return };
        attempt.stored.insert(queue);
        if attempt.is_forged {
            let details = format!("a forged request with message {message} was stored on {queue:?}");
            return self.violated(now, Property::SignaturesHold, &details);
        }
        if attempt.refused.contains(queue) {
            let details = format!("message {message} was stored on {queue:?} after the answer that it was not");
            self.violated(now, Property::NotStoredIsTrue, &details);
        }
    }

    /// The queue of the copies has stored the event with this id.
    pub(crate) fn copy_queued(&mut self, now: Duration, message: Option<u32>, id: &str, body: &str) {
        let Some(message) = message.filter(|message| self.entry(*message).is_sent) else {
            return self.invented(now, body);
        };
        let entry = self.entry(message);
        entry.copies += 1;
        if let Some(answered) = entry.id.as_ref().filter(|answered| *answered != id) {
            let details = format!("message {message} was answered with {answered}, and its copy has {id}");
            self.violated(now, Property::IdsNameTheirMessage, &details);
        }
    }

    /// A message is in an object of the archive.
    pub(crate) fn archived(&mut self, message: u32) {
        self.entry(message).is_archived = true;
    }

    /// A message was deleted from the queue of the copies.
    pub(crate) fn copy_deleted(&mut self, now: Duration, message: u32) {
        if !self.entry(message).is_archived {
            let details = format!("message {message} was deleted before it was in the archive");
            self.violated(now, Property::NothingIsLost, &details);
        }
    }

    /// A message of a request is answered.
    pub(crate) fn answered(&mut self, now: Duration, scenario: &Scenario, attempt: u64, conclusion: &Conclusion) {
        let Some(attempt) = self.attempts.get_mut(index(attempt)) else { return };
        let message = attempt.message;
        let queues = if scenario.has_copies { &[Queue::Work, Queue::Copies][..] } else { &[Queue::Work] };
        let (stored, not_stored) = match conclusion {
            Conclusion::Accepted { is_replayed: true, .. } => (&[][..], &[][..]),
            Conclusion::Accepted { .. } => (queues, &[][..]),
            Conclusion::NotStored | Conclusion::TooLarge | Conclusion::KeyReused => (&[][..], queues),
            Conclusion::Unknown { stored, not_stored } => (&stored[..], &not_stored[..]),
        };
        not_stored.iter().for_each(|queue| attempt.refused.insert(*queue));
        let has = attempt.stored;
        for queue in stored.iter().filter(|queue| !has.contains(**queue)) {
            self.violated(now, Property::AcceptedIsStored, &format!("message {message} is not on {queue:?}"));
        }
        for queue in not_stored.iter().filter(|queue| has.contains(**queue)) {
            self.violated(now, Property::NotStoredIsTrue, &format!("message {message} was stored on {queue:?}"));
        }
        match conclusion {
            Conclusion::Accepted { id, is_replayed } => {
                self.identified(id, message);
                let entry = self.entry(message);
                if *is_replayed && (entry.stored == 0 || scenario.has_copies && entry.copies == 0) {
                    self.violated(
                        now,
                        Property::AcceptedIsStored,
                        &format!("message {message}, of an earlier request"),
                    );
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
            Conclusion::Unknown { .. } => self.entry(message).may_be_stored = true,
            Conclusion::KeyReused => {
                let entry = self.entry(message);
                entry.is_refused_for_key |= entry.stored > 0;
            }
            Conclusion::NotStored | Conclusion::TooLarge => {}
        }
    }

    /// A request got another answer than one of those.
    pub(crate) fn answered_otherwise(&mut self, now: Duration, request: impl Display, answer: &str) {
        self.violated(now, Property::RequestsAreAnswered, &format!("message {request}: {answer}"));
    }

    /// The ingress has written these lines of metrics in a request.
    pub(crate) fn request_counted(&mut self, now: Duration, request: u64, lines: &[u8]) {
        let Some(attempt) = self.attempts.get_mut(index(request)) else { return };
        if let Err(error) = attempt.metrics.add(lines) {
            self.violated(now, Property::MetricsAddUp, &format!("request {request}: {error}"));
        }
    }

    /// A request was answered with these statuses and codes: one, or one for each item of a batch.
    pub(crate) fn request_answered<'a>(
        &mut self,
        now: Duration,
        request: u64,
        answers: impl Iterator<Item = (u16, Option<&'a str>)>,
    ) {
        let Some(attempt) = self.attempts.get_mut(index(request)) else { return };
        // Its memory is freed.
        let metrics = std::mem::take(&mut attempt.metrics);
        let mut expected = Metrics::default();
        for (status, code) in answers {
            expected.count(if status == 202 { "accepted" } else { "refused" }, code, 1);
        }
        if metrics != expected {
            let details = format!("request {request}: counted {metrics:?}, answered {expected:?}");
            self.violated(now, Property::MetricsAddUp, &details);
        }
    }
}
