//! The dead-letter topics of a cluster.

use sluicegate_queue::kafka::Cluster;
use sluicegate_queue::queue_names::DEAD_LETTER_QUEUE_SUFFIX;

use super::{KafkaDeadLetterQueue, failed};
use crate::{DeadLetterQueue as _, Error, ListedQueue};

/// Returns every topic whose name ends in `.dlq`, by name.
///
/// # Errors
/// The cluster cannot be reached or refuses.
pub async fn dead_letter_queues(cluster: &Cluster) -> Result<Vec<ListedQueue>, Error> {
    let mut topics = cluster.topics().await.map_err(failed)?;
    topics.sort_unstable();
    let mut found = Vec::new();
    for name in &topics {
        let Some(source) = name.strip_suffix(DEAD_LETTER_QUEUE_SUFFIX) else { continue };
        let depth = match KafkaDeadLetterQueue::open(cluster.clone(), name).await {
            Ok(queue) => queue.depth().await.ok(),
            Err(_) => None,
        };
        let sources = topics.iter().filter(|topic| *topic == source).cloned().collect();
        found.push(ListedQueue { name: name.clone(), depth, sources });
    }
    Ok(found)
}
