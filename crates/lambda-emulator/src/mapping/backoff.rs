//! Exponential backoff of a poller after failures.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The pause after the first failure. It doubles with each further failure. Lambda lowers its concurrency instead, by
/// an unpublished algorithm:
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-backoff-strategy>
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Failures in a row.
#[derive(Default)]
pub(crate) struct Backoff {
    failures: AtomicU32,
}

impl Backoff {
    pub(crate) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    /// Returns the pause before the next attempt.
    pub(crate) fn pause(&self) -> Duration {
        match self.failures.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            failures => PAUSE_MIN.saturating_mul(1 << (failures - 1).min(16)).min(PAUSE_MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit_and_end_with_the_first_success() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(), Duration::ZERO);
        let pauses: Vec<_> = (0..40)
            .map(|_| {
                backoff.failed();
                backoff.pause().as_millis()
            })
            .collect();
        assert_eq!(pauses[..7], [250, 500, 1_000, 2_000, 4_000, 8_000, 10_000]);
        assert_eq!(pauses.last(), Some(&10_000));
        backoff.succeeded();
        assert_eq!(backoff.pause(), Duration::ZERO);
    }
}
