//! FIFO queues: groups that are locked while their oldest message is in flight, and the five-minute deduplication
//! window.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use crate::clock::EpochMs;
use crate::limits::DEDUPLICATION_WINDOW_MS;

/// The message groups of one queue. A message is identified by its serial, which grows in order of arrival.
///
/// A group delivers its messages in order, up to the first hidden one (delayed or in flight). A group whose oldest
/// message becomes visible again goes to the end of the order of groups. Both are recorded on AWS. Every change costs
/// the logarithm of the group's and the queue's size.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// Groups whose oldest message is ready, in the order in which they became so.
    eligible: BTreeMap<u64, Arc<str>>,
    turns: u64,
}

#[derive(Debug, Default)]
struct Group {
    /// Every message, and whether it is ready: neither delayed nor in flight.
    messages: BTreeMap<u64, bool>,
    /// The place in `eligible`.
    turn: Option<u64>,
}

impl Groups {
    /// Adds a message to its group, or changes whether it is ready.
    pub(crate) fn set(&mut self, group: &Arc<str>, serial: u64, ready: bool) {
        self.change(group, |messages| {
            messages.insert(serial, ready);
        });
    }

    /// Removes a message.
    pub(crate) fn remove(&mut self, group: &Arc<str>, serial: u64) {
        self.change(group, |messages| {
            messages.remove(&serial);
        });
    }

    /// Returns the oldest message of the group that has been eligible longest.
    pub(crate) fn first_eligible(&self) -> Option<u64> {
        let (_, group) = self.eligible.first_key_value()?;
        Some(*self.groups.get(group)?.messages.first_key_value()?.0)
    }

    /// Returns the message that follows `serial` in its group, if it is ready.
    pub(crate) fn next_ready(&self, group: &Arc<str>, serial: u64) -> Option<u64> {
        let (next, ready) = self.groups.get(group)?.messages.range(serial.checked_add(1)?..).next()?;
        ready.then_some(*next)
    }

    fn change(&mut self, group: &Arc<str>, change: impl FnOnce(&mut BTreeMap<u64, bool>)) {
        let state = self.groups.entry(group.clone()).or_default();
        change(&mut state.messages);
        let is_eligible = state.messages.first_key_value().is_some_and(|(_, ready)| *ready);
        match state.turn {
            None if is_eligible => {
                self.turns += 1;
                state.turn = Some(self.turns);
                self.eligible.insert(self.turns, group.clone());
            }
            Some(turn) if !is_eligible => {
                state.turn = None;
                self.eligible.remove(&turn);
            }
            _ => {}
        }
        if state.messages.is_empty() {
            self.groups.remove(group);
        }
    }
}

/// A map whose entries expire after five minutes.
#[derive(Debug)]
pub(crate) struct Window<K, V> {
    entries: HashMap<K, (EpochMs, V)>,
    by_age: VecDeque<(EpochMs, K)>,
}

impl<K, V> Default for Window<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), by_age: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Window<K, V> {
    /// Returns the value put under this key less than five minutes ago.
    pub(crate) fn get(&self, key: &K, now: EpochMs) -> Option<&V> {
        self.entries.get(key).filter(|(at, _)| !is_over(*at, now)).map(|(_, value)| value)
    }

    /// Puts a value; an older one of the same key is replaced.
    pub(crate) fn put(&mut self, key: K, value: V, now: EpochMs) {
        while let Some((at, _)) = self.by_age.front()
            && is_over(*at, now)
        {
            let Some((_, old)) = self.by_age.pop_front() else { break };
            if self.entries.get(&old).is_some_and(|(at, _)| is_over(*at, now)) {
                self.entries.remove(&old);
            }
        }
        self.by_age.push_back((now, key.clone()));
        self.entries.insert(key, (now, value));
    }
}

fn is_over(at: EpochMs, now: EpochMs) -> bool {
    now.saturating_sub(at) >= DEDUPLICATION_WINDOW_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_entries_expire_after_five_minutes() {
        let mut window = Window::default();
        window.put("a", 1, 1_000);
        assert_eq!(window.get(&"a", 300_999), Some(&1));
        assert_eq!(window.get(&"a", 301_000), None);
        window.put("a", 2, 301_000);
        window.put("b", 3, 301_500);
        assert_eq!(window.get(&"a", 301_500), Some(&2));
        assert_eq!((window.entries.len(), window.by_age.len()), (2, 2), "expired entries are dropped");
    }
}
