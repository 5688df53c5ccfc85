//! [`MemoryStore`]: records in the memory of one process, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::record::{Record, unix_ms, unix_s};
use crate::{Begun, Claim, Effect, Lease, RateLimitStore, Store, StoreError, Take, Taken};

/// The most records that are kept at a time, of keys and of rate limits each.
pub const RECORDS_MAX: usize = 100_000;

/// A store in memory. Clones share the records.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    keys: Arc<Mutex<HashMap<String, Record>>>,
    /// When the next request of each rate limit and caller is due.
    due_ns: Arc<Mutex<HashMap<String, u64>>>,
}

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> StoreError {
    StoreError::Unavailable(format!("the store has {RECORDS_MAX} records"))
}

impl Store for MemoryStore {
    async fn begin(&self, claim: &Claim<'_>, _deadline: Instant) -> Result<Begun, StoreError> {
        let lease = Lease::new(claim.key);
        let mut records = self.records();
        if let Some(record) = records.get(claim.key)
            && !record.is_free_for(claim)
        {
            return Ok(record.clone().found_by(claim, lease));
        }
        if records.len() >= RECORDS_MAX {
            records.retain(|_, record| record.expires_at_s > unix_s(claim.now));
            if records.len() >= RECORDS_MAX {
                return Err(full());
            }
        }
        let record = Record {
            fingerprint: claim.fingerprint.to_owned(),
            token: lease.token.clone(),
            lease_until_ms: unix_ms(claim.lease_until),
            result: None,
            expires_at_s: unix_s(claim.keep_until),
        };
        records.insert(claim.key.to_owned(), record);
        Ok(Begun::New(lease))
    }

    async fn complete(&self, lease: &Lease, result: &str, _deadline: Instant) -> Result<(), StoreError> {
        let mut records = self.records();
        let record = records.get_mut(&lease.key).filter(|record| record.token == lease.token);
        record.ok_or(StoreError::LeaseLost)?.result = Some(result.to_owned());
        lease.mark_completed();
        Ok(())
    }

    async fn abandon(&self, lease: &Lease, effect: Effect, _deadline: Instant) -> Result<(), StoreError> {
        let mut records = self.records();
        let is_held = |record: &&mut Record| record.token == lease.token && record.result.is_none();
        match (records.get_mut(&lease.key).filter(is_held), effect) {
            (Some(record), Effect::Unknown) => record.lease_until_ms = 0,
            (Some(_), Effect::None) => drop(records.remove(&lease.key)),
            (None, _) => {}
        }
        Ok(())
    }
}

impl RateLimitStore for MemoryStore {
    async fn take(&self, take: &Take<'_>, _deadline: Instant) -> Result<Taken, StoreError> {
        let mut records = self.due_ns.lock().unwrap_or_else(PoisonError::into_inner);
        let known_ns = records.get(take.key).copied();
        let due_ns = known_ns.unwrap_or(0);
        if due_ns > take.latest_ns() {
            return Ok(Taken::Exceeded { due_ns });
        }
        if known_ns.is_none() && records.len() >= RECORDS_MAX {
            records.retain(|_, due_ns| *due_ns > take.now_ns);
            if records.len() >= RECORDS_MAX {
                return Err(full());
            }
        }
        let due_ns = due_ns.max(take.now_ns).saturating_add(take.period_ns);
        records.insert(take.key.to_owned(), due_ns);
        Ok(Taken::Within { due_ns })
    }
}
