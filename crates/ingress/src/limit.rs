//! Rate limits of a route, per principal or per address (GCRA, 429 with Retry-After).
//!
//! A limit counts within one execution environment: N environments admit N times the limit. It keeps one noisy caller
//! from filling a queue. For a hard limit over all environments use the throttling of the gateway.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::StateStore,
};
use sluicegate_contract::{Contract, RateLimitBy};

use crate::{
    authenticate::Authenticated,
    event::Arrival,
    rejection::{Code, Rejection},
};

/// Largest number of callers tracked per route. A new caller starts with a full allowance. A caller may be dropped once
/// half that number of other callers have called since its last request, so a caller that keeps calling stays limited
/// among any number of others.
pub(crate) const CALLERS_MAX: usize = 10_000;

type Limiter<C = DefaultClock> = RateLimiter<u64, Callers, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// The state of the latest callers: constant work for each request, at most [`CALLERS_MAX`] entries of constant size.
#[derive(Default)]
struct Callers(Mutex<Generations>);

/// Two generations of callers. A call moves its caller to `young`. When `young` is full, it replaces `old`, whose
/// callers are dropped.
#[derive(Default)]
struct Generations {
    young: HashMap<u64, Nanos>,
    old: HashMap<u64, Nanos>,
}

impl StateStore for Callers {
    /// A hash of the caller, so that keys have a constant size for any address text that a proxy forwards.
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, caller: &u64, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = generations.young.get(caller).or_else(|| generations.old.get(caller)).copied();
        let measured = measure(known);
        // A caller over its limit keeps its state, and stays young.
        let state = measured.as_ref().ok().map(|(_, state)| *state).or(known);
        if let Some(state) = state {
            generations.young.insert(*caller, state);
        }
        if generations.young.len() >= CALLERS_MAX / 2 {
            generations.old = std::mem::take(&mut generations.young);
        }
        measured.map(|(allowed, _)| allowed)
    }
}

/// The unsigned handshakes that one address may send in a minute. Ours: providers send a few in an hour.
const HANDSHAKES_PER_MINUTE: NonZeroU32 = NonZeroU32::MIN.saturating_add(29);

/// The limiters of the routes with a limit.
pub(crate) struct RateLimits {
    by_operation: BTreeMap<&'static str, (RateLimitBy, Limiter)>,
    handshakes: Limiter,
    clock: DefaultClock,
    hasher: RandomState,
}

impl RateLimits {
    /// Returns the limits of the contract, which cannot contain a limit of zero.
    #[must_use]
    pub(crate) fn new(contract: &'static Contract) -> Self {
        let clock = DefaultClock::default();
        let by_operation = contract
            .operations()
            .iter()
            .filter_map(|operation| {
                let limit = operation.enqueue.rate_limit.as_ref()?;
                let burst = NonZeroU32::new(limit.limit)?;
                let quota = Quota::with_period(Duration::from_secs(u64::from(limit.window_s)) / limit.limit)?;
                let limiter = Limiter::new(quota.allow_burst(burst), Callers::default(), clock.clone());
                Some((operation.id.as_str(), (limit.by, limiter)))
            })
            .collect();
        let handshakes = Limiter::new(Quota::per_minute(HANDSHAKES_PER_MINUTE), Callers::default(), clock.clone());
        Self { by_operation, handshakes, clock, hasher: RandomState::new() }
    }

    /// Takes one unsigned handshake from the allowance of the caller's address.
    ///
    /// # Errors
    /// As for [`RateLimits::check`].
    pub(crate) fn check_handshake(&self, arrival: &Arrival) -> Result<(), Rejection> {
        let address = arrival.source_ip.as_deref().unwrap_or_default();
        self.take(&self.handshakes, ("address", address))
    }

