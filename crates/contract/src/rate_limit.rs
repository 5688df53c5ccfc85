//! `rateLimit`: how many requests a route admits.

use serde::{Deserialize, Serialize};

/// At most `limit` requests per window, counted by one identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// Requests per window, 1 to [`RATE_LIMIT_REQUESTS_MAX`].
    pub limit: u32,
    /// Seconds, 1 to [`RATE_LIMIT_WINDOW_S_MAX`].
    pub window_s: u32,
    /// The identity that is counted.
    pub by: RateLimitBy,
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
