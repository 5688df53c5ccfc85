//! [`Cluster`]: the brokers of a cluster, the partitions of its topics and their writers.
//!
//! The partitions of a topic are read when they are first needed, again when they are older than [`METADATA_AGE_MAX`],
//! and after a failure that a change of leaders may explain. Concurrent readers share one request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};

use super::config::{Address, ClusterConfig};
use super::connection::{Broker, CallError, Connector};
use super::error_code::{Conclusion, ErrorCode};
use super::partition_writer::PartitionWriter;
use super::requests::{self, Api, Metadata};
use crate::SendError;
use crate::moment::Moment;

/// The age after which the partitions of a topic are read again, so that new ones are used: the default of
/// `metadata.max.age.ms`.
const METADATA_AGE_MAX: Duration = Duration::from_secs(300);

/// A cluster. Clones share its connections.
#[derive(Clone)]
pub struct Cluster(pub(super) Arc<Inner>);

pub(super) struct Inner {
    connector: Arc<Connector>,
    brokers: Mutex<HashMap<Address, Arc<Broker>>>,
    topics: Mutex<HashMap<String, Arc<Topic>>>,
    writers: Mutex<HashMap<(String, i32), PartitionWriter>>,
    /// Locked while partitions are read.
    reading: tokio::sync::Mutex<()>,
}

/// The partitions of a topic.
pub(super) struct Topic {
    read_at: Moment,
    pub(super) partitions: Vec<Partition>,
}

/// A partition and its leader; `None` while it has none.
pub(super) struct Partition {
    pub(super) index: i32,
    pub(super) leader: Option<Arc<Broker>>,
}

impl Cluster {
    /// Creates a cluster that is connected to when first needed. Sending needs a Tokio runtime with time and I/O.
    #[must_use]
    pub fn new(config: ClusterConfig) -> Self {
        Self(Arc::new(Inner {
            connector: Arc::new(Connector::new(config)),
            brokers: Mutex::default(),
            topics: Mutex::default(),
            writers: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        }))
    }

    /// Reads the partitions of these topics and connects to their leaders, so that the first message does not wait for
    /// it.
    ///
    /// # Errors
    /// A topic is missing or forbidden, a login is refused, or there is no connection before `deadline`.
    pub async fn connect(&self, topics: &[&str], deadline: Instant) -> Result<(), SendError> {
        let connecting = async {
            for topic in topics {
                let topic = self.0.topic(topic).await?;
                let leaders = topic.partitions.iter().filter_map(|partition| partition.leader.as_deref());
                let connected = join_all(leaders.map(Broker::connect)).await;
                connected.into_iter().collect::<Result<(), _>>().map_err(SendError::from)?;
            }
            Ok(())
        };
        timeout_at(deadline, connecting).await.unwrap_or_else(|_| Err(late()))
    }

    /// Returns the partitions of a topic.
    pub(super) async fn topic(&self, name: &str, deadline: Instant) -> Result<Arc<Topic>, SendError> {
        timeout_at(deadline, self.0.topic(name)).await.unwrap_or_else(|_| Err(late()))
    }

    /// Returns the writer of a partition.
    pub(super) fn writer(&self, topic: &str, partition: i32) -> PartitionWriter {
        let mut writers = locked(&self.0.writers);
        let writer = writers
            .entry((topic.to_owned(), partition))
            .or_insert_with(|| PartitionWriter::start(Arc::downgrade(&self.0), topic.to_owned(), partition));
        if !writer.is_running() {
            // Its runtime ended.
            *writer = PartitionWriter::start(Arc::downgrade(&self.0), topic.to_owned(), partition);
        }
        writer.clone()
    }
}

impl Inner {
    /// Returns the partitions of a topic, which are not older than [`METADATA_AGE_MAX`] if a broker answers.
    pub(super) async fn topic(&self, name: &str) -> Result<Arc<Topic>, SendError> {
        let known = locked(&self.topics).get(name).cloned();
        match known {
            Some(known) if known.read_at.age() < METADATA_AGE_MAX => Ok(known),
            Some(known) => match self.read_topic(name).await {
                Err(SendError::NotSent { .. }) => Ok(known),
                read => read,
            },
            None => self.read_topic(name).await,
        }
    }

