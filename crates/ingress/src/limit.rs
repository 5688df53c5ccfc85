//! Rate limits of a route, per principal, per address and of all callers together (429 with Retry-After).
//!
//! A limit counts within one execution environment: N environments admit N times the limit. It keeps one noisy caller,
//! or one route, from filling a queue. A limit with a store counts over all environments; see `shared`.

mod callers;
mod fields;
mod quota;
#[cfg(feature = "dynamodb")]
mod shared;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    net::Ipv6Addr,
    time::{Duration, Instant},
};

use sluicegate_contract::{Contract, OnStoreFailure, RateLimit, RateLimitBy};

use crate::{
    authenticate::Authenticated,
    event::Arrival,
    rejection::{Code, Rejection},
};
use callers::Callers;
pub(crate) use fields::Allowances;
pub(crate) use quota::whole_s;
use quota::{Left, Quota};

/// The unsigned handshakes that one address may send in a minute. Ours: providers send a few in an hour.
const HANDSHAKES_PER_MINUTE: u32 = 30;

/// The bits of an IPv6 address that name a network: a site has 64 bits of addresses to choose from (RFC 6177).
const IPV6_NETWORK: u128 = !0 << 64;

/// The limiters of the routes with a limit.
pub(crate) struct RateLimits {
    by_operation: BTreeMap<&'static str, Vec<Limiter>>,
    handshakes: Limiter,
    started: Instant,
    hasher: RandomState,
}

/// One limit, and its callers.
struct Limiter {
    by: RateLimitBy,
    quota: Quota,
    /// Set if the limit counts in a store. Times are then those of the system clock.
    store: Option<OnStoreFailure>,
    callers: Callers,
}

impl Limiter {
    fn new(by: RateLimitBy, quota: Quota, store: Option<OnStoreFailure>) -> Self {
        Self { by, quota, store, callers: Callers::default() }
    }

    /// Takes one request from the allowance of a caller, and returns what is left of it.
    ///
    /// # Errors
    /// The time until the caller has one.
    fn take(&self, caller: u64, now_ns: u64) -> Result<Left, Duration> {
        let due_ns = self.callers.replace(caller, |due_ns| self.quota.take(due_ns, now_ns))?;
        Ok(self.quota.left(due_ns, now_ns))
    }

    /// Gives back what a request took that is refused all the same.
    fn give_back(&self, caller: u64) {
        let back = |due_ns: u64| Ok::<_, Infallible>(due_ns.saturating_sub(self.quota.period_ns));
        let Ok(_) = self.callers.replace(caller, back);
    }
}

impl RateLimits {
    /// Returns the limits of the contract.
    #[must_use]
    pub(crate) fn new(contract: &'static Contract) -> Self {
        let limiter = |limit: &RateLimit| Limiter::new(limit.by, Quota::of(limit), limit.store);
        let by_operation = contract
            .operations()
            .iter()
            .filter(|operation| !operation.enqueue.rate_limits.is_empty())
            .map(|operation| (operation.id.as_str(), operation.enqueue.rate_limits.iter().map(limiter).collect()))
            .collect();
        let handshakes = Limiter::new(RateLimitBy::Address, Quota::new(HANDSHAKES_PER_MINUTE, 60), None);
        Self { by_operation, handshakes, started: Instant::now(), hasher: RandomState::new() }
    }

    /// Takes one unsigned handshake from the allowance of the caller's address.
    ///
    /// # Errors
    /// As for [`RateLimits::check`].
    pub(crate) fn check_handshake(&self, arrival: &Arrival) -> Result<(), Rejection> {
        let caller = self.hasher.hash_one(("address", network(arrival)));
        self.handshakes.take(caller, self.now_ns()).map(drop).map_err(|wait| refusal(None, wait))
    }

    /// Takes one request from each allowance of the route that this environment counts; from none if one is used up.
    ///
    /// # Errors
    /// 429 for the first that is used up, with the waiting time in `Retry-After`.
    pub(crate) fn check(&self, request: &Authenticated<'static>, allowances: &mut Allowances) -> Result<(), Rejection> {
        let operation = request.routed().operation();
        if operation.enqueue.rate_limits.is_empty() {
            return Ok(());
        }
        *allowances = Allowances::of(&operation.enqueue.rate_limits);
        let now_ns = self.now_ns();
        for (position, limiter) in self.of(request).iter().enumerate().filter(|(_, limiter)| limiter.store.is_none()) {
            match limiter.take(self.caller(limiter.by, request), now_ns) {
                Ok(left) => allowances.admitted(position, left),
                Err(wait) => {
                    self.give_back(request, position);
                    allowances.exceeded(position, wait);
                    return Err(refusal(Some(limiter.by), wait));
                }
            }
        }
        Ok(())
    }

    /// Gives back what a request that is refused took from the first allowances that this environment counts.
    fn give_back(&self, request: &Authenticated<'_>, count: usize) {
        for limiter in self.of(request).iter().take(count).filter(|limiter| limiter.store.is_none()) {
            limiter.give_back(self.caller(limiter.by, request));
        }
    }

    /// Returns the limiters of the route, in the order of the contract.
    fn of(&self, request: &Authenticated<'_>) -> &[Limiter] {
        self.by_operation.get(request.routed().operation().id.as_str()).map_or(&[], Vec::as_slice)
    }

    fn caller(&self, by: RateLimitBy, request: &Authenticated<'_>) -> u64 {
        self.hasher.hash_one(caller(by, request))
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
    }
}

/// Returns whom a request counts against, with the kind of name.
fn caller<'r>(by: RateLimitBy, request: &'r Authenticated<'_>) -> (&'r str, Cow<'r, str>) {
    match by {
        RateLimitBy::Principal => (request.principal_domain(), request.principal().into()),
        RateLimitBy::Address => (by.name(), network(request.routed().arrival())),
        RateLimitBy::Route => (by.name(), "".into()),
    }
}

/// Returns the address of the caller; of IPv6 the network, because its owner chooses the rest. Callers without an
/// address are one.
fn network(arrival: &Arrival) -> Cow<'_, str> {
    let address = arrival.source_ip.as_deref().unwrap_or_default();
    match address.parse::<Ipv6Addr>() {
        Ok(ipv6) if ipv6.to_ipv4_mapped().is_none() => {
            Ipv6Addr::from_bits(ipv6.to_bits() & IPV6_NETWORK).to_string().into()
        }
        _ => address.into(),
    }
}

/// Returns the rejection of a request over a limit; `by` names one that answers have in their fields.
fn refusal(by: Option<RateLimitBy>, wait: Duration) -> Rejection {
    let rejection = Rejection::new(Code::RateLimited, "The rate limit of this route is exceeded.");
    let log = by.map(|by| format!("the limit by {} is used up", by.name()).into());
    Rejection { exceeded: by, log, ..rejection }.header("retry-after", whole_s(wait))
}
