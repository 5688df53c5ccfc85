//! `rateLimit` of `x-sluicegate`: one limit, or a list of limits by different identities.

use sluicegate_yaml::{Data, Node};

use super::attribute_warnings::Request;
use super::checker::ContractChecker;
use super::store;
use crate::{RATE_LIMIT_REQUESTS_MAX, RATE_LIMIT_WINDOW_S_MAX, RateLimit, RateLimitBy, STORED_RATE_MAX};

/// Reads `rateLimit`.
pub(super) fn limits<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Vec<RateLimit> {
    let Data::List(entries) = at.data() else { return limit(checker, at, request).into_iter().collect() };
    if entries.is_empty() {
        checker.fault(at, "has no limit: name one, or leave rateLimit out");
    }
    let mut limits: Vec<RateLimit> = Vec::new();
    for entry in entries {
        let Some(limit) = limit(checker, entry, request) else { continue };
        if limits.iter().any(|other| other.by == limit.by) {
            checker.fault(entry, format!("there is a limit by {} already, above", limit.by.name()));
        }
        limits.push(limit);
    }
    limits
}

fn limit<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Option<RateLimit> {
    checker.fields(at, &["limit", "window", "by", "store", "onStoreFailure"])?;
    let limit = checker.required(at, "limit").and_then(|field| checker.integer(field, 1..=RATE_LIMIT_REQUESTS_MAX));
    let window_s = checker.required(at, "window");
    let window_s = window_s.and_then(|field| checker.duration_s(field, 1..=RATE_LIMIT_WINDOW_S_MAX));
    let store = store::store(checker, at, &[]);
    let by_at = checker.required(at, "by")?;
    let by = checker.choice(by_at, &RateLimitBy::ALL.map(|by| (by.name(), by)))?;
    if by == RateLimitBy::Principal && request.public {
        checker.fault(by_at, "an operation without authentication has no principal; count by address");
        return None;
    }
    let (limit, window_s) = (limit?, window_s?);
    if store.is_some() && limit / window_s >= STORED_RATE_MAX {
        checker.warn(
            at,
            format!("DynamoDB counts about {STORED_RATE_MAX} requests a second of a caller, and fails beyond"),
        );
    }
    Some(RateLimit { limit, window_s, by, store })
}
