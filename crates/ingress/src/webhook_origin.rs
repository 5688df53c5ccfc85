//! The handshake of the CloudEvents webhook specification (HTTP 1.1 Web Hooks for Event Delivery 1.0.2, section 4).
//!
//! A sender asks with OPTIONS whether it may deliver. `webhookOrigins` of an operation says which may. Nothing is
//! enqueued, and nothing secret is answered.
//!
//! The answer always has the allowed rate, which the specification requires if the sender asked for one and recommends
//! otherwise (4.2.2). It is that of `rateLimit`, whatever rate was asked for, because that is what the route admits.
//!
//! `WebHook-Request-Callback` "allows the delivery target to grant send permission asynchronously" (4.1.3), and a
//! target that "chooses to grant permission by callback" withholds the headers of the answer (4.2). The permission is
//! in the answer here, so the callback is not called: a function would otherwise send requests wherever a caller asks.

use http::StatusCode;
use sluicegate_contract::{Contract, Operation, RateLimit};

use crate::{answer::Answer, event::Arrival, route};

/// The method of deliveries.
const METHOD: &str = "POST";

/// Answers the request of a sender for permission; `None` if it is another request, or its origin is not allowed.
pub(crate) fn answer(contract: &Contract, arrival: &Arrival) -> Option<Answer> {
    if arrival.method != "OPTIONS" {
        return None;
    }
    let origin = arrival.header("webhook-request-origin")?;
    let operation = route::find_method(contract, arrival, METHOD).ok()?.operation;
    let is_allowed = |allowed: &&String| *allowed == "*" || allowed.eq_ignore_ascii_case(origin);
    let allowed = operation.webhook_origins.iter().find(is_allowed)?;
    let headers = [("allow", METHOD), ("webhook-allowed-origin", allowed), ("webhook-allowed-rate", &rate(operation))];
    let headers = headers.map(|(name, value)| (name.into(), value.to_owned())).into();
    Some(Answer { status: StatusCode::OK, headers, body: String::new() })
}

/// Returns the requests per minute that the route admits by the lowest of its limits, at least 1, which is the smallest
/// rate that can be said; `*` without a limit.
fn rate(operation: &Operation) -> String {
    let per_minute = |limit: &RateLimit| (u64::from(limit.limit) * 60 / u64::from(limit.window_s.max(1))).max(1);
    let lowest = operation.enqueue.rate_limits.iter().map(per_minute).min();
    lowest.map_or_else(|| "*".to_owned(), |rate| rate.to_string())
}
