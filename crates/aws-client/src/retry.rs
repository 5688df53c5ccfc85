//! Which failed calls are tried again, when, and how many: the rules of the SDK's standard retry mode.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::service::CallError;
use crate::{ATTEMPTS_MAX, BACKOFF_INITIAL, BACKOFF_MAX};

/// Codes of throttling, from the SDK (aws-runtime, `THROTTLING_ERRORS`); the last is that of KMS on behalf of SQS.
const THROTTLING: [&str; 15] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottledException",
    "TooManyRequestsException",
    "ProvisionedThroughputExceededException",
    "TransactionInProgressException",
    "RequestLimitExceeded",
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "RequestThrottled",
    "SlowDown",
    "PriorRequestNotComplete",
    "EC2ThrottledException",
    "KMS.ThrottlingException",
];

/// Codes of other errors that pass, from the SDK (`TRANSIENT_ERRORS`).
const TRANSIENT: [&str; 2] = ["RequestTimeout", "RequestTimeoutException"];

const TRANSIENT_STATUS: [u16; 4] = [500, 502, 503, 504];

/// Retries that all calls of one service may spend before successes pay some back: during an outage, most calls are
/// then tried once.
const BUDGET: u32 = 500;

/// The cost of a retry after an answer, and after none.
const COST: u32 = 5;
const TRANSIENT_COST: u32 = 10;

/// The retries that are left.
pub(super) struct RetryBudget(AtomicU32);

impl RetryBudget {
    pub(super) const fn new() -> Self {
        Self(AtomicU32::new(BUDGET))
    }

    /// Returns how long to wait before the next attempt and what it costs, which [`refund`](Self::refund) takes back;
    /// `None` if there is to be none. `attempt` counts from 1.
    pub(super) fn next(&self, error: &CallError, attempt: u32) -> Option<(Duration, u32)> {
        if attempt >= ATTEMPTS_MAX || !is_retryable(error) {
            return None;
        }
        let cost = if matches!(error, CallError::Answered { .. }) { COST } else { TRANSIENT_COST };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost)).ok()?;
        let backoff = BACKOFF_INITIAL.saturating_mul(1 << (attempt - 1)).min(BACKOFF_MAX).mul_f64(fastrand::f64());
        let asked = match error {
            CallError::Answered { retry_after, .. } => *retry_after,
            _ => None,
        };
        Some((asked.map_or(backoff, |asked| asked.min(BACKOFF_MAX)), cost))
    }

    /// Takes back the cost of a retry that succeeded, or 1 for a call without a retry.
    pub(super) fn refund(&self, cost: u32) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            (left < BUDGET).then(|| left.saturating_add(cost.max(1)).min(BUDGET))
        });
    }
}

/// Returns whether an error code means that a service throttled the request: nothing was done, and a later attempt may
/// succeed.
#[must_use]
pub fn is_throttling(code: &str) -> bool {
    THROTTLING.contains(&code)
}

fn is_retryable(error: &CallError) -> bool {
    match error {
        CallError::Answered { status, code, is_clock_skew, .. } => {
            let known = code.as_deref().is_some_and(|code| is_throttling(code) || TRANSIENT.contains(&code));
            known || *is_clock_skew || TRANSIENT_STATUS.contains(status)
        }
        CallError::Timeout | CallError::Connection(_) => true,
        CallError::Deadline | CallError::Request(_) => false,
    }
}
