//! [`Progress`]: what is known of the records of batches that were returned.
//!
//! Kafka counts no receives, so they are counted here: in the memory of the execution environment. In another one,
//! settled records are handled again and failing ones get more tries, never fewer.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::event::EventRecord;

/// Records with known progress; beyond that all of it is dropped. Twice the largest batch
/// (<https://docs.aws.amazon.com/lambda/latest/dg/services-msk-parameters.html>).
const RECORDS_MAX: usize = 20_000;

/// How long progress is used. Lambda repeats a batch at once; a record that comes later is read again on purpose, after
/// the offsets of the consumer group were set back.
const AGE_MAX: Duration = Duration::from_secs(900);

#[derive(Debug, Default)]
pub(super) struct Progress {
    hasher: RandomState,
    records: Mutex<HashMap<u64, Known>>,
}

/// The progress of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) settled: bool,
    pub(super) failures: u32,
    returned_at: Instant,
}

impl Progress {
    /// Returns the progress of a record. Its content counts, because a topic that is created again has the same
    /// offsets.
    pub(super) fn of(&self, message: &EventRecord) -> Option<Known> {
        let records = self.locked();
        if records.is_empty() {
            return None;
        }
        records.get(&self.key(message)).copied().filter(|known| known.returned_at.elapsed() < AGE_MAX)
    }

    /// Records the progress of a batch that is returned: whether each record is settled, and its failures.
    pub(super) fn returned<'a>(&self, messages: impl Iterator<Item = (&'a EventRecord, bool, u32)>) {
        let mut records = self.locked();
        if records.len() > RECORDS_MAX {
            records.clear();
        }
        let returned_at = Instant::now();
        for (message, settled, failures) in messages {
            records.insert(self.key(message), Known { settled, failures, returned_at });
        }
    }

    /// Forgets the records of a batch that is done.
    pub(super) fn done<'a>(&self, messages: impl Iterator<Item = &'a EventRecord>) {
        let mut records = self.locked();
        if records.is_empty() {
            return;
        }
        for message in messages {
            records.remove(&self.key(message));
        }
    }

    fn key(&self, message: &EventRecord) -> u64 {
        let record = &message.record;
        let place = (&record.topic, record.partition, record.offset, record.timestamp_unix_ms);
        self.hasher.hash_one((place, &record.key, message.value.as_ref().ok()))
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
