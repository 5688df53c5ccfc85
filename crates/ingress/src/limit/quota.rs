//! The arithmetic of a limit: the generic cell rate algorithm (GCRA, ITU-T I.371).
//!
//! What it knows of a caller is one time, at which the next request is due if requests come evenly spaced. A request is
//! admitted unless it is earlier than that by more than the burst allows. Times are nanoseconds on any one clock.

use std::time::Duration;

use sluicegate_contract::RateLimit;

/// The rate of a limit: a request each `period_ns`, or up to `burst` at a time after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) period_ns: u64,
    pub(crate) burst: u32,
}

/// What is left of an allowance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left {
    /// The requests that would be admitted now.
    pub(crate) requests: u32,
    /// The time until it is one more.
    pub(crate) more_in: Duration,
}

impl Quota {
    /// Returns the quota of a limit, which the contract does not let be zero.
    pub(crate) fn of(limit: &RateLimit) -> Self {
        Self::new(limit.limit, limit.window_s)
    }

    /// Returns the quota of so many requests per window.
    pub(crate) fn new(limit: u32, window_s: u32) -> Self {
        let burst = limit.max(1);
        Self { period_ns: u64::from(window_s) * 1_000_000_000 / u64::from(burst), burst }
    }

    /// Returns how long before its due time a request is admitted.
    pub(crate) fn tolerance_ns(self) -> u64 {
        self.period_ns * u64::from(self.burst - 1)
    }

    /// Admits a request; returns when the next is due. For a caller without a past, `due_ns` is 0.
    ///
    /// # Errors
    /// The time after which the request would be admitted.
    pub(crate) fn take(self, due_ns: u64, now_ns: u64) -> Result<u64, Duration> {
        let earliest_ns = due_ns.saturating_sub(self.tolerance_ns());
        if now_ns < earliest_ns {
            return Err(Duration::from_nanos(earliest_ns - now_ns));
        }
        Ok(due_ns.max(now_ns) + self.period_ns)
    }

    /// Returns what is left of an allowance.
    pub(crate) fn left(self, due_ns: u64, now_ns: u64) -> Left {
        let used_ns = due_ns.saturating_sub(now_ns);
        // Those that have come but not fallen due.
        let used = used_ns.div_ceil(self.period_ns.max(1));
        let requests = u64::from(self.burst).saturating_sub(used);
        let more_in_ns = used_ns.saturating_sub(self.period_ns * used.min(u64::from(self.burst)).saturating_sub(1));
        Left { requests: requests.try_into().unwrap_or(u32::MAX), more_in: Duration::from_nanos(more_in_ns) }
    }
}

/// Returns a time in whole seconds, rounded up.
pub(crate) fn whole_s(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    /// What is left and the time until it is one more, or the wait; in seconds.
    type Taken = Result<(u32, u64), u64>;

    /// Takes requests at these seconds.
    fn run(quota: Quota, seconds: &[u64]) -> Vec<Taken> {
        let mut due_ns = 0;
        let mut at = |second: &u64| {
            let now_ns = second * S;
            due_ns = quota.take(due_ns, now_ns).map_err(|wait| wait.as_secs())?;
            let left = quota.left(due_ns, now_ns);
            Ok((left.requests, left.more_in.as_secs()))
        };
        seconds.iter().map(&mut at).collect()
    }

    #[test]
    fn an_allowance_grows_back_at_the_rate_of_the_limit() {
        let quota = Quota::new(3, 60);
        let cases: &[(&[u64], &[Taken])] = &[
            (&[0, 0, 0, 0], &[Ok((2, 20)), Ok((1, 20)), Ok((0, 20)), Err(20)]),
            (&[0, 0, 0, 19, 20, 20], &[Ok((2, 20)), Ok((1, 20)), Ok((0, 20)), Err(1), Ok((0, 20)), Err(20)]),
            (&[0, 5, 50], &[Ok((2, 20)), Ok((1, 15)), Ok((2, 20))]),
            (
                &[0, 0, 0, 3_600, 3_600, 3_600, 3_600],
                &[Ok((2, 20)), Ok((1, 20)), Ok((0, 20)), Ok((2, 20)), Ok((1, 20)), Ok((0, 20)), Err(20)],
            ),
        ];
        for (seconds, expected) in cases {
            assert_eq!(run(quota, seconds), *expected, "{seconds:?}");
        }
        assert_eq!(
            run(Quota::new(1, 86_400), &[1, 1, 86_400, 86_401]),
            [Ok((0, 86_400)), Err(86_400), Err(1), Ok((0, 86_400))]
        );
    }

    #[test]
    fn what_is_left_is_what_would_be_admitted() {
        for (limit, window_s) in [(1, 1), (3, 60), (7, 1), (1_000_000, 1), (1_000_000, 86_400), (1, 86_400)] {
            let quota = Quota::new(limit, window_s);
            for (taken, pause_ns) in
                [(1, 0), (limit.min(5), 1), (limit.min(5), quota.period_ns + 1), (limit.min(100), 7)]
            {
                let now_ns = 90_000 * S;
                let mut due_ns = 0;
                for _ in 0..taken {
                    due_ns = quota.take(due_ns, now_ns).unwrap();
                }
                let now_ns = now_ns + pause_ns;
                let left = quota.left(due_ns, now_ns);
                let mut admitted = 0;
                let mut due = due_ns;
                while let Ok(next) = quota.take(due, now_ns) {
                    (due, admitted) = (next, admitted + 1);
                }
                assert_eq!(left.requests, admitted, "{limit} in {window_s} s, {taken} taken, {pause_ns} ns later");
                // One more exactly when it says, and not before.
                let more_in_ns = u64::try_from(left.more_in.as_nanos()).unwrap();
                if more_in_ns > 0 {
                    assert_eq!(quota.left(due_ns, now_ns + more_in_ns).requests, admitted + 1, "{limit} {window_s}");
                    assert_eq!(quota.left(due_ns, now_ns + more_in_ns - 1).requests, admitted, "{limit} {window_s}");
                }
            }
        }
    }

    #[test]
    fn a_wait_is_whole_seconds_and_never_too_short() {
        for (ns, seconds) in [(0, 0), (1, 1), (S, 1), (S + 1, 2)] {
            assert_eq!(whole_s(Duration::from_nanos(ns)), seconds, "{ns} ns");
        }
    }
}
