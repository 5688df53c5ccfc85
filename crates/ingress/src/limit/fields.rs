//! The fields `RateLimit-Policy` and `RateLimit` of answers (draft-ietf-httpapi-ratelimit-headers-11).
//!
//! Both are Lists of Strings with parameters (RFC 9651): of a policy, `q` requests per window of `w` seconds; of what
//! is left, `r` requests now and one more in `t` seconds. The name is the word of the contract, which has only letters.

use std::{fmt::Write as _, time::Duration};

use sluicegate_contract::{RateLimit, RateLimitBy};

use super::quota::{Left, whole_s};
use crate::answer::Answer;

/// What is known of the limits of a request, once they were checked.
#[derive(Debug, Default)]
pub(crate) struct Allowances {
    /// The limits of the route.
    limits: &'static [RateLimit],
    /// What is left of each, in the same order, where it is known.
    left: [Option<Left>; RateLimitBy::ALL.len()],
}

impl Allowances {
    /// Returns the allowances of a route before any is checked.
    pub(crate) fn of(limits: &'static [RateLimit]) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Sets what is left of a limit after a request was admitted.
    pub(crate) fn admitted(&mut self, position: usize, left: Left) {
        if let Some(place) = self.left.get_mut(position) {
            *place = Some(left);
        }
    }

    /// Sets the limit that refuses a request for this long. What the others had taken is given back.
    pub(crate) fn exceeded(&mut self, position: usize, wait: Duration) {
        self.forget();
        self.admitted(position, Left { requests: 0, more_in: wait });
    }

    /// Leaves out what is left, because the request was refused before every limit was checked.
    pub(crate) fn forget(&mut self) {
        self.left = Default::default();
    }

    /// Adds the fields to an answer of a route with limits. A `Retry-After` that would end before there is an allowance
    /// is raised to its time (section 6 of the draft).
    pub(crate) fn add_to(&self, answer: &mut Answer) {
        if self.limits.is_empty() {
            return;
        }
        let (mut policy, mut now) = (String::with_capacity(64), String::with_capacity(64));
        let mut used_up_s = 0;
        for (RateLimit { limit, window_s, by, .. }, left) in self.limits.iter().zip(&self.left) {
            // Writing to a string does not fail.
            let _ = write!(policy, "{}\"{}\";q={limit};w={window_s}", separator(&policy), by.name());
            if let Some(Left { requests, more_in }) = left {
                let more_in_s = whole_s(*more_in);
                let _ = write!(now, "{}\"{}\";r={requests};t={more_in_s}", separator(&now), by.name());
                if *requests == 0 {
                    used_up_s = used_up_s.max(more_in_s);
                }
            }
        }
        let retry_after = answer.headers.iter_mut().find(|(name, _)| name == "retry-after");
        if let Some((_, value)) = retry_after
            && value.parse::<u64>().is_ok_and(|seconds| seconds < used_up_s)
        {
            *value = used_up_s.to_string();
        }
        answer.headers.push(("ratelimit-policy".into(), policy));
        if !now.is_empty() {
            answer.headers.push(("ratelimit".into(), now));
        }
    }
}

fn separator(list: &str) -> &'static str {
    if list.is_empty() { "" } else { ", " }
}
