//! The route's rate limit, per principal or per address (GCRA, 429 with Retry-After).
//!
//! It counts in this execution environment alone: with N environments the whole is N times the limit. It keeps one noisy
//! caller from filling a queue; a hard ceiling over all environments is the gateway's throttling.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::keyed::HashMapStateStore,
};
use sluicegate_contract::{Contract, RateLimitBy};

use crate::{
    authenticate::Authenticated,
    rejection::{Code, Rejection},
};

/// Callers remembered per route; beyond it, those who have their full allowance again are forgotten.
pub(crate) const CALLERS_MAX: usize = 10_000;

type Limiter = RateLimiter<String, HashMapStateStore<String>, DefaultClock>;

/// One limiter per route that asks for one.
pub(crate) struct RateLimits {
    by_operation: BTreeMap<&'static str, (RateLimitBy, Limiter)>,
    clock: DefaultClock,
}

impl RateLimits {
    /// The limits of the contract; a limit of zero cannot be in it.
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
                let limiter = RateLimiter::hashmap(quota.allow_burst(burst));
                Some((operation.id.as_str(), (limit.by, limiter)))
            })
            .collect();
        Self { by_operation, clock }
    }

    /// Takes one from the caller's allowance.
    ///
    /// # Errors
    /// When nothing is left of it; `Retry-After` says when there is.
    pub(crate) fn check(&self, request: &Authenticated<'_>) -> Result<(), Rejection> {
        let operation = request.routed().operation();
        let Some((by, limiter)) = self.by_operation.get(operation.id.as_str()) else { return Ok(()) };
        let caller = match by {
            RateLimitBy::Principal => request.principal(),
            RateLimitBy::Address => request.routed().arrival().source_ip.as_deref().unwrap_or_default(),
        };
        if limiter.len() > CALLERS_MAX {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        limiter.check_key(&caller.to_owned()).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            let wait_s = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            Rejection::new(Code::RateLimited, "This route's rate limit is used up.").header("retry-after", wait_s)
        })
    }
}