    /// Takes one request from the allowance of the caller.
    ///
    /// # Errors
    /// 429 if the allowance is used up, with the waiting time in `Retry-After`.
    pub(crate) fn check(&self, request: &Authenticated<'_>) -> Result<(), Rejection> {
        let operation = request.routed().operation();
        let Some((by, limiter)) = self.by_operation.get(operation.id.as_str()) else { return Ok(()) };
        let caller = match by {
            RateLimitBy::Principal => (request.principal_domain(), request.principal()),
            RateLimitBy::Address => ("address", request.routed().arrival().source_ip.as_deref().unwrap_or_default()),
        };
        self.take(limiter, caller)
    }

    fn take(&self, limiter: &Limiter, caller: (&str, &str)) -> Result<(), Rejection> {
        limiter.check_key(&self.hasher.hash_one(caller)).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Rejection::new(Code::RateLimited, "The rate limit of this route is exceeded.").header("retry-after", wait_s)
        })
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    /// Returns a limiter of three requests a minute on a manual clock.
    fn limiter(clock: &FakeRelativeClock) -> Limiter<FakeRelativeClock> {
        let quota = Quota::with_period(Duration::from_secs(20)).unwrap().allow_burst(NonZeroU32::new(3).unwrap());
        Limiter::new(quota, Callers::default(), clock.clone())
    }

    fn remembered(limiter: Limiter<FakeRelativeClock>) -> usize {
        let generations = limiter.into_state_store().0.into_inner().unwrap();
        generations.young.len() + generations.old.len()
    }

    #[test]
    fn a_million_callers_cost_bounded_memory_and_constant_time() {
        let time = |callers: std::ops::Range<u64>, limiter: &Limiter<FakeRelativeClock>| {
            let (count, started) = (callers.end - callers.start, std::time::Instant::now());
            for caller in callers {
                assert!(limiter.check_key(&caller).is_ok(), "caller {caller} is new");
            }
            started.elapsed() / u32::try_from(count).unwrap()
        };
        let limiter = limiter(&FakeRelativeClock::default());
        let few = time(0..1_000, &limiter);
        let many = time(1_000..1_000_000, &limiter);
        println!("per request: {few:?} of 1,000 callers, {many:?} of a million");
        // A factor of ten allows for caches and load; a sweep of all callers for each request would take a factor of a
        // thousand.
        assert!(many < few * 10 + Duration::from_micros(1), "{few:?} became {many:?}");
        assert!(remembered(limiter) <= CALLERS_MAX);
    }

    #[test]
    fn a_runaway_caller_stays_limited_among_many_others() {
        let limiter = limiter(&FakeRelativeClock::default());
        let mut allowed = 0;
        for other in 1..=100_000 {
            allowed += u32::from(limiter.check_key(&0).is_ok());
            assert!(limiter.check_key(&other).is_ok(), "another caller has a separate allowance");
        }
        assert_eq!(allowed, 3);
    }

    #[test]
    fn a_silent_caller_is_dropped_only_after_many_others() {
        let clock = FakeRelativeClock::default();
        for (others, allowed) in [(CALLERS_MAX as u64 / 2 - 1, false), (CALLERS_MAX as u64, true)] {
            let limiter = limiter(&clock);
            for _ in 0..3 {
                assert!(limiter.check_key(&0).is_ok());
            }
            for other in 1..=others {
                assert!(limiter.check_key(&other).is_ok());
            }
            assert_eq!(limiter.check_key(&0).is_ok(), allowed, "after {others} others");
        }
    }

    #[test]
    fn an_allowance_grows_back_at_the_rate_of_the_limit() {
        let clock = FakeRelativeClock::default();
        let limiter = limiter(&clock);
        for (after_s, allowed) in [
            (0, [true, true, true, false]),
            (20, [true, false, false, false]),
            (40, [true, true, false, false]),
            (3_600, [true, true, true, false]),
        ] {
            clock.advance(Duration::from_secs(after_s));
            assert_eq!([(); 4].map(|()| limiter.check_key(&7).is_ok()), allowed, "after {after_s} s");
        }
    }
}
