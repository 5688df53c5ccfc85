//! [`AnyStore`]: one of the implementations, for a program that chooses when it starts.

use std::time::SystemTime;

use tokio::time::Instant;

use crate::{
    Begun, Claim, Effect, Lease, MemoryStore, MessageState, OpenedStatus, RateLimitStore, Status, StatusStore, Store,
    StoreError, Take, Taken,
};
#[cfg(feature = "dynamodb")]
use crate::{DynamoDbStore, TransactWrite, TransactionError};

/// A store of idempotency keys, rate limits and statuses.
#[derive(Debug)]
#[non_exhaustive]
pub enum AnyStore {
    /// A DynamoDB table.
    #[cfg(feature = "dynamodb")]
    DynamoDb(Box<DynamoDbStore>),
    /// The memory of this process, for tests.
    Memory(MemoryStore),
}

#[cfg(feature = "dynamodb")]
impl AnyStore {
    /// See [`DynamoDbStore::complete_with`]. A store in memory has no tables, and refuses.
    ///
    /// # Errors
    /// [`TransactionError`].
    pub async fn complete_with(
        &self,
        lease: &Lease,
        result: &str,
        writes: Vec<TransactWrite>,
        deadline: Instant,
    ) -> Result<(), TransactionError> {
        match self {
            Self::DynamoDb(store) => store.complete_with(lease, result, writes, deadline).await,
            Self::Memory(_) => {
                let text = "a store in memory has no tables to write to: use a store in DynamoDB";
                Err(StoreError::Refused(text.to_owned()).into())
            }
        }
    }
}

impl Store for AnyStore {
    async fn begin(&self, claim: &Claim<'_>, deadline: Instant) -> Result<Begun, StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.begin(claim, deadline).await,
            Self::Memory(store) => store.begin(claim, deadline).await,
        }
    }

    async fn complete(&self, lease: &Lease, result: &str, deadline: Instant) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.complete(lease, result, deadline).await,
            Self::Memory(store) => store.complete(lease, result, deadline).await,
        }
    }

    async fn abandon(&self, lease: &Lease, effect: Effect, deadline: Instant) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.abandon(lease, effect, deadline).await,
            Self::Memory(store) => store.abandon(lease, effect, deadline).await,
        }
    }
}

impl RateLimitStore for AnyStore {
    async fn take(&self, take: &Take<'_>, deadline: Instant) -> Result<Taken, StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.take(take, deadline).await,
            Self::Memory(store) => store.take(take, deadline).await,
        }
    }
}

impl StatusStore for AnyStore {
    async fn open_status(
        &self,
        id: &str,
        owner: &str,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<OpenedStatus, StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.open_status(id, owner, now, deadline).await,
            Self::Memory(store) => store.open_status(id, owner, now, deadline).await,
        }
    }

    async fn withdraw_status(
        &self,
        opened: &OpenedStatus,
        effect: Effect,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.withdraw_status(opened, effect, deadline).await,
            Self::Memory(store) => store.withdraw_status(opened, effect, deadline).await,
        }
    }

    async fn change_status(
        &self,
        id: &str,
        state: &MessageState,
        now: SystemTime,
        deadline: Instant,
    ) -> Result<(), StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.change_status(id, state, now, deadline).await,
            Self::Memory(store) => store.change_status(id, state, now, deadline).await,
        }
    }

    async fn status(&self, id: &str, now: SystemTime, deadline: Instant) -> Result<Option<Status>, StoreError> {
        match self {
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.status(id, now, deadline).await,
            Self::Memory(store) => store.status(id, now, deadline).await,
        }
    }
}
