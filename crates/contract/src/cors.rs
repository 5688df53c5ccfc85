//! `x-cors`: which web pages may call the API (Fetch standard, CORS protocol).

use serde::{Deserialize, Serialize};

/// The headers of answers that a page may read, besides those that every page may.
pub const CORS_EXPOSED: &str = "accept-encoding, accept-post, allow, etag, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, \
     www-authenticate";

/// The origins that may call the API, with what the contract lets them send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cors {
    /// The origins, such as `https://shop.example.com`; `*` is any.
    pub origins: Vec<String>,
    /// The methods of the contract, upper case.
    pub methods: Vec<String>,
    /// The request headers of the contract, lower case.
    pub headers: Vec<String>,
    /// Seconds that a browser may keep a preflight answer.
    pub max_age_s: u32,
}

impl Cors {
    /// Returns the value of `Access-Control-Allow-Origin` for a request from this origin, if it may call.
    #[must_use]
    pub fn allow_origin(&self, origin: &str) -> Option<&str> {
        self.origins.iter().map(String::as_str).find(|allowed| *allowed == "*" || *allowed == origin)
    }
}
