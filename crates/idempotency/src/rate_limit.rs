//! [`RateLimitStore`]: rate limits that every environment of a function counts together.

use std::future::Future;

use tokio::time::Instant;

use crate::StoreError;

/// A request against the rate limit of a caller: the generic cell rate algorithm (GCRA). All times are nanoseconds,
/// since 1970 where they are a point in time.
///
/// A request is due when the one before it was due and `period_ns` have passed, or now if that is later. It is within
/// the limit if it comes at most `tolerance_ns` before it is due.
#[derive(Clone, Copy, Debug)]
pub struct Take<'a> {
    /// Names limit and caller, in one name space with [`Claim::key`](crate::Claim::key).
    pub key: &'a str,
    /// The present.
    pub now_ns: u64,
    /// The time between requests at the rate of the limit.
    pub period_ns: u64,
    /// How long before its due time a request is within the limit.
    pub tolerance_ns: u64,
    /// When the next request was due at the last call of this environment, 0 if it is not known. A good guess saves a
    /// write, and a wrong one changes nothing else.
    pub known_due_ns: u64,
}

/// Whether a request is within its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is, and it counts.
    Within {
        /// When the next request is due.
        due_ns: u64,
    },
    /// It is not, and it does not count.
    Exceeded {
        /// When the next request is due.
        due_ns: u64,
    },
}

/// A store of rate limits.
pub trait RateLimitStore: Send + Sync {
    /// Counts a request, not past `deadline`. No write is repeated that may have been carried out, because both would
    /// count.
    ///
    /// # Errors
    /// [`StoreError`]. The request may count all the same.
    fn take(&self, take: &Take<'_>, deadline: Instant) -> impl Future<Output = Result<Taken, StoreError>> + Send;
}

impl Take<'_> {
    /// Returns the latest due time with which the request is within the limit.
    pub(crate) fn latest_ns(&self) -> u64 {
        self.now_ns.saturating_add(self.tolerance_ns)
    }
}