    /// Reads the partitions of a topic again.
    pub(super) async fn read_topic(&self, name: &str) -> Result<Arc<Topic>, SendError> {
        let asked_at = Instant::now();
        let _reading = self.reading.lock().await;
        let known = locked(&self.topics).get(name).cloned();
        if let Some(known) = known.filter(|known| known.read_at.monotonic() >= asked_at) {
            return Ok(known);
        }
        let metadata = self.metadata(&requests::metadata(name)).await?;
        let found = metadata.topics.into_iter().find(|topic| topic.name == name);
        let Some(found) = found.filter(|topic| topic.error != ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) else {
            locked(&self.topics).remove(name);
            return Err(SendError::Unroutable { reason: format!("the cluster has no topic {name}") });
        };
        if found.error != ErrorCode::NONE && found.error != ErrorCode::LEADER_NOT_AVAILABLE {
            let reason = format!("topic {name}: {}", found.error);
            return Err(match found.error.conclusion() {
                Conclusion::Refused => SendError::Refused { reason, message_at_fault: false },
                _ => SendError::NotSent { reason },
            });
        }
        let brokers: HashMap<i32, Address> = metadata
            .brokers
            .into_iter()
            .filter_map(|(id, host, port)| Some((id, Address { host, port: u16::try_from(port).ok()? })))
            .collect();
        let mut partitions: Vec<_> = found
            .partitions
            .into_iter()
            .map(|(index, leader)| Partition { index, leader: brokers.get(&leader).map(|at| self.broker(at)) })
            .collect();
        if partitions.is_empty() {
            return Err(SendError::NotSent { reason: format!("topic {name} has no partition yet") });
        }
        // The partition of a key is its place in this order.
        partitions.sort_by_key(|partition| partition.index);
        let topic = Arc::new(Topic { read_at: Moment::now(), partitions });
        locked(&self.topics).insert(name.to_owned(), Arc::clone(&topic));
        Ok(topic)
    }

    pub(super) async fn metadata(&self, request: &[u8]) -> Result<Metadata, SendError> {
        let response = self.call_any(Api::Metadata, request).await?;
        requests::read_metadata(&response).map_err(|malformed| SendError::NotSent { reason: malformed.to_string() })
    }

    /// Sends a request to one broker after another, those that are connected first, until one answers.
    pub(super) async fn call_any(&self, api: Api, body: &[u8]) -> Result<Vec<u8>, SendError> {
        for address in &self.connector.config().bootstrap {
            self.broker(address);
        }
        let mut brokers: Vec<_> = locked(&self.brokers).values().cloned().collect();
        fastrand::shuffle(&mut brokers);
        brokers.sort_by_key(|broker| !broker.is_connected());
        let mut failure = SendError::NotSent { reason: "no broker is known".to_owned() };
        for broker in brokers {
            match broker.call(api, body, || true).await {
                Ok(response) => return Ok(response),
                Err(error @ CallError::Refused(_)) => return Err(error.into()),
                // A lost request of this kind says nothing of a message.
                Err(CallError::Lost(reason)) => failure = SendError::NotSent { reason },
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    pub(super) fn broker(&self, address: &Address) -> Arc<Broker> {
        let mut brokers = locked(&self.brokers);
        let create = || Arc::new(Broker::new(address.clone(), Arc::clone(&self.connector)));
        Arc::clone(brokers.entry(address.clone()).or_insert_with(create))
    }
}

impl From<CallError> for SendError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Withdrawn => late(),
            CallError::NotSent(reason) => Self::NotSent { reason },
            CallError::Lost(reason) => Self::Unknown { reason },
            CallError::Refused(reason) => Self::Refused { reason, message_at_fault: false },
        }
    }
}

/// Returns the error of a message that was not written before its deadline.
pub(super) fn late() -> SendError {
    SendError::NotSent { reason: "no connection before the deadline".to_owned() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
