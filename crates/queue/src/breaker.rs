//! [`Breaker`]: keeps calls away from a service while it fails, and tries it again by itself.
//!
//! Some failures without a success between them ([`BreakerLimits`]) open a breaker, and calls are then refused at once.
//! After a random time one call is permitted as a probe, and the others are still refused. Its success closes the
//! breaker. Its failure opens it for up to twice as long as before, up to a maximum. A probe that is dropped, or whose
//! result says nothing about the service, makes way for the next one.
//!
//! Execution environments share no memory, so each has separate breakers. Concurrent calls through a closed breaker are
//! not limited.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// What a call is asked to wait while a probe is in progress.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// The longest that a breaker is open under any [`BreakerLimits`]: as long as SQS can hide a message.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html>
const OPEN_MAX: Duration = Duration::from_secs(12 * 3_600);

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerLimits {
    /// Failures without a success between them that open the breaker; 0 is the same as 1.
    pub failures_max: u32,
    /// Longest time that it is open at first.
    pub open_initial: Duration,
    /// Longest time that it is open before a probe; more than 12 hours count as 12.
    pub open_max: Duration,
}

impl BreakerLimits {
    /// Returns how long a breaker is open: at least half of a ceiling that doubles, so that the environments of a
    /// function do not send their probes together.
    fn open_for(&self, failed_probes: u32, random: f64) -> Duration {
        let ceiling = self.open_initial.saturating_mul(1 << failed_probes.min(16)).min(self.open_max).min(OPEN_MAX);
        ceiling.mul_f64(0.5 + random / 2.0)
    }
}

/// The breaker of one service, closed at first.
#[derive(Debug)]
pub struct Breaker {
    limits: BreakerLimits,
    /// Whether the state differs from that of a service that never failed: all that a call of such a service reads.
    is_troubled: AtomicBool,
    state: Mutex<State>,
}

impl Breaker {
    /// Creates a closed breaker.
    #[must_use]
    pub const fn new(limits: BreakerLimits) -> Self {
        Self { limits, is_troubled: AtomicBool::new(false), state: Mutex::new(State::CLOSED) }
    }

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
        self.is_troubled.store(*state != State::CLOSED, Ordering::Relaxed);
        has_closed
    }

    fn failed(&self, is_probe: bool) -> bool {
        let mut state = self.state();
        let has_opened = state.failed(&self.limits, is_probe, Clocks::now(), fastrand::f64());
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
    /// Ends the call with a success; returns whether that closed the breaker.
    pub fn succeeded(mut self) -> bool {
        self.breaker.succeeded(std::mem::take(&mut self.is_probe))
    }

    /// Ends the call with a failure; returns whether that opened the breaker.
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

impl State {
    /// The state of a service that never failed.
    const CLOSED: Self = Self::Closed { failures: 0 };

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
            *self = Self::CLOSED;
        }
        is_open && is_probe
    }

    /// Takes a failure; returns whether it opened a closed breaker. `random` is from 0 to 1.
    fn failed(&mut self, limits: &BreakerLimits, is_probe: bool, now: Clocks, random: f64) -> bool {
        match self {
            Self::Closed { failures } => {
                *failures += 1;
                if *failures < limits.failures_max {
                    return false;
                }
                let until = now.after(limits.open_for(0, random));
                *self = Self::Open { until, failed_probes: 0, is_probing: false };
                true
            }
            Self::Open { until, failed_probes, is_probing } => {
                if is_probe {
                    *failed_probes = failed_probes.saturating_add(1);
                    *until = now.after(limits.open_for(*failed_probes, random));
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
