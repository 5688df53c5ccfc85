//! Kafka as a [`DeadLetterQueue`]: a topic of dead letters, and a consumer group that remembers which of them are
//! settled.
//!
//! A topic does not delete single records. Those that were redriven or deleted are settled: the group
//! [`CONSUMER_GROUP`] has committed them, and they are not taken any more. They stay in the log until the topic deletes
//! them by its retention.
//!
//! | operation | implementation |
//! |---|---|
//! | take | fetched; only records that were in the topic when it was opened and that are not settled |
//! | redrive | appended to its topic on every in-sync replica; then settled |
//! | delete | settled |
//! | release | nothing: records are not hidden from other readers |
//! | killed | a record that was appended and not yet settled is a dead letter still, and is redriven again |
//!
//! Two runs on one topic at the same time may redrive a record twice, and the later commit of the two is kept. No
//! record is lost: a run settles only what it has redriven or deleted.

mod message;
mod partition;
mod queues;
mod redrive_headers;
mod settled;

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluicegate_queue::kafka::{Cluster, FetchedRecord, GroupOffsets, Publication, ReadError};
use tokio::time::Instant;

use self::partition::Partition;
pub use self::queues::dead_letter_queues;
use crate::{DeadLetter, DeadLetterQueue, Error};

/// The consumer group whose commits say which records are settled.
pub const CONSUMER_GROUP: &str = "sluicegate-dlq";

/// Longest publish, with the retries for a leader that moves.
const PUBLISH_TIME_MAX: Duration = Duration::from_secs(60);

/// An open dead-letter topic. It needs a Tokio runtime with time and I/O.
pub struct KafkaDeadLetterQueue {
    topic: String,
    cluster: Cluster,
    offsets: GroupOffsets,
    partitions: Vec<Partition>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The place of each record that was taken, by its handle: the index of the partition in the list, and the offset.
    taken: Vec<(usize, i64)>,
    /// The records of the latest take, except those being redriven.
    latest: HashMap<u64, FetchedRecord>,
    /// Topics that are known to exist.
    seen: HashSet<String>,
    is_released: bool,
}

