//! `rateLimit`: how many requests a route admits.

use serde::{Deserialize, Serialize};

use crate::OnStoreFailure;

/// At most `limit` requests per window, counted by one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests per window, 1 to [`RATE_LIMIT_REQUESTS_MAX`].
    pub limit: u32,
    /// Seconds, 1 to [`RATE_LIMIT_WINDOW_S_MAX`].
    pub window_s: u32,
    /// The identity that is counted.
    pub by: RateLimitBy,
    /// For a limit that all environments count together, in a DynamoDB table: what happens to a request while the table
    /// does not answer. `None`: each environment counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<OnStoreFailure>,
}

/// The identity that a rate limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RateLimitBy {
    /// The authenticated caller. The operation is not public.
    Principal,
    /// The client's network address.
    Address,
    /// The route: all of its callers have one allowance.
    Route,
}

impl RateLimitBy {
    /// Every identity. A route has at most one limit of each.
    pub const ALL: [Self; 3] = [Self::Principal, Self::Address, Self::Route];

    /// Returns the word of the contract, which names the limit in answers too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Address => "address",
            Self::Route => "route",
        }
    }
}

/// The highest `rateLimit.limit`, in requests per window. Chosen here: one process does not reach a higher rate.
pub const RATE_LIMIT_REQUESTS_MAX: u32 = 1_000_000;

/// The longest `rateLimit.window`. Chosen here: counts are kept in the process, and no execution environment runs for a
/// day.
pub const RATE_LIMIT_WINDOW_S_MAX: u32 = 86_400;

/// The requests per second above which a limit with a store is a warning: a caller is one item, and DynamoDB writes an
/// item 1,000 times a second.
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html>
pub const STORED_RATE_MAX: u32 = 1_000;
