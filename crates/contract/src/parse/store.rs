//! `store` and `onStoreFailure`, of idempotency keys and of rate limits.

use sluicegate_yaml::Node;

use super::checker::ContractChecker;
use crate::OnStoreFailure;

/// Reads `store` and `onStoreFailure`. Without a store, the latter and these `others` have no effect, which is a fault.
pub(super) fn store(checker: &mut ContractChecker<'_>, at: &Node, others: &[&str]) -> Option<OnStoreFailure> {
    let failure_at = at.get("onStoreFailure");
    let Some(store_at) = at.get("store") else {
        for field in others.iter().filter_map(|name| at.get(name)).chain(failure_at) {
            checker.fault(field, "has no effect without `store: dynamodb`");
        }
        return None;
    };
    if store_at.text() != Some("dynamodb") {
        checker.fault(store_at, "must be dynamodb");
    }
    match failure_at.map(|field| (field, field.text())) {
        None | Some((_, Some("closed"))) => {}
        Some((_, Some("open"))) => return Some(OnStoreFailure::Open),
        Some((field, _)) => checker.fault(field, "must be open or closed"),
    }
    Some(OnStoreFailure::Closed)
}
