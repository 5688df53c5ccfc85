//! [`SeenAgain`]: recognises messages that come back during the run that redrove them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::DeadLetter;

/// The redriven messages, in a few bytes each. A message is identified by its envelope's id, or else by its body,
/// because a broker's id may change when a message returns.
#[derive(Default)]
pub(super) struct SeenAgain {
    hasher: RandomState,
    /// The redrives of each message before this run.
    sent: HashMap<u64, u32>,
}

impl SeenAgain {
    pub(super) fn sent(&mut self, letter: &DeadLetter) {
        self.sent.insert(self.key(letter), letter.redrives);
    }

    pub(super) fn is_return(&self, letter: &DeadLetter) -> bool {
        self.sent.get(&self.key(letter)).is_some_and(|before| letter.redrives > *before)
    }

    fn key(&self, letter: &DeadLetter) -> u64 {
        if letter.event_type.is_some() { self.hasher.hash_one(&letter.id) } else { self.hasher.hash_one(&letter.body) }
    }
}
