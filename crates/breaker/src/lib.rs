//! A circuit breaker: keeps calls away from a service while it fails, and tries it again by itself.
//!
//! [`FAILURES_MAX`] failures without a success between them open a breaker, and calls are then refused at once. After a
//! random time one call is permitted as a probe, and the others are still refused. Its success closes the breaker. Its
//! failure opens it for up to twice as long as before, [`OPEN_MAX`] at most. A probe that is dropped, or whose result
//! says nothing about the service, makes way for the next one.
//!
//! ```
//! use sluicegate_breaker::Breaker;
//!
//! # fn call() -> Result<(), ()> { Ok(()) }
//! let breaker = Breaker::default();
//! match breaker.permit() {
//!     Err(rest) => println!("not called: try again in {rest:?}"),
//!     Ok(permit) => match call() {
//!         Ok(()) => drop(permit.succeeded()),
//!         Err(()) => drop(permit.failed()),
//!     },
//! }
//! ```
//!
//! Execution environments share no memory, so each has separate breakers. Concurrent calls are not limited.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// Failures without a success between them that open a breaker. At a timeout of 10 s, a service that does not answer
/// keeps an environment busy for 30 s before that.
pub const FAILURES_MAX: u32 = 3;

/// Longest time that a breaker is open at first: what a client of the ingress should wait after one failure.
pub const OPEN_INITIAL: Duration = Duration::from_secs(2);

/// Longest time that a breaker is open before a probe: what a client of the ingress should wait when an operator must
/// act.
pub const OPEN_MAX: Duration = Duration::from_secs(30);

/// A call that takes this long counts as a failure. It is longer than one attempt on a connection that died while the
/// environment was frozen: 2.5 s on SQS and on RabbitMQ. It is also the threshold of `SlowAlarm`.
pub const SLOW_AFTER: Duration = Duration::from_secs(3);

/// What a call is asked to wait while a probe is in progress.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// The breaker of one service, closed at first.
#[derive(Debug, Default)]
pub struct Breaker {
    /// Whether the state differs from that of a service that never failed: all that a call of such a service reads.
    is_troubled: AtomicBool,
    state: Mutex<State>,
}

impl Breaker {
    /// Permits one call.
    ///
    /// # Errors
    /// The breaker is open for this time.
    pub fn permit(&self) -> Result<Permit<'_>, Duration> {
        let is_probe = self.is_troubled.load(Ordering::Relaxed) && self.state().permit(Clocks::now())?;
        Ok(Permit { breaker: self, is_probe })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeeded(&self, is_probe: bool) -> bool {
        if !self.is_troubled.load(Ordering::Relaxed) {
            return false;
        }
        let mut state = self.state();
        let has_closed = state.succeeded(is_probe);
        self.is_troubled.store(*state != State::default(), Ordering::Relaxed);
        has_closed
    }

    fn failed(&self, is_probe: bool) -> bool {
        let mut state = self.state();
        let has_opened = state.failed(is_probe, Clocks::now(), fastrand::f64());
        self.is_troubled.store(true, Ordering::Relaxed);
        has_opened
    }
}

/// The permission for one call. Dropped without a result, it leaves the breaker as it was.
#[derive(Debug)]
#[must_use]
pub struct Permit<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
}

impl Permit<'_> {
    /// Ends a call that the service answered in time. Returns whether that closed the breaker.
    pub fn succeeded(mut self) -> bool {
        self.breaker.succeeded(std::mem::take(&mut self.is_probe))
    }

    /// Ends a call that the service failed, or answered late. Returns whether that opened a closed breaker.
    pub fn failed(mut self) -> bool {
        self.breaker.failed(std::mem::take(&mut self.is_probe))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.breaker.state().released();
        }
    }
}

/// The state of a breaker, on the clocks that are passed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Every call is permitted.
    Closed {
        /// The failures since the last success.
        failures: u32,
    },
    /// None is before `until`, and one at a time from then on.
    Open {
        until: Clocks,
        /// How often probes have failed.
        failed_probes: u32,
        is_probing: bool,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl State {
    /// Permits a call; returns whether it is a probe.
    ///
    /// # Errors
    /// The time until another call may be permitted.
    fn permit(&mut self, now: Clocks) -> Result<bool, Duration> {
        let Self::Open { until, is_probing, .. } = self else { return Ok(false) };
        let rest = until.since(now);
        if !rest.is_zero() {
            return Err(rest);
        }
        if std::mem::replace(is_probing, true) { Err(PROBE_WAIT) } else { Ok(true) }
    }

    /// Takes a success; returns whether it closed the breaker. Only a probe does: a call that was permitted before the
    /// breaker opened says nothing new.
    fn succeeded(&mut self, is_probe: bool) -> bool {
        let is_open = matches!(self, Self::Open { .. });
        if !is_open || is_probe {
            *self = Self::default();
        }
        is_open && is_probe
    }

    /// Takes a failure; returns whether it opened a closed breaker. `random` is from 0 to 1.
    fn failed(&mut self, is_probe: bool, now: Clocks, random: f64) -> bool {
        match self {
            Self::Closed { failures } => {
                *failures += 1;
                if *failures < FAILURES_MAX {
                    return false;
                }
                *self = Self::Open { until: now.after(open_for(0, random)), failed_probes: 0, is_probing: false };
                true
            }
            Self::Open { until, failed_probes, is_probing } => {
                if is_probe {
                    *failed_probes = failed_probes.saturating_add(1);
                    *until = now.after(open_for(*failed_probes, random));
                    *is_probing = false;
                }
                false
            }
        }
    }

    /// Ends a probe without a result.
    fn released(&mut self) {
        if let Self::Open { is_probing, .. } = self {
            *is_probing = false;
        }
    }
}

/// Returns how long a breaker is open: at least half of a ceiling that doubles, so that the environments of a function
/// do not send their probes together.
fn open_for(failed_probes: u32, random: f64) -> Duration {
    let ceiling = OPEN_INITIAL.saturating_mul(1 << failed_probes.min(16)).min(OPEN_MAX);
    ceiling.mul_f64(0.5 + random / 2.0)
}

/// A point in time on two clocks. One of them may stand still while the environment is frozen, and the other may be set
/// back: a time has passed once it has on either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Clocks {
    monotonic: Instant,
    wall: SystemTime,
}

impl Clocks {
    fn now() -> Self {
        Self { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    fn after(self, time: Duration) -> Self {
        Self { monotonic: self.monotonic + time, wall: self.wall + time }
    }

    /// Returns the time from `now` to this, zero if it has passed.
    fn since(self, now: Self) -> Duration {
        let wall = self.wall.duration_since(now.wall).unwrap_or_default();
        self.monotonic.saturating_duration_since(now.monotonic).min(wall)
    }
}

#[cfg(test)]
mod tests;
