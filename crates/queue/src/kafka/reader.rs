//! [`PartitionReader`] and [`GroupOffsets`]: the records of a partition, and how far a consumer group has read.
//!
//! The group has no members: who reads which partition is not negotiated, so one process may read a partition for a
//! group. A broker refuses a commit while the group has members.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::cluster::Cluster;
use super::config::Address;
use super::connection::{Broker, CallError};
use super::error_code::ErrorCode;
use super::fetched_record::{FetchedRecord, records};
use super::reader_requests as requests;
use super::requests::Api;
use super::wire::Malformed;
use crate::SendError;

/// The most bytes of one response, unless its first batch is larger: the default of `max.partition.fetch.bytes`.
const FETCH_BYTES_MAX: i32 = 1024 * 1024;

/// The longest wait of a fetch for a record: the default of `fetch.max.wait.ms`, and less than the longest wait for a
/// response.
pub const FETCH_WAIT_MAX: Duration = Duration::from_millis(500);

/// The retention of a commit that the broker's setting `offsets.retention.minutes` determines.
const BROKERS_RETENTION_MS: i64 = -1;

/// Attempts of a request while the cluster has no coordinator for the group, and the pause between them: together as
/// long as an election of a leader usually takes.
const COORDINATOR_ATTEMPTS_MAX: u32 = 10;
const COORDINATOR_PAUSE: Duration = Duration::from_millis(300);

/// The time that a broker has to create a topic.
const CREATE_TIMEOUT_MS: i32 = 2_000;

/// Why something is not read or committed. It may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log has no such offset: its records were deleted, or the topic was created again.
    #[error("partition {partition} of topic {topic} has no offset {offset}")]
    NoOffset {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
    /// A broker cannot be reached or refuses, or its answer cannot be read.
    #[error("{0}")]
    Failed(String),
}

