//! Which messages come back during the run that redrove them.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::Parked;

/// A few bytes for each message that was redriven. A message is known by its envelope's id, or else by its body: nothing that a
/// broker gives it survives every way back.
#[derive(Default)]
pub(super) struct Returns {
    hasher: RandomState,
    /// How often a message had been redriven before this run redrove it, by what it is known by.
    sent: HashMap<u64, u32>,
}

impl Returns {
    pub(super) fn sent(&mut self, parked: &Parked) {
        self.sent.insert(self.key(parked), parked.redrives);
    }

    pub(super) fn is_return(&self, parked: &Parked) -> bool {
        self.sent.get(&self.key(parked)).is_some_and(|before| parked.redrives > *before)
    }

    fn key(&self, parked: &Parked) -> u64 {
        if parked.event_type.is_some() { self.hasher.hash_one(&parked.id) } else { self.hasher.hash_one(&parked.body) }
    }
}
