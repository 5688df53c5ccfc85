//! [`MemoryStore`]: records in the memory of one process, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::record::{Record, unix_ms, unix_s};
use crate::{Begun, Claim, Effect, Lease, Store, StoreError};

/// The most records that are kept at a time.
pub const RECORDS_MAX: usize = 100_000;

/// A store in memory. Clones share the records.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<HashMap<String, Record>>>);

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
                return Err(StoreError::Unavailable(format!("the store has {RECORDS_MAX} records")));
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
