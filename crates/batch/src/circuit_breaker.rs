//! [`CircuitBreaker`]: keeps the calls of handlers away from a service while it fails.

use std::future::Future;
use std::thread;
use std::time::Duration;

use sluicegate_queue::breaker::{Breaker, BreakerLimits, Permit};
use tokio::time::Instant;

use crate::Outcome;

/// A call that is dropped sooner than this says nothing about the service: it may have started shortly before the
/// handler's deadline. The ingress calls a send slow after the same time.
const SLOW_AFTER: Duration = Duration::from_secs(3);

/// A circuit breaker for a service that handlers call. Those that call the same service share it, as a `static` or in
/// an `Arc`:
///
/// ```
/// use std::error::Error;
/// use std::sync::Arc;
///
/// use sluicegate_batch::{CircuitBreaker, Delivery};
///
/// static WAREHOUSE: CircuitBreaker = CircuitBreaker::new("warehouse");
///
/// async fn handle(delivery: Arc<Delivery>) -> Result<(), Box<dyn Error + Send + Sync>> {
///     let stock = WAREHOUSE.call(fetch_stock(delivery.envelope().id())).await??;
///     println!("{stock} in stock");
///     Ok(())
/// }
/// # async fn fetch_stock(_: &str) -> Result<u32, std::io::Error> { Ok(7) }
/// ```
///
/// Failures without a success between them open it. While it is open, calls are not made, and the first `?` returns the
/// message with [`Outcome::RetryAfter`] the time until the next probe. A probe is one call, whose success closes the
/// breaker and whose failure opens it for up to twice as long.
///
/// A call that is dropped after 3 s or more has failed: its handler was cancelled at [`Delivery::deadline`], or after a
/// timeout of the handler. One that is dropped sooner, or that panics, is neither a failure nor a success.
///
/// A returned message has used up a receive, so an outage that outlasts its receives makes it a dead letter. A longer
/// [`BreakerLimits::open_max`] or more receives prevent that. While a probe is in progress, other messages are
/// returned for a second.
///
/// Execution environments share no memory, so each has breakers of its own.
///
/// [`Delivery::deadline`]: crate::Delivery::deadline
#[derive(Debug)]
pub struct CircuitBreaker {
    service: &'static str,
    breaker: Breaker,
}

impl CircuitBreaker {
    /// The limits of [`CircuitBreaker::new`]: 3 failures open it, for up to 2 s at first, as in the ingress for a
    /// broker, and for up to 5 minutes at last. That is longer than in the ingress, because each return of a message
    /// uses up a receive.
    pub const LIMITS_DEFAULT: BreakerLimits =
        BreakerLimits { failures_max: 3, open_initial: Duration::from_secs(2), open_max: Duration::from_secs(300) };

    /// Creates a closed breaker. The name of the service is for the log.
    #[must_use]
    pub const fn new(service: &'static str) -> Self {
        Self::with_limits(service, Self::LIMITS_DEFAULT)
    }

    /// Creates a closed breaker with other limits.
    #[must_use]
    pub const fn with_limits(service: &'static str, limits: BreakerLimits) -> Self {
        Self { service, breaker: Breaker::new(limits) }
    }

    /// Makes a call unless the breaker is open, and returns its result. Every error is a failure of the service.
    ///
    /// # Errors
    /// [`Outcome::RetryAfter`] the time until the next probe. The call was not made.
    pub async fn call<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<Result<T, E>, Outcome> {
        self.call_with(call, |_| true).await
    }

    /// Makes a call as [`CircuitBreaker::call`] does. An error is a failure of the service if `is_failure` returns true
    /// for it, and else an answer, and so a success: a 404, for example.
    ///
    /// # Errors
    /// [`Outcome::RetryAfter`] the time until the next probe. The call was not made.
    pub async fn call_with<T, E>(
        &self,
        call: impl Future<Output = Result<T, E>>,
        is_failure: impl FnOnce(&E) -> bool,
    ) -> Result<Result<T, E>, Outcome> {
        let permit = self.breaker.permit().map_err(Outcome::RetryAfter)?;
        let mut running = RunningCall { service: self.service, started: Instant::now(), permit: Some(permit) };
        let result = call.await;
        let has_failed = result.as_ref().is_err_and(is_failure);
        running.end(has_failed);
        Ok(result)
    }
}

/// A permitted call. Dropped before its end, it counts by how long it ran.
struct RunningCall<'b> {
    service: &'static str,
    started: Instant,
    /// None once the call has ended.
    permit: Option<Permit<'b>>,
}

