//! The Kafka event source mapping: reads a topic for a consumer group, invokes a function with batches and commits the
//! offsets of those that are settled.
//!
//! It follows Lambda's poller: batch size, batching window, payload limit, filters, order within a partition, one
//! invocation at a time for each partition. A batch that fails is delivered again until it succeeds, or until its
//! retries or the age of its records reach a limit; it may be split in two, and a partial batch response moves the
//! start of the next delivery. Records that are given up go to a queue or a topic, or are dropped. Four things differ
//! from Lambda: each batch is of one partition, where Lambda's may have records of several; a pause grows with each
//! failure in a row; the group has no members, so that nothing else may read for it; and a lost connection is opened
//! again without a limit of attempts.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-msk-process.html>
//! <https://docs.aws.amazon.com/lambda/latest/dg/kafka-retry-configurations.html>

mod event;
mod partition;
mod response;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sluicegate_queue::dead_letter::MESSAGE_ID;
use sluicegate_queue::kafka::{Cluster, ClusterConfig, FetchedRecord, GroupOffsets, PartitionReader, Position};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::filter::{FilterCriteriaError, Filters};
use crate::mapping::{Invoke, MappingEvent, MappingNames};
use crate::sqs_client::SqsClient;
use partition::{BrokerLog, Partition};

/// The header with the id of an event, in the binary mode and as ingress writes it.
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md>
const EVENT_ID_HEADER: &str = "ce_id";

/// The pause before the partitions are listed again, so that new ones are read soon.
const PARTITIONS_INTERVAL: Duration = Duration::from_secs(10);
/// The pause before something is attempted again that a broker did not do.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The settings of a mapping. The values must be within Lambda's limits.
#[derive(Clone)]
pub struct KafkaMappingSpec {
    /// The function's name.
    pub function: String,
    /// The function's ARN.
    pub function_arn: String,
    /// The topic.
    pub topic: String,
    /// The cluster of the topic.
    pub cluster: ClusterConfig,
    /// The `bootstrapServers` of the event.
    pub bootstrap_servers: String,
    /// The `eventSourceArn` of the event; `None` for a cluster that is not Amazon MSK's.
    pub cluster_arn: Option<String>,
    /// The consumer group.
    pub group: String,
    /// Where the group starts if it has no committed offset.
    pub start: Position,
    /// The largest number of records per invocation.
    pub batch_size: usize,
    /// The time to gather records after the first.
    pub batching_window: Duration,
    /// Whether the function reports the records that failed.
    pub report_batch_item_failures: bool,
    /// Whether a failed batch is split in two.
    pub bisects: bool,
    /// The most retries of a batch; `None` for no limit.
    pub retries_max: Option<u32>,
    /// The greatest age of a record that is delivered; `None` for no limit.
    pub record_age_max: Option<Duration>,
    /// Where records go that are given up.
    pub on_failure: Option<FailureDestination>,
    /// The parsed `Pattern` of each filter, for records whose `value` is read as JSON if it is JSON.
    pub filters: Vec<Value>,
}

/// Where records go that are given up.
#[derive(Clone)]
pub enum FailureDestination {
    /// A queue of SQS.
    Queue {
        /// Its name.
        name: String,
        /// Its URL.
        url: String,
        /// The client of the queue.
        client: SqsClient,
    },
    /// A topic of the same cluster.
    Topic(String),
}

/// An event of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaEvent {
    /// One step of a message.
    Message(MappingEvent),
    /// A partition cannot be read or its offset cannot be committed, and the mapping retries. Each reason is reported
    /// once.
    Waiting {
        /// The reason.
        reason: String,
    },
    /// The topic is read.
    Consuming,
}

/// Receives each event. It must return quickly.
pub type KafkaObserver = Arc<dyn Fn(&KafkaEvent) + Send + Sync>;