impl From<SendError> for ReadError {
    fn from(error: SendError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CallError> for ReadError {
    fn from(error: CallError) -> Self {
        SendError::from(error).into()
    }
}

impl From<Malformed> for ReadError {
    fn from(error: Malformed) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The first record.
    Start,
    /// After the last record.
    End,
    /// The first record that is not older than this time in milliseconds since 1970, or the end.
    At(i64),
}

/// Reads one partition.
pub struct PartitionReader {
    cluster: Cluster,
    topic: String,
    partition: i32,
}

impl PartitionReader {
    /// Creates a reader. Other requests wait while a fetch is on its way, so that a reader should have a cluster, and
    /// with it connections, that it shares with no other.
    #[must_use]
    pub fn new(cluster: Cluster, topic: impl Into<String>, partition: i32) -> Self {
        Self { cluster, topic: topic.into(), partition }
    }

    /// Returns the offset at a position.
    ///
    /// # Errors
    /// A broker does not say.
    pub async fn offset(&self, position: Position) -> Result<i64, ReadError> {
        let timestamp_ms = match position {
            Position::End => -1,
            Position::Start => -2,
            Position::At(time_ms) => time_ms.max(0),
        };
        let body = requests::list_offset(&self.topic, self.partition, timestamp_ms);
        let response = self.call(requests::LIST_OFFSETS, &body).await?;
        let (error, offset) = requests::listed_offset(&response)?;
        self.check(error, offset).await?;
        match (offset, position) {
            (0.., _) => Ok(offset),
            (_, Position::At(_)) => Box::pin(self.offset(Position::End)).await,
            _ => Err(Malformed.into()),
        }
    }

    /// Returns the records from `offset` on, and the offset after them. Waits for the first up to `wait`, but not
    /// longer than [`FETCH_WAIT_MAX`].
    ///
    /// # Errors
    /// The log has no such offset, or a broker does not answer.
    pub async fn fetch(&self, offset: i64, wait: Duration) -> Result<(Vec<FetchedRecord>, i64), ReadError> {
        let wait_ms = i32::try_from(wait.min(FETCH_WAIT_MAX).as_millis()).unwrap_or(i32::MAX);
        let body = requests::fetch(&self.topic, self.partition, offset, wait_ms, FETCH_BYTES_MAX);
        let response = self.call(requests::FETCH, &body).await?;
        let fetched = requests::fetched(&response)?;
        self.check(fetched.error, offset).await?;
        records(fetched.batches, offset).map_err(|error| {
            ReadError::Failed(format!("partition {} of topic {}: {error}", self.partition, self.topic))
        })
    }

    /// Sends a request to the leader. If it does not answer, reads the leaders again.
    async fn call(&self, api: Api, body: &[u8]) -> Result<Vec<u8>, ReadError> {
        let called = self.leader().await?.call(api, body, || true).await;
        if called.is_err() {
            let _ = self.cluster.0.read_topic(&self.topic).await;
        }
        Ok(called?)
    }

    async fn leader(&self) -> Result<Arc<Broker>, ReadError> {
        let topic = self.cluster.0.topic(&self.topic).await?;
        let partition = topic.partitions.iter().find(|partition| partition.index == self.partition);
        let leader = partition.and_then(|partition| partition.leader.clone());
        if leader.is_none() {
            let _ = self.cluster.0.read_topic(&self.topic).await;
        }
        let reason = || format!("partition {} of topic {} has no leader", self.partition, self.topic);
        leader.ok_or_else(|| ReadError::Failed(reason()))
    }

    /// Returns the error of an answer. Reads the leaders again, since another broker may lead the partition now.
    async fn check(&self, error: ErrorCode, offset: i64) -> Result<(), ReadError> {
        let (topic, partition) = (self.topic.clone(), self.partition);
        match error {
            ErrorCode::NONE => Ok(()),
            ErrorCode::OFFSET_OUT_OF_RANGE => Err(ReadError::NoOffset { topic, partition, offset }),
            error => {
                let _ = self.cluster.0.read_topic(&topic).await;
                Err(ReadError::Failed(format!("partition {partition} of topic {topic}: {error}")))
            }
        }
    }
}

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The offset of the next record that the group reads.
    pub offset: i64,
    /// A text of the group's own, empty if it has none.
    pub metadata: String,
}

/// The offsets of a consumer group.
#[derive(Clone)]
pub struct GroupOffsets {
    cluster: Cluster,
    group: String,
}

impl GroupOffsets {
    /// Creates the offsets of a group.
    #[must_use]
    pub fn new(cluster: Cluster, group: impl Into<String>) -> Self {
        Self { cluster, group: group.into() }
    }

    /// Returns the offset of the next record that the group reads; `None` if none is committed.
    ///
    /// # Errors
    /// A broker does not say.
    pub async fn committed(&self, topic: &str, partition: i32) -> Result<Option<i64>, ReadError> {
        Ok(self.last_commit(topic, partition).await?.map(|commit| commit.offset))
    }

    /// Returns what was committed last; `None` if nothing was.
    ///
    /// # Errors
    /// A broker does not say.
    pub async fn last_commit(&self, topic: &str, partition: i32) -> Result<Option<Commit>, ReadError> {
        let body = requests::offset_fetch(&self.group, topic, partition);
        let (offset, metadata) = self.ask(requests::OFFSET_FETCH, &body, requests::committed_offset).await?;
        Ok(Some(Commit { offset, metadata }).filter(|commit| commit.offset >= 0))
    }

    /// Commits the offset of the next record, for as long as the broker retains it.
    ///
    /// # Errors
    /// The offset may not be committed.
    pub async fn commit(&self, topic: &str, partition: i32, offset: i64) -> Result<(), ReadError> {
        let commit = Commit { offset, metadata: String::new() };
        self.commit_for(topic, partition, &commit, BROKERS_RETENTION_MS).await
    }

