//! [`MemoryStore`]: records in the memory of one process, for tests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;

use crate::record::{Record, unix_ms, unix_s};
use crate::status::{Before, Change, OPENED_MS, Withdrawal};
use crate::{
    Begun, Claim, Effect, Lease, MessageState, OpenedStatus, RateLimitStore, Status, StatusStore, Store, StoreError,
    Take, Taken,
};

/// The most records that are kept at a time, of keys, of rate limits and of messages each.
pub const RECORDS_MAX: usize = 100_000;

/// A store in memory. Clones share the records.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    keys: Arc<Mutex<HashMap<String, Record>>>,
    /// When the next request of each rate limit and caller is due.
    due_ns: Arc<Mutex<HashMap<String, u64>>>,
    /// The status of each message.
    statuses: Arc<Mutex<HashMap<String, StatusRecord>>>,
}

#[derive(Debug)]
struct StatusRecord {
    status: Status,
    last: Change,
    is_hidden: bool,
    /// The token of the request that opened it last.
    opened_by: String,
}

impl MemoryStore {
    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn statuses(&self) -> MutexGuard<'_, HashMap<String, StatusRecord>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> StoreError {
    StoreError::Unavailable(format!("the store has {RECORDS_MAX} records"))
}

impl Store for MemoryStore {
    async fn begin(&self, claim: &Claim<'_>, _deadline: Instant) -> Result<Begun, StoreError> {
        let mut lease = Lease::new(claim.key);
        let mut records = self.records();
        let known = records.get(claim.key);
        if let Some(record) = known.filter(|record| !record.is_free_for(claim)) {
            return Ok(record.clone().found_by(claim, lease));
        }
        lease.is_retry = known.is_some_and(|record| record.is_retried_by(claim));
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

impl StatusStore for MemoryStore {
    async fn open_status(
        &self,
        id: &str,
        owner: &str,
        now: SystemTime,
        _deadline: Instant,
    ) -> Result<OpenedStatus, StoreError> {
        let mut opened = OpenedStatus::new(id, owner, now);
        let mut statuses = self.statuses();
        let is_live = |record: &StatusRecord| record.last.expires_at_s > unix_s(now);
        let known = statuses.get(id).filter(|record| is_live(record));
        opened.before = match known {
            None => Before::Absent,
            Some(record) if record.is_hidden => Before::Hidden,
            Some(_) => Before::Shown,
        };
        if known.is_some_and(|record| record.last.changed_ms != OPENED_MS) {
            return Ok(opened);
        }
        if known.is_none() && statuses.len() >= RECORDS_MAX {
            statuses.retain(|_, record| is_live(record));
            if statuses.len() >= RECORDS_MAX {
                return Err(full());
            }
        }
        let status = Status { owner: opened.owner.clone(), state: MessageState::Accepted };
        let (last, opened_by) = (Change::to(&status.state, opened.opened_at), opened.token.clone());
        statuses.insert(id.to_owned(), StatusRecord { status, last, is_hidden: false, opened_by });
        Ok(opened)
    }

    async fn withdraw_status(
        &self,
        opened: &OpenedStatus,
        effect: Effect,
        _deadline: Instant,
    ) -> Result<(), StoreError> {
        let mut statuses = self.statuses();
        let is_own =
            |record: &&mut StatusRecord| record.last.changed_ms == OPENED_MS && record.opened_by == opened.token;
        let record = statuses.get_mut(&opened.id).filter(is_own);
        match record.and_then(|record| Some((record, opened.withdrawal(effect)?))) {
            Some((_, Withdrawal::Remove)) => drop(statuses.remove(&opened.id)),
            Some((record, Withdrawal::Hide)) => record.is_hidden = true,
            None => {}
        }
        Ok(())
    }

    async fn change_status(
        &self,
        id: &str,
        state: &MessageState,
        now: SystemTime,
        _deadline: Instant,
    ) -> Result<(), StoreError> {
        let change = Change::to(state, now);
        if let Some(record) = self.statuses().get_mut(id)
            && record.last.changed_ms < change.before_ms
        {
            (record.status.state, record.last, record.is_hidden) = (state.clone(), change, false);
        }
        Ok(())
    }

    async fn status(&self, id: &str, now: SystemTime, _deadline: Instant) -> Result<Option<Status>, StoreError> {
        let statuses = self.statuses();
        let shown = |record: &&StatusRecord| record.last.expires_at_s > unix_s(now) && !record.is_hidden;
        Ok(statuses.get(id).filter(shown).map(|record| record.status.clone()))
    }
}
