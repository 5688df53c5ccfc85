//! The stage of a route whose idempotency keys are in a store: a key is claimed before its message is enqueued.
//!
//! A claim is one conditional write. Its lease ends with the deadline of the invocation. What a crash leaves behind:
//! before the claim, nothing; between the claim and the receipt, a lease that ends, after which a repeat enqueues the
//! message, under the same id; between the receipt and the result, the same, so that the message may be stored twice
//! under one id. A repeat is answered with 202 only from a stored result, and a result is stored only after a receipt.

use std::time::{Duration, SystemTime};

use lambda_http::Context;
use sluicegate_contract::{OnStoreFailure, Operation};
use sluicegate_idempotency::{AnyStore, Begun, Claim, Effect, Lease, Store as _};
use sluicegate_queue::Receipt;
use tokio::time::Instant;

use crate::{
    enqueue::Identity,
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
};

/// Longest wait for a claim. It is also at most half of the time that the request has left.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// Seconds a caller should wait while another request with its key is in progress, which mostly takes milliseconds.
const IN_PROGRESS_RETRY_AFTER_S: u64 = 1;

/// The fingerprint of every request of a route where the key alone names the request.
const ANY_PAYLOAD: &str = "any";

/// What a claim leads to.
pub(crate) enum Claimed<'s> {
    /// The message is stored already, with this receipt.
    Replay(Receipt),
    /// The message is to be enqueued; with a lease unless the store failed or the request has no key.
    Enqueue(Option<Held<'s>>),
}

/// A claimed key.
pub(crate) struct Held<'s> {
    store: &'s AnyStore,
    lease: Lease,
}

/// Claims the key of a request that has an identity.
///
/// # Errors
/// 500 without a store, 422 for another request under a known key, 409 while the first is in progress, 503 if the store
/// fails and the route is closed then.
pub(crate) async fn claim<'s>(
    store: Option<&'s AnyStore>,
    operation: &Operation,
    identity: Option<Identity>,
    context: &Context,
    deadline: Instant,
) -> Result<Claimed<'s>, Rejection> {
    let Some(identity) = identity else { return Ok(Claimed::Enqueue(None)) };
    let unset = || Rejection::new(Code::Internal, "This route has no store.").log("the store is not set");
    let store = store.ok_or_else(unset)?;
    let rule = operation.enqueue.idempotency.as_ref().and_then(|idempotency| idempotency.store);
    let Some(rule) = rule else { return Ok(Claimed::Enqueue(None)) };
    let now = SystemTime::now();
    let claim = Claim {
        key: &identity.key,
        fingerprint: identity.fingerprint.as_deref().unwrap_or(ANY_PAYLOAD),
        now,
        lease_until: context.deadline(),
        keep_until: now + Duration::from_secs(u64::from(rule.ttl_days) * 24 * 3_600),
    };
    let left = deadline.saturating_duration_since(Instant::now());
    match store.begin(&claim, Instant::now() + BEGIN_TIMEOUT.min(left / 2)).await {
        Ok(Begun::New(lease)) => Ok(Claimed::Enqueue(Some(Held { store, lease }))),
        Ok(Begun::Completed { result }) => Ok(Claimed::Replay(Receipt { id: result, broker_id: String::new() })),
        Ok(Begun::Conflict) => Err(Rejection::new(
            Code::IdempotencyKeyReused,
            "This idempotency key belongs to another request. Send this one with a new key.",
        )),
        Ok(Begun::InProgress { .. }) => Err(Rejection::new(
            Code::RequestInProgress,
            "A request with this idempotency key is in progress. Repeat this one later, with the same key.",
        )
        .header("retry-after", IN_PROGRESS_RETRY_AFTER_S)),
        Err(error) => match rule.on_failure {
            OnStoreFailure::Open => {
                tracing::error!(request_id = context.request_id, reason = %error, "admitted without the store");
                Ok(Claimed::Enqueue(None))
            }
            OnStoreFailure::Closed => Err(Rejection::new(
                Code::StoreUnavailable,
                "Idempotency keys cannot be checked at the moment. Repeat the request with the same key.",
            )
            .header("retry-after", UNAVAILABLE_RETRY_AFTER_S)
            .log(error)),
        },
    }
}

impl Held<'_> {
    /// Stores the result of an attempt to enqueue. A failure is logged: the answer is about the message, which is
    /// stored or not whatever happens here.
    pub(crate) async fn settle(self, receipt: &Result<Receipt, Rejection>, context: &Context, deadline: Instant) {
        let Self { store, lease } = self;
        let settled = match receipt {
            Ok(receipt) => store.complete(&lease, &receipt.id, deadline).await,
            // This attempt may have stored the message, or an earlier one.
            Err(rejection) if rejection.may_be_stored() || lease.is_retry() => {
                store.abandon(&lease, Effect::Unknown, deadline).await
            }
            Err(_) => store.abandon(&lease, Effect::None, deadline).await,
        };
        if let Err(error) = settled {
            tracing::error!(
                request_id = context.request_id,
                reason = %error,
                "the store did not take the result; a repeat is enqueued again under the same id"
            );
        }
    }
}
