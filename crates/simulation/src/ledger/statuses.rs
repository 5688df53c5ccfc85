//! The statuses of messages, and the checks of them.

use std::time::Duration;

use super::Ledger;
use crate::dynamodb::Table;
use crate::property::Property;

/// Starts the key of a message's status in the table, before the id of the message.
const KEY_PREFIX: &str = "message/";

/// The attribute with the state of a message, in JSON.
const STATE: &str = "message_state";

/// The state of a message, as far as it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Done,
    Dead,
    /// Any other.
    Open,
}

impl State {
    /// Returns the state that the item of a key has, if it is the status of a message.
    pub(crate) fn of(table: &Table, key: &str) -> Option<Self> {
        key.strip_prefix(KEY_PREFIX)?;
        let text = table.attribute(key, STATE)?["S"].as_str()?;
        Some(match text {
            _ if text.starts_with(r#"{"Done""#) => Self::Done,
            _ if text.starts_with(r#"{"Dead""#) => Self::Dead,
            _ => Self::Open,
        })
    }
}

impl Ledger {
    /// A 202 names the status of a message at this path, or has none. Also the answer to an earlier request that could
    /// not record a status has a path.
    pub(crate) fn located(&mut self, now: Duration, message: u32, id: &str, is_replayed: bool, location: Option<&str>) {
        let entry = self.entry(message);
        let is_wrong = match location {
            Some(path) => path.strip_prefix("/messages/") != Some(id),
            // Without the table, there is no status.
            None => is_replayed || !entry.is_key_touched,
        };
        entry.has_status |= location.is_some() && !is_replayed;
        if is_wrong {
            let details = format!("message {message} was answered with {id} and the location {location:?}");
            self.violated(now, Property::StatusesAreTrue, &details);
        }
    }

    /// An id is that of a message.
    pub(super) fn identified(&mut self, id: &str, message: u32) {
        if !self.ids.contains_key(id) {
            self.ids.insert(id.to_owned(), message);
        }
    }

    /// The status with this key in the table has changed.
    pub(crate) fn status_changed(&mut self, now: Duration, key: &str, from: State, to: State) {
        let message = key.strip_prefix(KEY_PREFIX).and_then(|id| self.ids.get(id).copied());
        let Some(message) = message else { return };
        let entry = self.entry(message);
        let is_true = match to {
            State::Done => entry.is_handled(),
            State::Dead => entry.dead_lettered > 0,
            State::Open => true,
        };
        if !is_true || from == State::Done {
            let details = format!("the status of message {message} was {from:?}, and is {to:?}");
            self.violated(now, Property::StatusesAreTrue, &details);
        }
    }

    /// Checks the statuses that 202s have named, after the queue has drained. An earlier state may replace that of a
    /// dead letter if a clock is wrong, or if two deliveries of the message were on their way at a time.
    pub(super) fn check_statuses(&mut self, now: Duration, table: &Table, are_clocks_right: bool) {
        let mut wrong = Vec::new();
        for (number, entry) in self.messages.iter().enumerate().filter(|(_, entry)| entry.has_status) {
            let Some(id) = &entry.id else { continue };
            let status = State::of(table, &format!("{KEY_PREFIX}{id}"));
            let expected = if entry.is_handled() { State::Done } else { State::Dead };
            let may_be_replaced = entry.is_touched || !are_clocks_right;
            let may_differ = entry.may_be_behind || expected == State::Dead && may_be_replaced;
            if status.is_none() || status != Some(expected) && !may_differ {
                wrong.push(format!("the status of message {number} is {status:?} instead of {expected:?}"));
            }
        }
        for details in wrong {
            self.violated(now, Property::StatusesAreTrue, &details);
        }
    }
}
