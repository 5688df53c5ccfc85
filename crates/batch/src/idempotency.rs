//! [`IdempotencyRule`]: handlers whose effects happen once per event, though messages are delivered more than once.
//!
//! Before the handler of such an event is called, its key is claimed with a lease, in one conditional write. The lease
//! ends with the deadline of the function, so a function that was killed blocks a message no longer than it could have
//! run. After the handler, the outcome ends the claim:
//!
//! | outcome | record of the key |
//! |---|---|
//! | done | complete: for the window of the rule, later deliveries are duplicates |
//! | retry, failure, panic, deadline | free for the same payload, because the effect is unknown |
//! | reject | deleted once the message is in the dead-letter queue, so a corrected one can follow under its id |
//! | retry that was the last receive | as after a retry, because the effect is unknown |
//!
//! The result that is stored is the word `done`, followed by the id of the event and the text of
//! [`Delivery::set_result`] if the message has a status. When that message comes again, the text is recorded there, in
//! case the function ended before it did so itself. Another message with the same key may have another sender, which
//! does not get the text.

mod rule;
mod rules;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sluicegate_idempotency::{AnyStore, Begun, Claim, Effect, Store as _};
use tokio::time::Instant;

pub use self::rule::{IdempotencyKey, IdempotencyRule, OnStoreFailure};
pub(crate) use self::rules::Rules;
use crate::by_type::ByType;
use crate::deadlines::Deadlines;
use crate::delivery::Claimed;
use crate::rejection::codes;
use crate::settlement::Disposition;
use crate::{Delivery, Outcome};

/// Longest wait for a claim. It is also at most half of the time that the handler has left.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The stored result of a handled message.
const RESULT: &str = "done";

/// Returns the stored result of a message that is handled.
pub(crate) fn stored_result(delivery: &Delivery) -> Cow<'static, str> {
    match delivery.result().filter(|_| delivery.envelope().has_status()) {
        Some(of_handler) => Cow::Owned(before_result(delivery) + of_handler),
        None => Cow::Borrowed(RESULT),
    }
}

/// Returns what is stored before the result that a handler set. The id is quoted, so that its end is known.
fn before_result(delivery: &Delivery) -> String {
    format!("{RESULT} {}: ", serde_json::Value::from(delivery.envelope().id()))
}

/// The rules of a consumer, and the store of its keys.
pub(crate) struct Idempotency {
    rules: ByType<IdempotencyRule>,
    store: Arc<AnyStore>,
}

/// What is to be done with a message before its handler is called.
#[derive(Debug)]
pub(crate) enum Begin {
    /// It is handled.
    Handle,
    /// Its handler is not called. It is settled as if the handler had decided so.
    Refuse(Outcome),
    /// It was handled before.
    Skip,
    /// Another delivery of it is being handled, which has this time left.
    Wait(Duration),
}

impl Idempotency {
    /// Claims the key of a message with a rule. The delivery then has the lease.
    pub(crate) async fn begin(&self, delivery: &Delivery, deadlines: &Deadlines) -> Begin {
        match self.rules.find(delivery.envelope().event_type()) {
            None => Begin::Handle,
            // Boxed, because other messages do not wait for it, and the future is large.
            Some(rule) => Box::pin(self.claim(rule, delivery, deadlines)).await,
        }
    }

    async fn claim(&self, rule: &IdempotencyRule, delivery: &Delivery, deadlines: &Deadlines) -> Begin {
        let key = match rule.key.of(delivery) {
            Ok(key) => key,
            Err(no_key) => return Begin::Refuse(Outcome::reject(codes::IDEMPOTENCY_KEY_MISSING, no_key.to_string())),
        };
        let now = SystemTime::now();
        let claim = Claim {
            key: &key,
            fingerprint: &rule.fingerprint(delivery),
            now,
            lease_until: now + deadlines.function_until.saturating_duration_since(Instant::now()),
            keep_until: now + Duration::from_secs(u64::from(rule.ttl_days) * 24 * 3_600),
        };
        let left = deadlines.work_until.saturating_duration_since(Instant::now());
        match self.store.begin(&claim, Instant::now() + BEGIN_TIMEOUT.min(left / 2)).await {
            Ok(Begun::New(lease)) => {
                delivery.claimed.get_or_init(|| Claimed { lease, store: Some(Arc::clone(&self.store)) });
                Begin::Handle
            }
            Ok(Begun::Completed { result }) => {
                if delivery.envelope().has_status()
                    && let Some(of_handler) = result.strip_prefix(&before_result(delivery))
                {
                    delivery.result.get_or_init(|| of_handler.to_owned());
                }
                Begin::Skip
            }
            Ok(Begun::InProgress { lease_left }) => Begin::Wait(lease_left),
            Ok(Begun::Conflict) => {
                let reason = "its idempotency key belongs to a message with another type or payload";
                Begin::Refuse(Outcome::reject(codes::IDEMPOTENCY_KEY_REUSED, reason))
            }
            Err(error) => match rule.on_store_failure {
                OnStoreFailure::Closed => {
                    Begin::Refuse(Outcome::Failed(format!("not handled: the idempotency store failed: {error}")))
                }
                OnStoreFailure::Open => {
                    let message_id = delivery.envelope().id();
                    tracing::error!(message_id, reason = %error, "handled without the idempotency store");
                    Begin::Handle
                }
            },
        }
    }

    /// Ends the claim of a message with this disposition, not past `deadline`. `is_last` is true if it was
    /// dead-lettered because it failed. An error is logged: the message is settled whatever happens here.
    pub(crate) async fn end(&self, delivery: &Delivery, disposition: Disposition, is_last: bool, deadline: Instant) {
        // A handler may have stored the result together with its effect.
        if let Some(lease) = delivery.lease().filter(|lease| !lease.is_completed()) {
            let ended = async {
                match disposition {
                    Disposition::Done => self.store.complete(lease, &stored_result(delivery), deadline).await,
                    Disposition::Rejected if !is_last => self.store.abandon(lease, Effect::None, deadline).await,
                    _ => self.store.abandon(lease, Effect::Unknown, deadline).await,
                }
            };
            if let Err(error) = Box::pin(ended).await {
                let (message_id, outcome) = (delivery.envelope().id(), disposition.as_str());
                tracing::error!(message_id, outcome, reason = %error, "the idempotency store did not take the outcome");
            }
        }
    }
}
