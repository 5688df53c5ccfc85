//! [`Filter`]: selects messages.
//!
//! Patterns are those of the `regex` crate: without back-references and in linear time
//! (<https://docs.rs/regex/latest/regex/#untrusted-input>), so a pattern cannot stall a run.

mod condition;
mod pattern;
#[cfg(test)]
mod tests;
mod time_bound;

use std::{borrow::Cow, fmt::Display, str::FromStr};

use serde::{Deserialize, Deserializer, de::Error as _};
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

/// The heading of the options in the help of a command.
#[cfg(feature = "clap")]
const HEADING: &str = "Which messages (all given conditions must hold)";

/// Conditions on a message, all of which must hold. Without conditions, every message matches.
///
/// With the feature `clap` they are the options of a command. As JSON they are an object: texts as on the command line,
/// under the names of the fields, `where` and `match`.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Only the message with this id, its own or the broker's; may be repeated
    #[cfg_attr(feature = "clap", arg(long = "id", value_name = "ID", help_heading = HEADING))]
    pub ids: Vec<String>,
    /// Only messages of this type; * matches any text, ? one character; repeat it for more types
    #[cfg_attr(feature = "clap", arg(long = "type", value_name = "TYPE", help_heading = HEADING))]
    #[serde(deserialize_with = "several")]
    pub types: Vec<Glob>,
    /// Only messages with this code of the rejection; * and ? as in --type; repeat it for more codes
    #[cfg_attr(feature = "clap", arg(long = "code", value_name = "CODE", help_heading = HEADING))]
    #[serde(deserialize_with = "several")]
    pub codes: Vec<Glob>,
    /// Only messages whose reason contains this
    #[cfg_attr(feature = "clap", arg(long, value_name = "REGEX", help_heading = HEADING))]
    #[serde(deserialize_with = "one")]
    pub reason: Option<Pattern>,
    /// Only messages dead-lettered at this time or later: 2026-11-21T08:00:00Z, or a time ago: 90s, 30m, 2h, 7d. If the
    /// broker does not record it, as SQS for a message that it moved itself, the time at which the message was created
    /// counts
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", help_heading = HEADING))]
    #[serde(deserialize_with = "one")]
    pub since: Option<TimeBound>,
    /// Only messages dead-lettered before this time; as --since
    #[cfg_attr(feature = "clap", arg(long, value_name = "TIME", help_heading = HEADING))]
    #[serde(deserialize_with = "one")]
    pub until: Option<TimeBound>,
    /// Only messages with this in their payload, or this attribute: /json/pointer=VALUE, /json/pointer~REGEX,
    /// name=VALUE, name~REGEX; may be repeated
    #[cfg_attr(feature = "clap", arg(long = "where", value_name = "CONDITION", help_heading = HEADING))]
    #[serde(rename = "where", deserialize_with = "several")]
    pub conditions: Vec<Condition>,
    /// Only messages whose stored body, or payload, contains this
    #[cfg_attr(feature = "clap", arg(long = "match", value_name = "REGEX", help_heading = HEADING))]
    #[serde(rename = "match", deserialize_with = "one")]
    pub body: Option<Pattern>,
}

/// Reads texts.
fn several<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(texts: D) -> Result<Vec<T>, D::Error> {
    Vec::<String>::deserialize(texts)?.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

/// Reads a text, which may be null.
fn one<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(text: D) -> Result<Option<T>, D::Error> {
    Option::<String>::deserialize(text)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
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
