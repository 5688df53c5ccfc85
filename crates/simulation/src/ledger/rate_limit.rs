//! What the rate limit of a route has admitted and refused, and the checks of it.
//!
//! A limit is the time at which the next request is due if they come evenly spaced, and a burst of them may come before
//! (the generic cell rate algorithm, as in `limit/quota.rs` of the ingress). What the clock of a request was is known
//! only to lie between its start and when the table has counted it.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Ledger, index};
use crate::api::RateLimit;
use crate::aws_service::LATE_MAX;
use crate::http_server::SIGNED_WITHIN;
use crate::property::Property;
use crate::scenario::Scenario;

/// The requests of one route.
#[derive(Default)]
pub(super) struct Limited {
    /// When the accepted ones had counted, and when they came.
    accepted: Vec<(Duration, Duration)>,
    /// How many are not answered.
    open: u32,
    /// The latest time at which the next one may be due.
    due: Duration,
    /// When those whose call to the table had a fault may count once more, at the latest; in order.
    late: VecDeque<Duration>,
    /// Whether a call to the table had a fault.
    is_touched: bool,
}

/// What the answer to a request says of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Accepted,
    /// The limit is used up; how long to wait.
    Refused {
        wait: Duration,
    },
    /// It may have counted.
    Unknown,
    /// There was no answer.
    Lost,
}

/// A request that is answered.
struct Answered {
    came: Duration,
    /// When the table has counted it.
    counted: Option<Duration>,
    now: Duration,
    /// Whether a call of it to the table had a fault, or there was no answer.
    is_touched: bool,
    admission: Admission,
}

impl Limited {
    /// A request is answered. Returns what is wrong about that.
    fn answered(&mut self, limit: RateLimit, skew: Duration, request: &Answered) -> Option<String> {
        let Answered { came, counted, now, is_touched, admission } = *request;
        let period = limit.period();
        while let Some(late) = self.late.pop_front_if(|late| *late <= now) {
            self.due = self.due.max(late) + period;
        }
        self.open = self.open.saturating_sub(1);
        match admission {
            Admission::Refused { wait } if !is_touched => {
                // Each request that may have counted meanwhile makes it one period later.
                let uncounted = self.open + u32::try_from(self.late.len()).unwrap_or(u32::MAX);
                let due = if uncounted > 0 { self.due.max(now) } else { self.due };
                let due = due + period * uncounted + 2 * skew;
                // `Retry-After` is rounded up.
                let admitted = came + limit.tolerance() + wait.saturating_sub(Duration::from_secs(1));
                return (admitted >= due).then(|| {
                    format!("a request of {came:?} was refused for {wait:?}, and the next was due at {due:?} at most")
                });
            }
            Admission::Accepted if counted.is_none() && !is_touched => {
                return Some(format!("a request of {came:?} was accepted that the table has not counted"));
            }
            Admission::Accepted => self.accepted.push((counted.unwrap_or(now), came)),
            Admission::Refused { .. } | Admission::Unknown | Admission::Lost => {}
        }
        self.due = self.due.max(now) + period;
        if is_touched {
            self.is_touched = true;
            self.late.push_back(now + LATE_MAX);
        }
        None
    }

    /// Returns how much earlier than the limit allows a request was accepted at most, and when.
    fn exceeded(&self, limit: RateLimit, skew: Duration) -> Option<(Duration, Duration)> {
        let mut accepted = self.accepted.clone();
        accepted.sort_unstable();
        // Those that have counted from one on came at the earliest start of them, or later.
        let mut earliest = Duration::MAX;
        for (_, came) in accepted.iter_mut().rev() {
            earliest = earliest.min(*came);
            *came = earliest;
        }
        let mut due = Duration::ZERO;
        let early = accepted.into_iter().map(|(counted, came)| {
            let was_due = due.max(came);
            due = was_due + limit.period();
            (was_due.saturating_sub(counted + limit.tolerance() + 2 * skew), counted)
        });
        early.filter(|(early, _)| !early.is_zero()).max()
    }
}

impl Ledger {
    /// A request starts that counts against the limit of its route.
    pub(crate) fn limit_started(&mut self, is_batch: bool) {
        self.limited[usize::from(is_batch)].open += 1;
    }

    /// The table has counted a request.
    pub(crate) fn limit_counted(&mut self, now: Duration, request: u64) {
        let Some(attempt) = self.attempts.get_mut(index(request)) else { return };
        attempt.counted_at = Some(now);
        if attempt.is_forged {
            let details = format!("forged request {request} has counted against the rate limit");
            self.violated(now, Property::SignaturesHold, &details);
        }
    }