impl KafkaDeadLetterQueue {
    /// Opens the dead-letter topic `topic` with its present records.
    ///
    /// # Errors
    /// The cluster cannot be reached or refuses, or the topic does not exist.
    pub async fn open(cluster: Cluster, topic: &str) -> Result<Self, Error> {
        let offsets = GroupOffsets::new(cluster.clone(), CONSUMER_GROUP);
        let mut partitions = Vec::new();
        for index in cluster.partitions(topic).await.map_err(failed)? {
            partitions.push(Partition::open(&cluster, &offsets, topic, index).await.map_err(failed)?);
        }
        Ok(Self { topic: topic.to_owned(), cluster, offsets, partitions, state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the place of a message that is in flight.
    ///
    /// # Errors
    /// It is not, or a commit has no room for it.
    fn place(&self, letter: &DeadLetter) -> Result<(&Partition, i64), Error> {
        let place = {
            let state = self.state();
            let index = usize::try_from(letter.handle).ok().filter(|_| !state.is_released);
            index.and_then(|index| state.taken.get(index).copied())
        };
        let place = place.map(|(partition, offset)| (&self.partitions[partition], offset));
        let Some((partition, offset)) = place.filter(|(partition, offset)| partition.is_open(*offset)) else {
            return Err(Error::not_sent(&letter.id, "it is not held any more"));
        };
        if !partition.has_room_for(offset) {
            return Err(Error::Broker(format!(
                "too many single records of partition {} of {} are settled for one commit of the group {CONSUMER_GROUP}: \
                 redrive or purge the oldest dead letters first",
                partition.index, self.topic
            )));
        }
        Ok((partition, offset))
    }

    fn target(&self, letter: &DeadLetter, record: &FetchedRecord, to: Option<&str>) -> Result<String, Error> {
        let unknown = "the topic it came from is not recorded; name the topic to send it to";
        let target = to.map(str::to_owned).or_else(|| message::source_topic(&self.topic, record));
        target.ok_or_else(|| Error::not_sent(&letter.id, unknown))
    }

    /// Stores the record in `topic`.
    async fn publish(
        &self,
        letter: &DeadLetter,
        topic: &str,
        record: &FetchedRecord,
        body: Option<&[u8]>,
    ) -> Result<(), Error> {
        let headers = redrive_headers::headers(record, letter, body);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        let value = body.or(record.value.as_deref());
        let publication = Publication { topic, key: record.key.as_deref(), value, headers: &headers };
        let stored = self.cluster.publish(&publication, Instant::now() + PUBLISH_TIME_MAX).await;
        stored.map(drop).map_err(|error| Error::of_send(&letter.id, &format!("the topic {topic}"), error))
    }
}

impl DeadLetterQueue for KafkaDeadLetterQueue {
    async fn take(&self, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.state().latest.clear();
        let mut letters = Vec::new();
        for (place, partition) in self.partitions.iter().enumerate() {
            while letters.len() < max && !self.state().is_released {
                let Some(record) = partition.take().await.map_err(failed)? else { break };
                let mut state = self.state();
                let handle = state.taken.len() as u64;
                state.taken.push((place, record.offset));
                letters.push(message::dead_letter(&self.topic, partition.index, handle, &record));
                state.latest.insert(handle, record);
            }
        }
        Ok(letters)
    }

    /// Returns true: records with one key are redriven in their order.
    fn keeps_order(&self) -> bool {
        true
    }

    /// Returns the destination if that topic exists.
    async fn destination(&self, letter: &DeadLetter, to: Option<&str>) -> Result<String, Error> {
        self.place(letter)?;
        let record = self.state().latest.get(&letter.handle).cloned();
        let record = record.ok_or_else(|| Error::not_sent(&letter.id, "it is not of the latest take"))?;
        let target = self.target(letter, &record, to)?;
        if !self.state().seen.contains(&target) {
            let connected = self.cluster.connect(&[&target], Instant::now() + PUBLISH_TIME_MAX).await;
            connected.map_err(|error| Error::of_send(&letter.id, &format!("the topic {target}"), error))?;
            self.state().seen.insert(target.clone());
        }
        Ok(target)
    }

    async fn redrive(&self, letter: &DeadLetter, to: Option<&str>, body: Option<&[u8]>) -> Result<(), Error> {
        let (partition, offset) = self.place(letter)?;
        let record = self.state().latest.remove(&letter.handle);
        let record =
            record.ok_or_else(|| Error::not_sent(&letter.id, "it is not of the latest take, or being redriven"))?;
        let published = match self.target(letter, &record, to) {
            Ok(topic) => self.publish(letter, &topic, &record, body).await,
            Err(error) => Err(error),
        };
        if let Err(error) = published {
            self.state().latest.insert(letter.handle, record);
            return Err(error);
        }
        partition.settle(&self.offsets, offset).await.map_err(|error| {
            Error::unknown(&letter.id, format!("it is stored again, and perhaps still a dead letter: {error}"))
        })
    }

    async fn delete(&self, letter: &DeadLetter) -> Result<(), Error> {
        let (partition, offset) = self.place(letter)?;
        self.state().latest.remove(&letter.handle);
        let settled = partition.settle(&self.offsets, offset).await;
        settled.map_err(|error| Error::unknown(&letter.id, format!("it is perhaps still a dead letter: {error}")))
    }

    /// Ends the use of the messages, which were never hidden.
    async fn release(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.is_released = true;
        state.latest.clear();
        Ok(())
    }

    /// Counts the records that were there when the topic was opened.
    async fn depth(&self) -> Result<u64, Error> {
        Ok(self.partitions.iter().map(Partition::depth).sum())
    }
}

fn failed(error: ReadError) -> Error {
    Error::Broker(error.to_string())
}
