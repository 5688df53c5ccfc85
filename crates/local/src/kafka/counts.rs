//! The records of each topic that its consumer group has not committed.

use std::sync::Arc;

use serde_json::{Value, json};
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
    /// has not committed, those of an invocation included; of a topic without a mapping, all that are in the log.
    pub(crate) async fn read(&self) -> Vec<Value> {
        let mut counts = Vec::new();
        for topic in &self.0.topics {
            let name = &topic.name;
            counts.push(match self.count(topic).await {
                Ok(visible) => json!({
                    "name": name,
                    "broker": "kafka",
                    "dead_letters": topic.keeps_dead_letters,
                    "visible": visible,
                    "in_flight": 0,
                    "delayed": 0,
                }),
                Err(error) => json!({ "name": name, "broker": "kafka", "error": error.to_string() }),
            });
        }
        counts
    }

    async fn count(&self, topic: &Topic) -> Result<u64, ReadError> {
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
