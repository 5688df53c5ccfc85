//! What makes a queue FIFO: groups that are locked while one of their messages is in flight, and a memory of five minutes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use super::limits::DEDUPLICATION_WINDOW_MS;
use crate::clock::EpochMs;

/// The message groups of one queue. Messages are known by their serial, which grows in order of arrival.
///
/// A group is eligible when none of its messages is in flight and its oldest waiting message is ready. Nothing scans: every
/// change costs the logarithm of the group's and the queue's size.
#[derive(Debug, Default)]
pub(super) struct Groups {
    groups: HashMap<Arc<str>, Group>,
    /// Eligible groups by the serial of their oldest message.
    eligible: BTreeMap<u64, Arc<str>>,
}

#[derive(Debug, Default)]
struct Group {
    /// Every message not in flight; the value says whether it is ready (its delay is over).
    waiting: BTreeMap<u64, bool>,
    in_flight: usize,
    eligible_as: Option<u64>,
}

impl Groups {
    /// A message joins its group, or its delay ends.
    pub(super) fn wait(&mut self, group: &Arc<str>, serial: u64, ready: bool) {
        self.change(group, |state| {
            state.waiting.insert(serial, ready);
        });
    }

    /// A waiting message leaves for good.
    pub(super) fn leave(&mut self, group: &Arc<str>, serial: u64) {
        self.change(group, |state| {
            state.waiting.remove(&serial);
        });
    }

    /// A waiting message is delivered: the group is locked.
    pub(super) fn start(&mut self, group: &Arc<str>, serial: u64) {
        self.change(group, |state| {
            state.waiting.remove(&serial);
            state.in_flight += 1;
        });
    }

    /// A message in flight was deleted.
    pub(super) fn finish(&mut self, group: &Arc<str>) {
        self.change(group, |state| state.in_flight = state.in_flight.saturating_sub(1));
    }

    /// A message in flight became visible again: it takes its old place.
    pub(super) fn give_back(&mut self, group: &Arc<str>, serial: u64) {
        self.change(group, |state| {
            state.in_flight = state.in_flight.saturating_sub(1);
            state.waiting.insert(serial, true);
        });
    }

    /// The oldest message of the eligible group that has waited longest.
    pub(super) fn first_eligible(&self) -> Option<(u64, Arc<str>)> {
        self.eligible.first_key_value().map(|(serial, group)| (*serial, group.clone()))
    }

    /// The oldest waiting message of a group if it is ready, whether the group is locked or not.
    pub(super) fn next_ready(&self, group: &Arc<str>) -> Option<u64> {
        let (serial, ready) = self.groups.get(group)?.waiting.first_key_value()?;
        ready.then_some(*serial)
    }

    fn change(&mut self, group: &Arc<str>, change: impl FnOnce(&mut Group)) {
        let state = self.groups.entry(group.clone()).or_default();
        change(state);
        let eligible = match state.waiting.first_key_value() {
            Some((serial, true)) if state.in_flight == 0 => Some(*serial),
            _ => None,
        };
        if state.eligible_as != eligible {
            if let Some(old) = state.eligible_as {
                self.eligible.remove(&old);
            }
            if let Some(new) = eligible {
                self.eligible.insert(new, group.clone());
            }
            state.eligible_as = eligible;
        }
        if state.waiting.is_empty() && state.in_flight == 0 {
            self.groups.remove(group);
        }
    }
}

/// A memory that forgets five minutes after an entry was made.
#[derive(Debug)]
pub(super) struct Window<K, V> {
    entries: HashMap<K, (EpochMs, V)>,
    by_age: VecDeque<(EpochMs, K)>,
}

impl<K, V> Default for Window<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), by_age: VecDeque::new() }
    }
}

impl<K: Clone + Eq + Hash, V> Window<K, V> {
    /// What was put in under this key less than five minutes ago.
    pub(super) fn get(&self, key: &K, now: EpochMs) -> Option<&V> {
        self.entries.get(key).filter(|(at, _)| !is_over(*at, now)).map(|(_, value)| value)
    }

    /// Remembers a value; an older one of the same key is replaced.
    pub(super) fn put(&mut self, key: K, value: V, now: EpochMs) {
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
    fn the_window_forgets_after_five_minutes_and_not_before() {
        let mut window = Window::default();
        window.put("a", 1, 1_000);
        assert_eq!(window.get(&"a", 300_999), Some(&1));
        assert_eq!(window.get(&"a", 301_000), None);
        window.put("a", 2, 301_000);
        window.put("b", 3, 301_500);
        assert_eq!(window.get(&"a", 301_500), Some(&2));
        assert_eq!((window.entries.len(), window.by_age.len()), (2, 2), "what is over is dropped");
    }
}
