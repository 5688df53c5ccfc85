//! Limits that all environments count together, in the table that has the idempotency keys too.
//!
//! A request that is admitted is one conditional write. The result of the last one is kept for each caller: a caller
//! over its limit costs no write until its next request is due, because a due time only grows. While the table does not
//! answer, an open limit counts in each environment, as one without a store does.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::Context;
use sluicegate_contract::OnStoreFailure;
use sluicegate_envelope::deterministic_id;
use sluicegate_idempotency::{RateLimitStore as _, StoreError, Take, Taken};
use tokio::time::Instant;

use super::{Allowances, Limiter, RateLimits, caller, quota::Left, refusal};
use crate::{
    AnyStore,
    authenticate::Authenticated,
    rejection::{Code, Rejection, UNAVAILABLE_RETRY_AFTER_S},
};

/// Longest wait for the table, where a write takes milliseconds. It is also at most half of the time that the request
/// has left.
const TAKE_TIMEOUT: Duration = Duration::from_secs(1);

impl RateLimits {
    /// Takes one request from each allowance that is in the store. What [`check`](Self::check) took is given back if
    /// the request is refused; what the store counted before that is not.
    ///
    /// # Errors
    /// 429 for the first that is used up, and 503 if the store fails and the limit is closed then.
    pub(crate) async fn check_shared(
        &self,
        request: &Authenticated<'static>,
        store: Option<&AnyStore>,
        context: &Context,
        deadline: Instant,
        allowances: &mut Allowances,
    ) -> Result<(), Rejection> {
        let unset = || Rejection::new(Code::Internal, "This route has no store.").log("the store is not set");
        let store = store.ok_or_else(unset)?;
        let shared = self.of(request).iter().enumerate();
        for (position, limiter, on_failure) in shared.filter_map(|(at, limiter)| Some((at, limiter, limiter.store?))) {
            let taken = match self.take_shared(limiter, request, store, deadline).await {
                Err(error) if on_failure == OnStoreFailure::Open => {
                    let by = limiter.by.name();
                    tracing::error!(request_id = context.request_id, by, reason = %error, "counted without the store");
                    Ok(limiter.take(self.caller(limiter.by, request), now_ns()))
                }
                taken => taken,
            };
            let rejection = match taken {
                Ok(Ok(left)) => {
                    allowances.admitted(position, left);
                    continue;
                }
                Ok(Err(wait)) => {
                    allowances.exceeded(position, wait);
                    refusal(Some(limiter.by), wait)
                }
                Err(error) => {
                    allowances.forget();
                    let detail = "The rate limit of this route cannot be checked at the moment. Repeat the request.";
                    Rejection::new(Code::StoreUnavailable, detail)
                        .header("retry-after", UNAVAILABLE_RETRY_AFTER_S)
                        .log(error)
                }
            };
            self.give_back(request, usize::MAX);
            return Err(rejection);
        }
        Ok(())
    }

    /// Returns what is left after the request, or the time until one is.
    async fn take_shared(
        &self,
        limiter: &Limiter,
        request: &Authenticated<'_>,
        store: &AnyStore,
        deadline: Instant,
    ) -> Result<Result<Left, Duration>, StoreError> {
        let (hash, came_ns) = (self.caller(limiter.by, request), now_ns());
        let known_due_ns = limiter.callers.get(hash);
        if let Err(wait) = limiter.quota.take(known_due_ns, came_ns) {
            return Ok(Err(wait));
        }
        let (domain, name) = caller(limiter.by, request);
        let named = [request.routed().operation().id.as_str(), limiter.by.name(), domain, &*name];
        let key = format!("limit/{}", deterministic_id(named));
        let (period_ns, tolerance_ns) = (limiter.quota.period_ns, limiter.quota.tolerance_ns());
        let take = Take { key: &key, now_ns: came_ns, period_ns, tolerance_ns, known_due_ns };
        let left = deadline.saturating_duration_since(Instant::now());
        let taken = store.take(&take, Instant::now() + TAKE_TIMEOUT.min(left / 2)).await?;
        let (Taken::Within { due_ns } | Taken::Exceeded { due_ns }) = taken;
        let Ok(_) = limiter.callers.replace(hash, |known_ns| Ok::<_, Infallible>(known_ns.max(due_ns)));
        // Not `came_ns`: if a request that came later was counted first, the due time counts from when that one came.
        let now_ns = now_ns();
        Ok(match taken {
            Taken::Within { due_ns } => Ok(limiter.quota.left(due_ns, now_ns)),
            // Without a wait, if its turn has come meanwhile.
            Taken::Exceeded { due_ns } => Err(limiter.quota.take(due_ns, now_ns).err().unwrap_or_default()),
        })
    }
}

/// Returns the present in nanoseconds since 1970.
fn now_ns() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().try_into().unwrap_or(u64::MAX)
}
