//! [`Killable`]: a function that may end at any of its awaits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Runs a future until it is ready, or until it was polled so often.
pub(crate) struct Killable<F> {
    future: Pin<Box<F>>,
    polls_left: Option<u32>,
}

impl<F: Future> Killable<F> {
    /// Returns a future that ends with `None` at the await after `polls`.
    pub(crate) fn new(future: F, polls: Option<u32>) -> Self {
        Self { future: Box::pin(future), polls_left: polls }
    }
}

impl<F: Future> Future for Killable<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.polls_left {
            Some(0) => return Poll::Ready(None),
            Some(polls_left) => *polls_left -= 1,
            None => {}
        }
        self.future.as_mut().poll(context).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_future_ends_at_the_await_that_was_chosen() {
        for (polls, expected) in
            [(None, Some(2)), (Some(0), None), (Some(1), None), (Some(2), None), (Some(3), Some(2))]
        {
            let two_awaits = async {
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                2
            };
            assert_eq!(Killable::new(two_awaits, polls).await, expected, "{polls:?}");
        }
    }
}
