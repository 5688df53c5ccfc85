//! [`Partition`]: the open records of one partition, and the commits of those that are settled.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate_queue::kafka::{
    Cluster, FETCH_WAIT_MAX, FetchedRecord, GroupOffsets, PartitionReader, Position, ReadError,
};

use super::settled::Settled;

/// How long the broker keeps a commit: longer than any topic keeps its records. With its own retention
/// (`offsets.retention.minutes`, 7 days by default) the settled records of a topic that keeps its records for longer
/// would be dead letters again. Brokers of every version use that of the request
/// (<https://github.com/apache/kafka/blob/4.1.0/group-coordinator/src/main/java/org/apache/kafka/coordinator/group/OffsetExpirationConditionImpl.java>).
const RETENTION: Duration = Duration::from_hours(10 * 365 * 24);

/// Attempts to read, and the pause between them. After a failure the reader looks for another leader.
const ATTEMPTS_MAX: u32 = 3;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(500);

/// A partition of the dead-letter topic, up to the end that it had when the queue was opened.
pub(super) struct Partition {
    topic: String,
    pub(super) index: i32,
    reader: PartitionReader,
    /// The end of the log when the queue was opened.
    end: i64,
    reading: tokio::sync::Mutex<Reading>,
    state: Mutex<State>,
    /// The version that is committed. Locked during a commit.
    committed: tokio::sync::Mutex<u64>,
}

/// What was fetched and not taken.
struct Reading {
    /// The offset of the next fetch.
    next: i64,
    fetched: VecDeque<FetchedRecord>,
}

struct State {
    settled: Settled,
    /// Counts the records that were settled here.
    version: u64,
    /// Records that were taken and are not settled.
    held: u64,
    /// The offset of the next record to take.
    next: i64,
}

impl Partition {
    /// Opens a partition with its present records.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(super) async fn open(
        cluster: &Cluster,
        offsets: &GroupOffsets,
        topic: &str,
        index: i32,
    ) -> Result<Self, ReadError> {
        let reader = PartitionReader::new(cluster.clone(), topic, index);
        let end = again(|| reader.offset(Position::End)).await?;
        let start = again(|| reader.offset(Position::Start)).await?;
        let commit = offsets.last_commit(topic, index).await?;
        // A topic that was created again is shorter than the commit.
        let commit = commit.filter(|commit| commit.offset <= end);
        let mut settled = commit.map(|commit| Settled::of(&commit)).unwrap_or_default();
        settled.advance(start);
        let next = settled.next();
        Ok(Self {
            topic: topic.to_owned(),
            index,
            reader,
            end,
            reading: Reading { next, fetched: VecDeque::new() }.into(),
            state: State { settled, version: 0, held: 0, next }.into(),
            committed: 0.into(),
        })
    }

    /// Takes the next open record; `None` after the last.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(super) async fn take(&self) -> Result<Option<FetchedRecord>, ReadError> {
        let mut reading = self.reading.lock().await;
        loop {
            while let Some(record) = reading.fetched.pop_front() {
                let mut state = self.state();
                state.next = record.offset + 1;
                if !state.settled.contains(record.offset) {
                    state.held += 1;
                    return Ok(Some(record));
                }
            }
            if reading.next >= self.end || !self.fetch(&mut reading).await? {
                return Ok(None);
            }
        }
    }

    /// Fetches records; returns false if the broker returns none.
    async fn fetch(&self, reading: &mut Reading) -> Result<bool, ReadError> {
        let from = reading.next;
        let (mut records, after) = match again(|| self.reader.fetch(from, FETCH_WAIT_MAX)).await {
            // The oldest records were deleted meanwhile.
            Err(ReadError::NoOffset { .. }) => (Vec::new(), self.reader.offset(Position::Start).await?),
            fetched => fetched?,
        };
        records.retain(|record| record.offset < self.end);
        reading.next = after.min(self.end);
        let mut state = self.state();
        // An offset without a record is that of a transaction's end, or of a record that was deleted.
        let mut gap = from;
        for record in &records {
            state.settled.insert(gap..record.offset);
            gap = record.offset + 1;
        }
        state.settled.insert(gap..reading.next);
        if records.is_empty() {
            state.next = state.next.max(reading.next);
        }
        reading.fetched = records.into();
        Ok(reading.next > from)
    }

    /// Returns whether the record is still open.
    pub(super) fn is_open(&self, offset: i64) -> bool {
        !self.state().settled.contains(offset)
    }

    /// Returns whether a commit has room for this record.
    pub(super) fn has_room_for(&self, offset: i64) -> bool {
        self.state().settled.has_room_for(offset)
    }

    /// Commits that the record is settled, together with others that are.
    ///
    /// # Errors
    /// The record may be a dead letter still. The next commit has it.
    pub(super) async fn settle(&self, offsets: &GroupOffsets, offset: i64) -> Result<(), ReadError> {
        let wanted = {
            let mut state = self.state();
            state.settled.insert(offset..offset + 1);
            state.held = state.held.saturating_sub(1);
            state.version += 1;
            state.version
        };
        let mut committed = self.committed.lock().await;
        if *committed >= wanted {
            return Ok(());
        }
        let (version, commit) = {
            let state = self.state();
            (state.version, state.settled.commit())
        };
        offsets.commit_with(&self.topic, self.index, &commit, RETENTION).await?;
        *committed = version;
        Ok(())
    }

    /// Returns how many of the records are open. Before they are taken, offsets without a record count too.
    pub(super) fn depth(&self) -> u64 {
        let state = self.state();
        let left = state.next..self.end;
        let open = (left.end - left.start).max(0) - state.settled.count_in(&left);
        state.held + u64::try_from(open).unwrap_or_default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks again if the leader of the partition may have changed.
async fn again<T, F: Future<Output = Result<T, ReadError>>>(ask: impl Fn() -> F) -> Result<T, ReadError> {
    for _ in 1..ATTEMPTS_MAX {
        match ask().await {
            Err(ReadError::Failed(_)) => tokio::time::sleep(ATTEMPT_PAUSE).await,
            answer => return answer,
        }
    }
    ask().await
}
