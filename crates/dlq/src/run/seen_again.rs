//! Which messages come back during the run that redrove them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::DeadLetter;

/// A few bytes for each message that was redriven. A message is known by its envelope's id, or else by its body: nothing that a
/// broker gives it survives every way back.
#[derive(Default)]
pub(super) struct SeenAgain {
    hasher: RandomState,
    /// How often a message had been redriven before this run redrove it, by what it is known by.
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
