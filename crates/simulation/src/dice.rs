//! [`Dice`]: every random decision, made of the seed and of what the decision is about.
//!
//! A decision does not depend on earlier ones about other things. So when a message or a fault is left out of a run,
//! the other messages and faults stay as they are.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use fastrand::Rng;

/// The decisions of one simulation.
pub(crate) struct Dice {
    seed: u64,
    rolls: Mutex<HashMap<(&'static str, u64), u32>>,
}

impl Dice {
    /// Returns the dice of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rolls: Mutex::default() }
    }

    /// Returns a generator for decisions about `subject` that are made once.
    pub(crate) fn about(&self, what: &str, subject: u64) -> Rng {
        self.nth(what, subject, 0)
    }

    /// Returns a generator for the next decision about `subject`, and its number, from 0.
    pub(crate) fn next(&self, what: &'static str, subject: u64) -> (Rng, u32) {
        let mut rolls = self.rolls.lock().unwrap_or_else(PoisonError::into_inner);
        let count = rolls.entry((what, subject)).or_insert(0);
        let nth = *count;
        *count += 1;
        (self.nth(what, subject, nth), nth)
    }

    fn nth(&self, what: &str, subject: u64, nth: u32) -> Rng {
        let named = what.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let parts = [named, subject, u64::from(nth)];
        Rng::with_seed(parts.into_iter().fold(mixed(self.seed), |seed, part| mixed(seed ^ part)))
    }
}

/// The finalizer of SplitMix64: close inputs give unrelated outputs. <https://prng.di.unimi.it/splitmix64.c>
fn mixed(input: u64) -> u64 {
    let mut z = input.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_depends_on_the_seed_and_its_subject_alone() {
        let draws = |dice: &Dice, order: [u64; 3]| order.map(|subject| dice.next("send", subject).0.u64(..));
        let (first, second) = (draws(&Dice::new(1), [1, 1, 2]), draws(&Dice::new(1), [2, 1, 1]));
        assert_eq!((first[0], first[1], first[2]), (second[1], second[2], second[0]));
        assert_ne!(first[0], first[1]);
        assert_ne!(draws(&Dice::new(2), [1, 1, 2]), first);
    }
}
