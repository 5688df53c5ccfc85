//! [`RetryPolicy`]: the backoff before a message is received again, and the policies of a consumer.

use std::time::Duration;

use crate::by_type::ByType;

/// Exponential backoff with full jitter: a random time between zero and `base` × `factor`^(receives − 1), the latter at
/// most `cap`.
///
/// Full jitter spreads the retries of a batch that failed as a whole, with the fewest collisions for the same work
/// (<https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The longest wait after the first receive.
    pub base: Duration,
    /// What the longest wait is multiplied with at each receive; with 1 it stays the same.
    pub factor: u32,
    /// The longest wait after any receive.
    pub cap: Duration,
}

impl Default for RetryPolicy {
    /// Returns a policy of up to 2 s at first, twice as long each time, and at most 15 minutes.
    fn default() -> Self {
        Self { base: Duration::from_secs(2), factor: 2, cap: Duration::from_secs(900) }
    }
}

impl RetryPolicy {
    /// Returns the longest wait after this many receives.
    #[must_use]
    pub fn ceiling(&self, receive_count: u32) -> Duration {
        let factor = self.factor.saturating_pow(receive_count.saturating_sub(1));
        self.base.saturating_mul(factor).min(self.cap)
    }

    pub(crate) fn delay(&self, receive_count: u32) -> Duration {
        let ceiling_ms = u64::try_from(self.ceiling(receive_count).as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(fastrand::u64(0..=ceiling_ms))
    }
}

/// The policies of a consumer.
#[derive(Default)]
pub(crate) struct RetryPolicies {
    pub(crate) by_type: ByType<RetryPolicy>,
    /// The policy of every other type, and of messages that are not events.
    pub(crate) otherwise: RetryPolicy,
}

impl RetryPolicies {
    pub(crate) fn of(&self, event_type: Option<&str>) -> &RetryPolicy {
        event_type.and_then(|event_type| self.by_type.find(event_type)).unwrap_or(&self.otherwise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// <https://github.com/aws-powertools/powertools-lambda-java/issues/437>
    #[test]
    fn waits_double_up_to_the_cap_with_full_jitter() {
        let policy = RetryPolicy { cap: Duration::from_secs(60), ..RetryPolicy::default() };
        for (receive_count, ceiling_s) in [(0, 2), (1, 2), (2, 4), (5, 32), (6, 60), (u32::MAX, 60)] {
            let ceiling = policy.ceiling(receive_count);
            assert_eq!(ceiling.as_secs(), ceiling_s, "after {receive_count} receives");
            let delays: Vec<_> = (0..200).map(|_| policy.delay(receive_count)).collect();
            assert!(delays.iter().all(|delay| *delay <= ceiling));
            assert!(
                delays.iter().any(|delay| *delay < ceiling / 4) && delays.iter().any(|delay| *delay > ceiling / 4 * 3)
            );
        }
        let endless = RetryPolicy { base: Duration::MAX, factor: u32::MAX, cap: Duration::MAX };
        assert_eq!(endless.ceiling(9), Duration::MAX);
        endless.delay(9);
    }

    #[test]
    fn the_longest_wait_grows_by_the_factor() {
        for (factor, ceilings_s) in [(0, [2, 0, 0, 0]), (1, [2, 2, 2, 2]), (3, [2, 6, 18, 54]), (10, [2, 20, 200, 900])]
        {
            let policy = RetryPolicy { factor, ..RetryPolicy::default() };
            assert_eq!([1, 2, 3, 4].map(|receives| policy.ceiling(receives).as_secs()), ceilings_s, "{factor}");
        }
    }

    #[test]
    fn a_type_may_have_a_policy_of_its_own() {
        let policy = |base_s| RetryPolicy { base: Duration::from_secs(base_s), ..RetryPolicy::default() };
        let consumer = crate::Consumer::builder()
            .retry(policy(1))
            .retry_for("payment.*", policy(10))
            .retry_for("payment.refunded", policy(20));
        for (event_type, base_s) in
            [(Some("payment.made"), 10), (Some("payment.refunded"), 20), (Some("order.placed"), 1), (None, 1)]
        {
            assert_eq!(consumer.retries.of(event_type), &policy(base_s), "{event_type:?}");
        }
        let twice = consumer.retry_for("payment.*", policy(1)).retry_for("a*b", policy(1)).otherwise(async |_| ());
        let error = twice.build().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains(r#""payment.*" has two retry policies; "a*b" matches no event type"#), "{error}");
    }
}
