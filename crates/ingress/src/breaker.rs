//! [`Breaker`]: keeps requests away from a queue while its broker fails or is slow, and tries it again by itself.
//!
//! [`FAILURES_MAX`] failures without a success between them open a breaker, and requests are then refused at once,
//! without a call of the broker. After a random time one request is sent as a probe, and the others are still refused.
//! Its success closes the breaker. Its failure opens it for up to twice as long as before, [`OPEN_MAX`] at most. A
//! probe that is dropped, or whose result says nothing about the broker, makes way for the next one.
//!
//! Execution environments share no memory, so each has separate breakers. Concurrent sends are not limited:
//! `lambda_runtime::run` gives an environment one request at a time.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use sluicegate_queue::{Receipt, SendError};
use tokio::time::Instant;

/// Failures without a success between them that open a breaker. At the default timeout of 10 s, a broker that does not
/// answer keeps an environment busy for 30 s before that.
const FAILURES_MAX: u32 = 3;

/// Longest time that a breaker is open at first: what a client should wait after one failure
/// ([`SendError::retry_after`]).
const OPEN_INITIAL: Duration = Duration::from_secs(2);

/// Longest time that a breaker is open before a probe: what a client should wait when an operator must act
/// ([`SendError::retry_after`]).
const OPEN_MAX: Duration = Duration::from_secs(30);

/// A success that takes this long counts as a failure. It is longer than one attempt on a connection that died while
/// the environment was frozen: 2.5 s on SQS and on RabbitMQ. It is also the threshold of `SlowAlarm`.
const SLOW_AFTER: Duration = Duration::from_secs(3);

/// What a request is asked to wait while a probe is being sent.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// What a send says about the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answers in time.
    Healthy,
    /// It fails or is slow; the text is for the log.
    Failing(String),
    /// Nothing: the message, the configuration or another service is at fault, or the request had little time.
    Unclear,
}

impl Verdict {
    /// Returns the verdict of a send that took so long. `is_late` says that its deadline has passed.
    pub(crate) fn of(sent: &Result<Receipt, SendError>, took: Duration, is_late: bool) -> Self {
        match sent {
            Ok(_) if took < SLOW_AFTER => Self::Healthy,
            Ok(_) => Self::Failing(format!("stored after {took:.1?}")),
            Err(SendError::NotSent { .. } | SendError::Unknown { .. }) if is_late && took < SLOW_AFTER => Self::Unclear,
            Err(error @ (SendError::NotSent { .. } | SendError::Unknown { .. })) => Self::Failing(error.to_string()),
            Err(
                SendError::PayloadNotStored { .. }
                | SendError::Unroutable { .. }
                | SendError::Refused { .. }
                | SendError::TooLarge { .. },
            ) => Self::Unclear,
        }
    }

    /// Returns the verdict of a batch. One stored message proves that the broker answers, after a time that depends on
    /// the size of the batch.
    pub(crate) fn of_all(sent: &[Result<Receipt, SendError>], took: Duration, is_late: bool) -> Self {
        if sent.iter().any(Result::is_ok) {
            return Self::Healthy;
        }
        let mut verdicts = sent.iter().map(|each| Self::of(each, took, is_late));
        verdicts.find(|verdict| *verdict != Self::Unclear).unwrap_or(Self::Unclear)
    }
}

/// The breaker of one queue, closed at first.
#[derive(Default)]
pub(crate) struct Breaker {
    /// Whether the state differs from that of a queue that never failed: all that a request of such a queue reads.
    is_troubled: AtomicBool,
    state: Mutex<State>,
}

impl Breaker {
    /// Permits one send.
    ///
    /// # Errors
    /// The breaker is open for this time.
    pub(crate) fn permit(&self) -> Result<Permit<'_>, Duration> {
        let is_probe = self.is_troubled.load(Ordering::Relaxed) && self.state().permit(Clocks::now())?;
        Ok(Permit { breaker: self, is_probe })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn succeeded(&self, is_probe: bool, queue: &str) {
        if !self.is_troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.state();
        let has_closed = state.succeeded(is_probe);
        self.is_troubled.store(*state != State::default(), Ordering::Relaxed);
        drop(state);
        if has_closed {
            tracing::info!(queue, "the queue accepts messages again");
        }
    }

    fn failed(&self, is_probe: bool, queue: &str, reason: &str) {
        let mut state = self.state();
        let has_opened = state.failed(is_probe, Clocks::now(), fastrand::f64());
        self.is_troubled.store(true, Ordering::Relaxed);
        drop(state);
        if has_opened {
            tracing::warn!(queue, reason, "the queue does not answer: requests are refused until it does");
        }
    }
}

/// The permission for one send. Dropped without a verdict, it leaves the breaker as it was.
pub(crate) struct Permit<'b> {
    breaker: &'b Breaker,
    is_probe: bool,
}

impl Permit<'_> {
    /// Ends the send with what it says about the broker. The queue's name is for the log.
    pub(crate) fn settle(mut self, queue: &str, verdict: &Verdict) {
        match verdict {
            Verdict::Healthy => self.breaker.succeeded(std::mem::take(&mut self.is_probe), queue),
            Verdict::Failing(reason) => self.breaker.failed(std::mem::take(&mut self.is_probe), queue, reason),
            Verdict::Unclear => {}
        }
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
    /// Every send is permitted.
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
    /// Permits a send; returns whether it is a probe.
    ///
    /// # Errors
    /// The time until another send may be permitted.
    fn permit(&mut self, now: Clocks) -> Result<bool, Duration> {
        let Self::Open { until, is_probing, .. } = self else { return Ok(false) };
        let rest = until.since(now);
        if !rest.is_zero() {
            return Err(rest);
        }
        if std::mem::replace(is_probing, true) { Err(PROBE_WAIT) } else { Ok(true) }
    }

    /// Takes a success; returns whether it closed the breaker. Only a probe does: a send that was permitted before the
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
