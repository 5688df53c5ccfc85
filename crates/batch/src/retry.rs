//! [`RetryPolicy`]: the backoff before a message is received again.

use std::time::Duration;

/// Exponential backoff with full jitter: a random time between zero and `base` × 2^(receives − 1), the latter at most
/// `cap`.
///
/// Full jitter spreads the retries of a batch that failed as a whole, with the fewest collisions for the same work
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest wait after the first receive.
    pub base: Duration,
    /// The longest wait after any receive.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    /// Returns a policy of up to 2 s at first, and at most 15 minutes.
    fn default() -> Self {
        Self { base: Duration::from_secs(2), cap: Duration::from_secs(900) }
    }
}

impl RetryPolicy {
    /// Returns the longest wait after this many receives.
    #[must_use]
    pub fn ceiling(&self, receive_count: u32) -> Duration {
        let doublings = receive_count.saturating_sub(1).min(31);
        self.base.saturating_mul(1 << doublings).min(self.cap)
    }

    pub(crate) fn delay(&self, receive_count: u32) -> Duration {
        let ceiling_ms = u64::try_from(self.ceiling(receive_count).as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(fastrand::u64(0..=ceiling_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_with_full_jitter() {
        let policy = RetryPolicy { base: Duration::from_secs(2), cap: Duration::from_secs(60) };
        for (receive_count, ceiling_s) in [(0, 2), (1, 2), (2, 4), (5, 32), (6, 60), (u32::MAX, 60)] {
            let ceiling = policy.ceiling(receive_count);
            assert_eq!(ceiling.as_secs(), ceiling_s, "after {receive_count} receives");
            let delays: Vec<_> = (0..200).map(|_| policy.delay(receive_count)).collect();
            assert!(delays.iter().all(|delay| *delay <= ceiling));
            assert!(
                delays.iter().any(|delay| *delay < ceiling / 4) && delays.iter().any(|delay| *delay > ceiling / 4 * 3)
            );
        }
        let endless = RetryPolicy { base: Duration::MAX, cap: Duration::MAX };
        assert_eq!(endless.ceiling(9), Duration::MAX);
        endless.delay(9);
    }
}
