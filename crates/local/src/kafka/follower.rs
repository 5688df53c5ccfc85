//! A follower of topics: reads every record that is appended while it runs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use sluicegate_lambda_emulator::record_id;
use sluicegate_queue::kafka::{
    Cluster, ClusterConfig, FETCH_WAIT_MAX, FetchedRecord, PartitionReader, Position, ReadError,
};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::topics::Topic;
use crate::journal::feed;

/// Pause before a fetch that failed is repeated.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Limit for catching up; records that arrive later may be recorded late.
const CATCH_UP_TIME_MAX: Duration = Duration::from_secs(1);

/// A record that was appended to a topic.
pub(crate) struct Appended<'r> {
    pub(crate) topic: &'r Topic,
    /// The id of its event, or its place.
    pub(crate) id: String,
    pub(crate) record: &'r FetchedRecord,
}

/// Receives each record. It must return quickly.
pub(crate) type AppendedObserver = Arc<dyn Fn(&Appended<'_>) + Send + Sync>;

/// A running follower.
pub(crate) struct Follower {
    partitions: Vec<Followed>,
    _tasks: JoinSet<()>,
}

struct Followed {
    /// Reads the end of the log, with a connection of all partitions.
    reader: PartitionReader,
    /// The offset up to which records were observed.
    observed: watch::Receiver<i64>,
}

impl Follower {
    /// Follows the topics from their ends on.
    ///
    /// # Errors
    /// The broker does not answer.
    pub(crate) async fn start(
        config: &ClusterConfig,
        topics: &[Topic],
        observer: &AppendedObserver,
    ) -> Result<Self, ReadError> {
        let cluster = Cluster::new(config.clone());
        let (mut partitions, mut tasks) = (Vec::new(), JoinSet::new());
        for topic in topics {
            for index in cluster.partitions(&topic.name).await? {
                let reader = PartitionReader::new(cluster.clone(), topic.name.as_str(), index);
                let (sender, observed) = watch::channel(reader.offset(Position::End).await?);
                let own = PartitionReader::new(Cluster::new(config.clone()), topic.name.as_str(), index);
                tasks.spawn(follow(own, index, topic.clone(), sender, Arc::clone(observer)));
                partitions.push(Followed { reader, observed });
            }
        }
        Ok(Self { partitions, _tasks: tasks })
    }
}

impl feed::Follower for Follower {
    async fn catch_up(&self) {
        let each = self.partitions.iter().map(async |followed| {
            let Ok(end) = followed.reader.offset(Position::End).await else { return };
            let _ = followed.observed.clone().wait_for(|observed| *observed >= end).await;
        });
        let _ = timeout(CATCH_UP_TIME_MAX, join_all(each)).await;
    }
}

async fn follow(
    reader: PartitionReader,
    index: i32,
    topic: Topic,
    observed: watch::Sender<i64>,
    observer: AppendedObserver,
) {
    let mut next = *observed.borrow();
    loop {
        match reader.fetch(next, FETCH_WAIT_MAX).await {
            Ok((records, after)) => {
                for record in &records {
                    let id = record_id(&topic.name, index, record);
                    observer(&Appended { topic: &topic, id, record });
                }
                next = after;
                observed.send_replace(next);
            }
            Err(error) => {
                if let ReadError::NoOffset { .. } = error
                    && let Ok(start) = reader.offset(Position::Start).await
                {
                    next = start;
                }
                sleep(RETRY_PAUSE).await;
            }
        }
    }
}
