//! Remembers which keys were processed, so that an effect happens once per key; counts rate limits; and records the
//! status of messages.
//!
//! A [`Store`] keeps one record for each key. [`begin`](Store::begin) claims the key for this invocation, or returns
//! what is known about it. The caller then does its work, and calls [`complete`](Store::complete) with the result or
//! [`abandon`](Store::abandon) without one.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use sluicegate_idempotency::{Begun, Claim, Effect, MemoryStore, Store};
//! use tokio::time::Instant;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let store = MemoryStore::default();
//! let now = SystemTime::now();
//! let claim = Claim {
//!     key: "orders/o-1",
//!     fingerprint: "sha256 of the payload",
//!     now,
//!     lease_until: now + Duration::from_secs(30),
//!     keep_until: now + Duration::from_secs(7 * 24 * 3_600),
//! };
//! let deadline = Instant::now() + Duration::from_secs(5);
//!
//! let Begun::New(lease) = store.begin(&claim, deadline).await? else { unreachable!() };
//! // … the work, once; then its result, or `abandon(&lease, Effect::None, deadline)`.
//! store.complete(&lease, "reserved", deadline).await?;
//!
//! let again = store.begin(&claim, deadline).await?;
//! assert_eq!(again, Begun::Completed { result: "reserved".to_owned() });
//! # Ok::<(), sluicegate_idempotency::StoreError>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A [`RateLimitStore`] admits a number of requests per key and time, counted by every process together:
//! [`take`](RateLimitStore::take) counts one request, or refuses it.
//!
//! A [`StatusStore`] records what became of a message, for the one that sent it.
//!
//! # Guarantees
//!
//! - Of any number of callers with one key, one at a time has a [`Lease`]. The lease ends with the time that the claim
//!   names, the deadline of the invocation: a process that was killed blocks its key no longer than it could have run.
//!   A caller whose clock is ahead takes the key over earlier by as much.
//! - A result is returned only after `complete` stored it. A crash before it means that the work is done again by the
//!   next caller, never that it is taken as done.
//! - Writes that are given to `DynamoDbStore::complete_with` happen if and only if the result is stored, so at most
//!   once.
//! - A record is bound to the fingerprint of its first caller until it is abandoned without effect or expires.
//! - An expired record counts as absent, even if the store has not deleted it.
//! - Of the requests of one key, no more are within its limit than the limit says, as far as the clocks of the callers
//!   agree: one that is ahead admits as many more as the limit allows in the time that it is ahead.
//!
//! # Implementations
//!
//! [`MemoryStore`] is for tests and for one process. `DynamoDbStore`, behind the feature `dynamodb`, is shared by every
//! environment of a function; it alone has transactions. Both pass one suite. [`AnyStore`] is either.

mod any;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod lease;
mod memory;
mod rate_limit;
mod record;
mod status;

use std::future::Future;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

pub use self::any::AnyStore;
#[cfg(feature = "dynamodb")]
pub use self::dynamodb::{DynamoDbStore, TRANSACTION_WRITES_MAX, TransactWrite, TransactionError};
pub use self::lease::Lease;
pub use self::memory::{MemoryStore, RECORDS_MAX};
pub use self::rate_limit::{RateLimitStore, Take, Taken};
pub use self::status::{MessageState, OpenedStatus, STATUS_KEPT, STATUS_TEXT_BYTES_MAX, Status, StatusStore};

/// What a caller wants to do once.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Names the work, in one name space for all users of the store: 1 to 2,048 bytes.
    ///
    /// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html>
    pub key: &'a str,
    /// Identifies the payload. Another one under the same key is a [`Begun::Conflict`]. The same text for every payload
    /// where the key alone names the work.
    pub fingerprint: &'a str,
    /// The present.
    pub now: SystemTime,
    /// The deadline of the invocation, after which the work cannot go on: then another caller may take the key over.
    pub lease_until: SystemTime,
    /// When the record expires.
    pub keep_until: SystemTime,
}

/// What is known about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nothing, or nothing but attempts that ended without a result. The caller does the work.
    New(Lease),
    /// The work is done.
    Completed {
        /// What [`Store::complete`] was called with.
        result: String,
    },
    /// The key belongs to another payload.
    Conflict,
    /// Another caller is at it.
    InProgress {
        /// How long its lease still runs.
        lease_left: Duration,
    },
}

/// What an abandoned attempt may have left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing, and earlier attempts left nothing either: the key is free again, for any payload. Of a
    /// [retry](Lease::is_retry), only a caller that knows what the earlier attempts did can say so.
    None,
    /// Perhaps everything: the key stays bound to its payload, and may be claimed again at once.
    Unknown,
}

/// A call of a store without a result. The text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store did not answer, or not now. The call may have had its effect.
    #[error("{0}")]
    Unavailable(String),
    /// The store refuses the call until an operator acts, because the table is missing or access is denied for example.
    #[error("{0}")]
    Refused(String),
    /// The lease has ended, and another caller has the key.
    #[error("the lease has ended, and another invocation has the key")]
    LeaseLost,
}

/// A store of records by key.
pub trait Store: Send + Sync {
    /// Claims a key, not past `deadline`, with one conditional write whatever the outcome.
    ///
    /// # Errors
    /// [`StoreError`]. The key may be claimed all the same; the claim then ends with its lease.
    fn begin(&self, claim: &Claim<'_>, deadline: Instant) -> impl Future<Output = Result<Begun, StoreError>> + Send;

    /// Stores the result of the work.
    ///
    /// # Errors
    /// [`StoreError`]. The result may be stored all the same. If it is not, the work is done again for the next caller
    /// after the lease.
    fn complete(
        &self,
        lease: &Lease,
        result: &str,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends a lease without a result. Does nothing if the lease was lost.
    ///
    /// # Errors
    /// [`StoreError`]. The lease then ends by itself.
    fn abandon(
        &self,
        lease: &Lease,
        effect: Effect,
        deadline: Instant,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}
