//! The records of each topic that its consumer group has not committed.

use std::sync::Arc;

use serde_json::{Value, json};
use sluicegate_dlq::DeadLetterQueue as _;
use sluicegate_dlq::kafka::KafkaDeadLetterQueue;
use sluicegate_queue::kafka::{Cluster, GroupOffsets, PartitionReader, Position, ReadError};

use super::{KafkaBroker, Topic};

/// The topics to count. Clones share them.
#[derive(Clone)]
pub(crate) struct TopicCounts(Arc<Inner>);

struct Inner {
    cluster: Cluster,
    topics: Vec<Topic>,
}

impl TopicCounts {
    /// Creates a counter for these topics.
    pub(crate) fn new(broker: &KafkaBroker, topics: Vec<Topic>) -> Self {
        Self(Arc::new(Inner { cluster: Cluster::new(broker.config.clone()), topics }))
    }

    /// Returns one object per topic, in SQS's terms. `visible` are the records that the group of the topic's mapping
    /// has not committed, those of an invocation included; of a topic of dead letters, those that were not redriven or
    /// deleted; of another topic without a mapping, all that are in the log.
    pub(crate) async fn read(&self) -> Vec<Value> {
        let mut counts = Vec::new();
        for topic in &self.0.topics {
            let name = &topic.name;
            let count = if topic.keeps_dead_letters {
                self.dead_letters(name).await.map_err(|error| error.to_string())
            } else {
                self.waiting(topic).await.map_err(|error| error.to_string())
            };
            counts.push(match count {
                Ok(visible) => json!({
                    "name": name,
                    "broker": "kafka",
                    "dead_letters": topic.keeps_dead_letters,
                    "visible": visible,
                    "in_flight": 0,
                    "delayed": 0,
                }),
                Err(error) => json!({ "name": name, "broker": "kafka", "error": error }),
            });
        }
        counts
    }

    /// Returns the cluster.
    pub(crate) fn cluster(&self) -> Cluster {
        self.0.cluster.clone()
    }

    /// Returns whether records are stored in this topic that were given up.
    pub(crate) fn keeps_dead_letters(&self, name: &str) -> bool {
        self.0.topics.iter().any(|topic| topic.name == name && topic.keeps_dead_letters)
    }

    async fn dead_letters(&self, topic: &str) -> Result<u64, sluicegate_dlq::Error> {
        KafkaDeadLetterQueue::open(self.cluster(), topic).await?.depth().await
    }

    async fn waiting(&self, topic: &Topic) -> Result<u64, ReadError> {
        let cluster = &self.0.cluster;
        let mut count = 0;
        for index in cluster.partitions(&topic.name).await? {
            let reader = PartitionReader::new(cluster.clone(), topic.name.as_str(), index);
            let committed = match &topic.group {
                Some(group) => GroupOffsets::new(cluster.clone(), group.as_str()).committed(&topic.name, index).await?,
                None => None,
            };
            let start = match committed {
                Some(offset) => offset,
                None => reader.offset(Position::Start).await?,
            };
            count += u64::try_from(reader.offset(Position::End).await? - start).unwrap_or_default();
        }
        Ok(count)
    }
}
