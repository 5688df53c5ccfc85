//! The latest callers of a limit: constant work for each request, at most [`CALLERS_MAX`] entries of constant size.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// Largest number of callers tracked per limit. A new caller starts with a full allowance. A caller may be dropped once
/// half that number of other callers have called since its last request, so a caller that keeps calling stays limited
/// among any number of others.
pub(crate) const CALLERS_MAX: usize = 10_000;

/// When the next request of each caller is due; see [`Quota`](super::quota::Quota).
///
/// A caller is a hash, so that keys have a constant size for any address text that a proxy forwards.
#[derive(Default)]
pub(crate) struct Callers(Mutex<Generations>);

/// Two generations of callers. A call moves its caller to `young`. When `young` is full, it replaces `old`, whose
/// callers are dropped.
#[derive(Default)]
struct Generations {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Callers {
    /// Replaces the due time of a caller, 0 for a new one, and returns the result. A caller over its limit keeps its
    /// time, and stays young.
    pub(crate) fn replace<E>(&self, caller: u64, next: impl FnOnce(u64) -> Result<u64, E>) -> Result<u64, E> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = generations.young.get(&caller).or_else(|| generations.old.get(&caller)).copied();
        let next = next(known.unwrap_or(0));
        if let Some(due_ns) = next.as_ref().ok().copied().or(known) {
            generations.young.insert(caller, due_ns);
        }
        if generations.young.len() >= CALLERS_MAX / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        next
    }

    /// Returns the due time of a caller, 0 for a new one.
    #[cfg(feature = "dynamodb")]
    pub(crate) fn get(&self, caller: u64) -> u64 {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.get(&caller).or_else(|| generations.old.get(&caller)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limit::quota::Quota;

    /// Takes a request of a limit of three a minute.
    fn take(callers: &Callers, caller: u64) -> bool {
        callers.replace(caller, |due_ns| Quota::new(3, 60).take(due_ns, 1)).is_ok()
    }

    #[test]
    fn a_million_callers_cost_bounded_memory_and_constant_time() {
        let time = |range: std::ops::Range<u64>, callers: &Callers| {
            let (count, started) = (range.end - range.start, std::time::Instant::now());
            for caller in range {
                assert!(take(callers, caller), "caller {caller} is new");
            }
            started.elapsed() / u32::try_from(count).unwrap()
        };
        let callers = Callers::default();
        let few = time(0..1_000, &callers);
        let many = time(1_000..1_000_000, &callers);
        println!("per request: {few:?} of 1,000 callers, {many:?} of a million");
        // A factor of ten allows for caches and load; a sweep of all callers for each request would take a factor of a
        // thousand.
        assert!(many < few * 10 + Duration::from_micros(1), "{few:?} became {many:?}");
        let generations = callers.0.into_inner().unwrap();
        assert!(generations.young.len() + generations.old.len() <= CALLERS_MAX);
    }

    #[test]
    fn a_runaway_caller_stays_limited_among_many_others() {
        let callers = Callers::default();
        let mut allowed = 0;
        for other in 1..=100_000 {
            allowed += u32::from(take(&callers, 0));
            assert!(take(&callers, other), "another caller has a separate allowance");
        }
        assert_eq!(allowed, 3);
    }

    #[test]
    fn a_silent_caller_is_dropped_only_after_many_others() {
        for (others, allowed) in [(CALLERS_MAX as u64 / 2 - 1, false), (CALLERS_MAX as u64, true)] {
            let callers = Callers::default();
            for _ in 0..3 {
                assert!(take(&callers, 0));
            }
            for other in 1..=others {
                assert!(take(&callers, other));
            }
            assert_eq!(take(&callers, 0), allowed, "after {others} others");
        }
    }
}
