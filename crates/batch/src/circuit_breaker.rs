//! [`CircuitBreaker`]: keeps handlers away from a downstream service while it fails.

use std::error::Error;

use sluicegate_breaker::{Breaker, Permit, SLOW_AFTER};
use tokio::time::Instant;

use crate::Outcome;
use crate::outcome::of_error;

/// A breaker around the calls of one downstream service, shared by the handlers that call it.
///
/// Three failures without a success between them open it, and calls then end at once with [`Outcome::RetryAfter`], so
/// that messages wait on the queue and the service is left alone. After 1 to 2 s one call is let through as a probe;
/// its success closes the breaker, and each failure doubles the time, 30 s at most. Execution environments have
/// separate breakers.
///
/// Each return uses up a receive of the message. Set the queue's `maxReceiveCount`, or the consumer's maximum of
/// receives, so that messages outlast an outage.
///
/// ```
/// use std::sync::Arc;
///
/// use sluicegate_batch::{CircuitBreaker, Consumer, Delivery};
///
/// # async fn reserve(_: &Delivery) -> Result<u32, std::io::Error> { Ok(1) }
/// let stock = Arc::new(CircuitBreaker::new("stock"));
/// let consumer = Consumer::builder().on("order.placed", move |delivery: Arc<Delivery>| {
///     let stock = Arc::clone(&stock);
///     async move {
///         let left = stock.call(reserve(&delivery)).await?;
///         tracing::info!(left, "reserved");
///         Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
///     }
/// });
/// ```
#[derive(Debug)]
pub struct CircuitBreaker {
    service: &'static str,
    breaker: Breaker,
}

impl CircuitBreaker {
    /// Creates a closed breaker. The name of the service is for the log.
    #[must_use]
    pub fn new(service: &'static str) -> Self {
        Self { service, breaker: Breaker::default() }
    }

    /// Calls the service: `?` in a handler returns the outcome.
    ///
    /// An error counts as a failure of the service, unless it is or has an [`Outcome::Reject`] or an
    /// [`Outcome::Done`]: then the message decided. A call of 3 s or longer that is dropped, as at the deadline of the
    /// handler, counts as a failure too.
    ///
    /// # Errors
    /// That of the call; or, while the breaker is open, [`Outcome::RetryAfter`] with the time until the next probe.
    pub async fn call<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Box<dyn Error + Send + Sync>>
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let permit = self.breaker.permit().map_err(Outcome::RetryAfter)?;
        let mut call = Call { service: self.service, permit: Some(permit), started: Instant::now() };
        match work.await {
            Ok(value) => {
                call.succeeded();
                Ok(value)
            }
            Err(error) => {
                let error = error.into();
                match of_error(error.as_ref()) {
                    Outcome::Reject(_) | Outcome::Done => drop(call.permit.take()),
                    Outcome::Retry | Outcome::Failed(_) | Outcome::RetryAfter(_) => call.failed(),
                }
                Err(error)
            }
        }
    }
}

/// A call in progress.
struct Call<'b> {
    service: &'static str,
    permit: Option<Permit<'b>>,
    started: Instant,
}

impl Call<'_> {
    fn succeeded(&mut self) {
        if self.permit.take().is_some_and(Permit::succeeded) {
            tracing::info!(service = self.service, "the service answers again");
        }
    }

    fn failed(&mut self) {
        if self.permit.take().is_some_and(Permit::failed) {
            tracing::warn!(service = self.service, "the service fails: messages wait until it answers");
        }
    }
}

impl Drop for Call<'_> {
    /// Ends a call that was dropped. One that had little time says nothing about the service.
    fn drop(&mut self) {
        if self.started.elapsed() >= SLOW_AFTER {
            self.failed();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Arc;
    use std::time::Duration;

    use sluicegate_breaker::{FAILURES_MAX, OPEN_INITIAL};

    use super::*;
    use crate::{Delivery, testing};

    const DOWN: Result<(), &str> = Err("the warehouse is closed");

    /// Returns the outcome of a handler that calls the service with this result.
    async fn outcome(breaker: &Arc<CircuitBreaker>, result: Result<(), Outcome>) -> Outcome {
        let breaker = Arc::clone(breaker);
        let handler = move |_: Arc<Delivery>| {
            let (breaker, result) = (Arc::clone(&breaker), result.clone());
            async move {
                breaker.call(async { result }).await?;
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            }
        };
        testing::json("order.placed", "{}").unwrap().call(handler).await
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_service_fails_messages_wait_until_the_next_probe() {
        let breaker = Arc::new(CircuitBreaker::new("stock"));
        let closed = || Outcome::Failed("closed".to_owned());
        for _ in 0..FAILURES_MAX {
            assert_eq!(outcome(&breaker, Err(closed())).await, closed());
        }
        let Outcome::RetryAfter(rest) = outcome(&breaker, Ok(())).await else { panic!("it is open") };
        assert!(rest > Duration::ZERO && rest <= OPEN_INITIAL, "{rest:?}");
        tokio::time::advance(OPEN_INITIAL).await;
        assert_eq!(outcome(&breaker, Err(closed())).await, closed(), "the probe");
        let Outcome::RetryAfter(longer) = outcome(&breaker, Ok(())).await else { panic!("it is open again") };
        assert!(longer > OPEN_INITIAL / 2, "{longer:?}");
        tokio::time::advance(2 * OPEN_INITIAL).await;
        for _ in 0..2 {
            assert_eq!(outcome(&breaker, Ok(())).await, Outcome::Done, "it is closed");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_is_rejected_says_nothing_about_the_service() {
        let breaker = Arc::new(CircuitBreaker::new("stock"));
        let reject = || Outcome::Reject("no such article".to_owned());
        for _ in 0..2 * FAILURES_MAX {
            assert_eq!(outcome(&breaker, Err(reject())).await, reject());
        }
        let later = Outcome::RetryAfter(Duration::from_secs(60));
        for _ in 0..FAILURES_MAX {
            assert_eq!(outcome(&breaker, Err(later.clone())).await, later);
        }
        assert_ne!(outcome(&breaker, Ok(())).await, Outcome::Done, "a service that asks to wait opens it");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_answer_until_the_deadline_opens_it() {
        let breaker = CircuitBreaker::new("stock");
        let dropped_after = async |time| {
            let call = breaker.call(pending::<Result<(), &str>>());
            assert!(tokio::time::timeout(time, call).await.is_err());
        };
        for _ in 0..2 * FAILURES_MAX {
            dropped_after(SLOW_AFTER / 2).await;
        }
        assert!(breaker.call(async { DOWN }).await.is_err_and(|error| !error.is::<Outcome>()), "it is closed");
        for _ in 1..FAILURES_MAX {
            dropped_after(SLOW_AFTER).await;
        }
        let refused = breaker.call(async { Ok::<_, &str>(()) }).await.unwrap_err();
        assert!(matches!(refused.downcast_ref(), Some(Outcome::RetryAfter(_))), "{refused}");
    }
}