    /// A request is answered that came at `came`.
    pub(crate) fn limit_answered(
        &mut self,
        (came, now): (Duration, Duration),
        scenario: &Scenario,
        request: u64,
        is_batch: bool,
        admission: Admission,
    ) {
        let Some((limit, attempt)) = scenario.rate_limit.zip(self.attempts.get(index(request))) else { return };
        // A call whose signature has a wrong date is refused.
        let may_be_refused = scenario.skew_max > SIGNED_WITHIN;
        let is_touched = attempt.is_store_touched || admission == Admission::Lost || may_be_refused;
        let request = Answered { came, counted: attempt.counted_at, now, is_touched, admission };
        let violated = self.limited[usize::from(is_batch)].answered(limit, scenario.skew_max, &request);
        if let Some(details) = violated {
            self.violated(now, Property::RateLimitsHold, &details);
        }
    }

    /// Checks that the routes have accepted no more than their limit. While the table is away, an open one counts in
    /// each environment.
    pub(super) fn check_rate_limits(&mut self, now: Duration, scenario: &Scenario) {
        let Some(limit) = scenario.rate_limit else { return };
        let is_checked = |limited: &&Limited| !(limited.is_touched && limit.is_open);
        let exceeded = self.limited.iter().filter(is_checked);
        let exceeded: Vec<_> = exceeded.filter_map(|limited| limited.exceeded(limit, scenario.skew_max)).collect();
        for (early, at) in exceeded {
            let details = format!("a request was accepted at {at:?}, {early:?} before the limit admits it");
            self.violated(now, Property::RateLimitsHold, &details);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two requests at a time, and one each 10 s.
    const LIMIT: RateLimit = RateLimit { requests: 2, window_s: 20, is_open: false };

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A request that came, was counted and answered in this second.
    fn at(second: u64, admission: Admission) -> Answered {
        Answered { came: s(second), counted: Some(s(second)), now: s(second), is_touched: false, admission }
    }

    fn touched(second: u64, admission: Admission) -> Answered {
        Answered { is_touched: true, ..at(second, admission) }
    }

    fn refused(second: u64, wait: u64) -> Answered {
        Answered { counted: None, ..at(second, Admission::Refused { wait: s(wait) }) }
    }

    /// Returns whether the answer to the last of these requests is right.
    fn is_right(open: u32, requests: &[Answered]) -> bool {
        let mut limited = Limited { open, ..Limited::default() };
        let mut answer = |request: &Answered| {
            limited.open += 1;
            limited.answered(LIMIT, Duration::ZERO, request).is_none()
        };
        requests.iter().map(&mut answer).last() == Some(true)
    }

    #[test]
    fn a_request_is_refused_only_while_the_limit_is_used_up_and_for_as_long() {
        use Admission::{Accepted, Lost, Unknown};
        let after_two = |last: Answered| is_right(0, &[at(0, Accepted), at(0, Unknown), last]);
        assert!(!is_right(0, &[at(0, Accepted), refused(0, 1)]), "one is left");
        assert!(after_two(refused(0, 10)));
        assert!(!after_two(refused(0, 11)), "the next is due in 10 s");
        assert!(after_two(refused(9, 1)));
        assert!(!after_two(refused(10, 1)));
        // A call that had a fault may count later, a second time.
        assert!(is_right(0, &[touched(0, Unknown), at(0, Accepted), refused(15, 1)]));
        assert!(is_right(0, &[touched(0, Lost), at(0, Accepted), refused(15, 1)]));
        assert!(is_right(0, &[touched(0, Admission::Refused { wait: s(1) })]));
    }

    #[test]
    fn requests_that_are_not_answered_may_count() {
        assert_eq!([0, 1, 2].map(|open| is_right(open, &[refused(50, 10)])), [false, false, true]);
    }

    #[test]
    fn what_is_accepted_has_counted() {
        let uncounted = |is_touched| Answered { counted: None, is_touched, ..at(0, Admission::Accepted) };
        assert!(!is_right(0, &[uncounted(false)]));
        assert!(is_right(0, &[uncounted(true)]));
    }

    #[test]
    fn no_more_are_accepted_than_the_limit_admits() {
        let exceeded = |requests: &[(u64, u64)]| {
            let accepted = requests.iter().map(|(came, counted)| (s(*counted), s(*came))).collect();
            Limited { accepted, ..Limited::default() }.exceeded(LIMIT, Duration::ZERO)
        };
        assert_eq!(exceeded(&[(0, 0), (0, 0), (10, 10), (20, 20), (40, 40), (40, 40)]), None);
        assert_eq!(exceeded(&[(0, 0), (0, 0), (9, 9)]), Some((s(1), s(9))));
        assert_eq!(exceeded(&[(50, 50), (50, 50), (50, 50)]), Some((s(10), s(50))));
        // Its clock may have been that of any time until it counted.
        assert_eq!(exceeded(&[(0, 0), (0, 0), (9, 11)]), None);
        assert_eq!(exceeded(&[(20, 20), (20, 20), (0, 21)]), None);
    }
}