    /// Commits an offset with metadata, which the broker retains for `retention`.
    ///
    /// # Errors
    /// They may not be committed.
    pub async fn commit_with(
        &self,
        topic: &str,
        partition: i32,
        commit: &Commit,
        retention: Duration,
    ) -> Result<(), ReadError> {
        let retention_ms = i64::try_from(retention.as_millis()).unwrap_or(i64::MAX);
        self.commit_for(topic, partition, commit, retention_ms).await
    }

    async fn commit_for(
        &self,
        topic: &str,
        partition: i32,
        Commit { offset, metadata }: &Commit,
        retention_ms: i64,
    ) -> Result<(), ReadError> {
        let body = requests::offset_commit(&self.group, (topic, partition), *offset, metadata, retention_ms);
        let committed = |response: &[u8]| Ok((requests::offset_committed(response)?, ()));
        self.ask(requests::OFFSET_COMMIT, &body, committed).await
    }

    /// Sends a request to the coordinator of the group. A cluster may have none for a moment: before the first commit
    /// of any group, or while another broker becomes it.
    async fn ask<T>(
        &self,
        api: Api,
        body: &[u8],
        read: impl Fn(&[u8]) -> Result<(ErrorCode, T), Malformed>,
    ) -> Result<T, ReadError> {
        let mut attempt = 1;
        loop {
            let (error, answer) = match self.coordinator().await? {
                Ok(coordinator) => {
                    let (error, answer) = read(&coordinator.call(api, body, || true).await?)?;
                    (error, Some(answer))
                }
                Err(error) => (error, None),
            };
            match (error, answer) {
                (ErrorCode::NONE, Some(answer)) => return Ok(answer),
                (
                    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
                    | ErrorCode::COORDINATOR_NOT_AVAILABLE
                    | ErrorCode::NOT_COORDINATOR,
                    _,
                ) if attempt < COORDINATOR_ATTEMPTS_MAX => {}
                (error, _) => return Err(ReadError::Failed(format!("consumer group {}: {error}", self.group))),
            }
            attempt += 1;
            sleep(COORDINATOR_PAUSE).await;
        }
    }

    async fn coordinator(&self) -> Result<Result<Arc<Broker>, ErrorCode>, ReadError> {
        let response =
            self.cluster.0.call_any(requests::FIND_COORDINATOR, &requests::find_coordinator(&self.group)).await?;
        Ok(match requests::coordinator(&response)? {
            Ok((host, port)) => {
                let port = u16::try_from(port).map_err(|_| Malformed)?;
                Ok(self.cluster.0.broker(&Address { host, port }))
            }
            Err(error) => Err(error),
        })
    }
}

impl Cluster {
    /// Returns the names of the topics that the user may see.
    ///
    /// # Errors
    /// No broker answers.
    pub async fn topics(&self) -> Result<Vec<String>, ReadError> {
        let metadata = self.0.metadata(&requests::all_topics()).await?;
        Ok(metadata.topics.into_iter().map(|topic| topic.name).collect())
    }

    /// Returns the partitions of a topic, as they are now.
    ///
    /// # Errors
    /// The topic is missing or forbidden, or no broker answers.
    pub async fn partitions(&self, topic: &str) -> Result<Vec<i32>, ReadError> {
        let topic = self.0.read_topic(topic).await?;
        Ok(topic.partitions.iter().map(|partition| partition.index).collect())
    }

    /// Creates a topic with the broker's numbers of partitions and replicas; returns false if it exists.
    ///
    /// # Errors
    /// The broker refuses, is not the controller of an old cluster, or does not answer.
    pub async fn create_topic(&self, topic: &str) -> Result<bool, ReadError> {
        let body = requests::create_topic(topic, CREATE_TIMEOUT_MS);
        let response = self.0.call_any(requests::CREATE_TOPICS, &body).await?;
        match requests::topic_created(&response)? {
            (ErrorCode::NONE, _) => Ok(true),
            (ErrorCode::TOPIC_ALREADY_EXISTS, _) => Ok(false),
            (error, reason) => Err(ReadError::Failed(format!("topic {topic}: {error} {reason}").trim_end().to_owned())),
        }
    }
}