/// Returns the id of a record in the events of a mapping: that of its event, if a header names it, or its place before
/// it was first redriven.
#[must_use]
pub fn record_id(topic: &str, partition: i32, record: &FetchedRecord) -> String {
    let text = |name| record.header(name).and_then(|id| str::from_utf8(id).ok()).filter(|id| !id.is_empty());
    let place = || format!("{topic}:{partition}:{}", record.offset);
    text(EVENT_ID_HEADER).or_else(|| text(MESSAGE_ID)).map_or_else(place, str::to_owned)
}

/// A running mapping. Dropping it aborts the invocations in flight; their records are delivered again at the next
/// start.
pub struct KafkaMapping {
    stop: CancellationToken,
    worker: JoinSet<()>,
}

impl KafkaMapping {
    /// Starts reading.
    ///
    /// # Errors
    /// A filter's pattern that Lambda rejects.
    pub fn start<I: Invoke>(
        spec: KafkaMappingSpec,
        function: I,
        observer: KafkaObserver,
    ) -> Result<Self, FilterCriteriaError> {
        let shared = Arc::new(Shared {
            filters: Filters::parse(&spec.filters)?,
            names: MappingNames::new(&spec.topic, &spec.function),
            cluster: Cluster::new(spec.cluster.clone()),
            waits_for: Mutex::default(),
            function,
            observer,
            spec,
        });
        let stop = CancellationToken::new();
        let mut worker = JoinSet::new();
        worker.spawn(shared.run(stop.clone()));
        Ok(Self { stop, worker })
    }

    /// Stops reading at once and waits for the invocations in flight and the commit of their offsets, at most the
    /// function's timeout.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while self.worker.join_next().await.is_some() {}
    }
}

/// What the partitions of a mapping share.
struct Shared<I> {
    spec: KafkaMappingSpec,
    names: MappingNames,
    filters: Filters,
    function: I,
    observer: KafkaObserver,
    /// The connections for everything but fetching.
    cluster: Cluster,
    /// The reasons that were reported since the topic was read last.
    waits_for: Mutex<BTreeSet<String>>,
}

impl<I: Invoke> Shared<I> {
    /// Reads each partition in a task of its own.
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        let (mut partitions, mut known) = (JoinSet::new(), BTreeSet::new());
        loop {
            let listed = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                listed = self.cluster.partitions(&self.spec.topic) => listed,
            };
            let pause = match listed {
                Ok(listed) => {
                    if known.is_empty() {
                        self.report(KafkaEvent::Consuming);
                    }
                    for index in listed.into_iter().filter(|index| known.insert(*index)) {
                        let log = self.log(index);
                        partitions.spawn(Partition::new(Arc::clone(&self), index, log).run(stop.clone()));
                    }
                    PARTITIONS_INTERVAL
                }
                Err(error) => {
                    self.waits(error.to_string());
                    RETRY_PAUSE
                }
            };
            tokio::select! { () = stop.cancelled() => break, () = sleep(pause) => {} }
        }
        while partitions.join_next().await.is_some() {}
    }

    fn log(&self, index: i32) -> BrokerLog {
        let KafkaMappingSpec { topic, group, cluster, .. } = &self.spec;
        BrokerLog {
            reader: PartitionReader::new(Cluster::new(cluster.clone()), topic.as_str(), index),
            offsets: GroupOffsets::new(self.cluster.clone(), group.as_str()),
            cluster: self.cluster.clone(),
            topic: topic.clone(),
            index,
        }
    }

    fn report(&self, event: KafkaEvent) {
        (self.observer)(&event);
    }

    fn waits(&self, reason: String) {
        let mut waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        if waits_for.insert(reason.clone()) {
            self.report(KafkaEvent::Waiting { reason });
        }
    }

    /// Reports that the topic is read again, if it was not.
    fn reads(&self) {
        let mut waits_for = self.waits_for.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::take(&mut *waits_for).is_empty() {
            self.report(KafkaEvent::Consuming);
        }
    }
}
