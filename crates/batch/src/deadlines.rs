//! [`Deadlines`]: the points in time by which a batch must be handled and settled.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// The deadlines of one batch, in this order.
#[derive(Clone, Copy)]
pub(crate) struct Deadlines {
    /// Handlers are cancelled, and no further message is started.
    pub(crate) work_until: Instant,
    /// Waiting for a dead-letter queue ends. The time that remains is for returning messages, so that the other
    /// messages get their delays even if a dead-letter queue does not answer.
    pub(crate) dead_letter_until: Instant,
    /// Settling ends. The time that remains is for the response.
    pub(crate) settle_until: Instant,
    /// The function ends.
    pub(crate) function_until: Instant,
}

impl Deadlines {
    /// Returns deadlines of a test: the function ends when settling does.
    #[cfg(test)]
    pub(crate) fn at(work_until: Instant, dead_letter_until: Instant, settle_until: Instant) -> Self {
        Self { work_until, dead_letter_until, settle_until, function_until: settle_until }
    }

    /// Divides the time until `function_deadline`: the last `margin`, at most a quarter of all, is kept for settling.
    pub(crate) fn new(function_deadline: SystemTime, margin: Duration) -> Self {
        let now = Instant::now();
        let left = function_deadline.duration_since(SystemTime::now()).unwrap_or_default();
        let margin = margin.min(left / 4);
        Self {
            work_until: now + (left - margin),
            dead_letter_until: now + (left - margin / 2),
            settle_until: now + (left - margin / 4),
            function_until: now + left,
        }
    }
}