impl RunningCall<'_> {
    fn end(&mut self, has_failed: bool) {
        let Some(permit) = self.permit.take() else { return };
        let service = self.service;
        if has_failed {
            if permit.failed() {
                tracing::warn!(service, "the service fails: handlers do not call it until a probe succeeds");
            }
        } else if permit.succeeded() {
            tracing::info!(service, "the service answers again");
        }
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        if self.started.elapsed() >= SLOW_AFTER && !thread::panicking() {
            self.end(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::panic::AssertUnwindSafe;
    use std::pin::pin;

    use futures_util::{FutureExt, poll};
    use tokio::time::{advance, timeout};

    use super::*;

    /// So long that the wall clock, which no test sets, does not matter.
    const OPEN_INITIAL: Duration = Duration::from_secs(60);
    const LIMITS: BreakerLimits = BreakerLimits { open_initial: OPEN_INITIAL, ..CircuitBreaker::LIMITS_DEFAULT };

    /// What happens to a call.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Done,
        Away,
        NotFound,
        Panic,
        DroppedAfter(Duration),
    }
    use Happens::{Away, Done, DroppedAfter, NotFound, Panic};

    /// Makes a call; returns whether the breaker permitted it.
    async fn call(breaker: &CircuitBreaker, happens: Happens) -> bool {
        let work = async {
            match happens {
                Done => Ok(()),
                Away => Err(503),
                NotFound => Err(404),
                Panic => panic!("planted"),
                DroppedAfter(_) => pending().await,
            }
        };
        let called = AssertUnwindSafe(breaker.call_with(work, |status| *status >= 500)).catch_unwind();
        let after = if let DroppedAfter(time) = happens { time } else { Duration::MAX };
        !matches!(timeout(after, called).await, Ok(Ok(Err(Outcome::RetryAfter(_)))))
    }

    async fn check(calls: &[Happens], is_open: bool) {
        let breaker = CircuitBreaker::with_limits("warehouse", LIMITS);
        for happens in calls {
            assert!(call(&breaker, *happens).await, "{calls:?}: open before {happens:?}");
        }
        assert_eq!(breaker.call(async { Ok::<_, ()>(()) }).await.is_err(), is_open, "{calls:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn three_failures_in_a_row_open_it_and_answers_panics_and_short_calls_are_none() {
        let (late, soon) = (DroppedAfter(SLOW_AFTER), DroppedAfter(Duration::from_millis(2_999)));
        check(&[Away, Away], false).await;
        check(&[Away, Away, Away], true).await;
        check(&[late, late, late], true).await;
        check(&[Away, soon, late, Panic, Away], true).await;
        check(&[Away, Away, Done, Away, Away], false).await;
        check(&[Away, Away, NotFound, Away, Away], false).await;
        check(&[NotFound; 9], false).await;
        check(&[Panic; 9], false).await;
        check(&[soon; 9], false).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_at_a_time_decides_whether_it_closes() {
        let breaker = CircuitBreaker::with_limits("warehouse", LIMITS);
        for happens in [Away; 3] {
            call(&breaker, happens).await;
        }
        for ends in [DroppedAfter(Duration::from_secs(1)), Panic, DroppedAfter(SLOW_AFTER), NotFound] {
            // The time of the second open time is over too.
            advance(2 * OPEN_INITIAL).await;
            let mut probe = pin!(breaker.call(pending::<Result<(), ()>>()));
            assert!(poll!(&mut probe).is_pending(), "a probe before {ends:?}");
            assert!(!call(&breaker, Done).await, "a second probe before {ends:?}");
            probe.set(breaker.call(pending()));
            assert!(call(&breaker, ends).await, "a dropped probe makes way for {ends:?}");
            let is_open = matches!(ends, DroppedAfter(SLOW_AFTER));
            if is_open {
                assert!(!call(&breaker, Done).await, "the failed probe opens it again");
            }
        }
        assert!(call(&breaker, Done).await && call(&breaker, Done).await, "the answer to the last probe closed it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_mark_returns_the_message_until_the_next_probe() {
        static WAREHOUSE: CircuitBreaker = CircuitBreaker::new("warehouse");
        let handler = async || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            WAREHOUSE.call(async { Err::<(), _>("no answer") }).await??;
            Ok(())
        };
        for _ in 0..3 {
            assert_eq!(Outcome::from(handler().await), Outcome::Failed("no answer".to_owned()));
        }
        let Outcome::RetryAfter(delay) = Outcome::from(handler().await) else { panic!("it is not open") };
        assert!(!delay.is_zero() && delay <= Duration::from_secs(2), "{delay:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn limits_of_any_size_are_accepted() {
        for (failures_max, open) in [(0, Duration::ZERO), (1, Duration::MAX)] {
            let limits = BreakerLimits { failures_max, open_initial: open, open_max: open };
            let breaker = CircuitBreaker::with_limits("warehouse", limits);
            assert!(call(&breaker, Away).await);
            assert_eq!(call(&breaker, Done).await, open.is_zero(), "{limits:?}");
            advance(Duration::from_secs(12 * 3_600)).await;
            assert!(call(&breaker, Done).await, "{limits:?}");
        }
    }
}
