//! What clients asked for and were answered, and the checks of it.

use std::fmt::Display;
use std::time::Duration;

use super::{Ledger, index};
use crate::metrics::Metrics;
use crate::property::Property;

/// One message of one request.
#[derive(Default)]
pub(super) struct Attempt {
    message: u32,
    is_stored: bool,
    is_refused: bool,
    /// Those of the whole request, in its first message.
    metrics: Metrics,
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
    Unknown,
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

    /// A fault has hit the store of the idempotency key of a request.
    pub(crate) fn touch_key(&mut self, request: u64) {
        if let Some(message) = self.attempts.get(index(request)).map(|attempt| attempt.message) {
            self.touch(message);
            self.entry(message).is_key_touched = true;
        }
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
        let (message, is_stored) = (attempt.message, attempt.is_stored);
        match conclusion {
            Conclusion::Accepted { id, is_replayed } => {
                if !(is_stored || *is_replayed && self.entry(message).stored > 0) {
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
            Conclusion::NotStored | Conclusion::TooLarge | Conclusion::KeyReused => {
                attempt.is_refused = true;
                if is_stored {
                    self.violated(now, Property::NotStoredIsTrue, &format!("message {message} was stored"));
                }
            }
            Conclusion::Unknown => self.entry(message).may_be_stored = true,
        }
        if *conclusion == Conclusion::KeyReused {
            let entry = self.entry(message);
            entry.is_refused_for_key |= entry.stored > 0;
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
