//! [`Filter`]: selects messages.
//!
//! Patterns are those of the `regex` crate: without back-references and in linear time
//! (<https://docs.rs/regex/latest/regex/#untrusted-input>), so a pattern cannot stall a run.

mod condition;
mod pattern;
#[cfg(test)]
mod tests;
mod time_bound;

use std::borrow::Cow;

use sluicegate_envelope::Envelope;

pub use self::{
    condition::Condition,
    pattern::{Glob, Pattern},
    time_bound::TimeBound,
};
use crate::DeadLetter;

/// An invalid filter. The text is for the user who wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FilterError(String);

/// Conditions on a message, all of which must hold. Without conditions, every message matches.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// The message's id, or the broker's, is one of these.
    pub ids: Vec<String>,
    /// The type is one of these. A message without an envelope has no type.
    pub types: Vec<Glob>,
    /// The code is one of these. A message without a code has none.
    pub codes: Vec<Glob>,
    /// The reason contains this pattern.
    pub reason: Option<Pattern>,
    /// The message was dead-lettered ([`DeadLetter::occurred_at`]) at this time or later.
    pub since: Option<TimeBound>,
    /// The message was dead-lettered before this time.
    pub until: Option<TimeBound>,
    /// Every condition on the payload and the attributes holds.
    pub conditions: Vec<Condition>,
    /// The stored body, or the payload, contains this pattern.
    pub body: Option<Pattern>,
}

impl Filter {
    /// Returns whether every message matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.types.is_empty()
            && self.codes.is_empty()
            && self.reason.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && self.conditions.is_empty()
            && self.body.is_none()
    }

    /// Returns whether the message matches.
    #[must_use]
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.matches_metadata(letter) && self.matches_content(letter)
    }

    /// Returns whether an event that is not a dead letter matches. Its time is that of the event.
    #[must_use]
    pub fn matches_event(&self, event: &Envelope) -> bool {
        self.matches(&DeadLetter::default().with_body(event.encode().into_bytes()))
    }

    fn matches_metadata(&self, letter: &DeadLetter) -> bool {
        let one_of = |id: &String| *id == letter.id || !id.is_empty() && *id == letter.broker_id;
        let any = |globs: &[Glob], text: Option<&str>| {
            globs.is_empty() || text.is_some_and(|text| globs.iter().any(|glob| glob.matches(text)))
        };
        let moment = letter.occurred_at();
        (self.ids.is_empty() || self.ids.iter().any(one_of))
            && any(&self.types, letter.event_type.as_deref())
            && any(&self.codes, letter.code.as_deref())
            && self.reason.as_ref().is_none_or(|pattern| pattern.is_in(letter.reason.as_bytes()))
            && self.since.is_none_or(|since| moment.is_some_and(|moment| moment >= since.0))
            && self.until.is_none_or(|until| moment.is_some_and(|moment| moment < until.0))
    }

    fn matches_content(&self, letter: &DeadLetter) -> bool {
        if self.conditions.is_empty() && self.body.is_none() {
            return true;
        }
        let envelope = letter.envelope();
        let payload = envelope.as_ref().map_or(Cow::Borrowed(letter.body.as_slice()), Envelope::payload);
        let in_body = |pattern: &Pattern| pattern.is_in(&letter.body) || pattern.is_in(&payload);
        let content = condition::Content {
            // Parsed only if a condition needs it.
            payload: std::cell::LazyCell::new(|| serde_json::from_slice(&payload).ok()),
            envelope: envelope.as_ref(),
            attributes: &letter.attributes,
        };
        self.body.as_ref().is_none_or(in_body) && self.conditions.iter().all(|condition| condition.holds(&content))
    }
}
