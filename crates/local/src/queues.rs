//! The queues and topics of a stack: their counts, and the deletion of all messages of a queue.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::{Value, json};
use sluicegate_lambda_emulator::SqsClient;
#[cfg(feature = "kafka")]
use sluicegate_queue::kafka::Cluster;
#[cfg(feature = "rabbitmq")]
use sluicegate_topology::Address;

use crate::{kafka::TopicCounts, rabbitmq::QueueCounts};

/// The queues. Clones share them.
#[derive(Clone)]
pub(crate) struct Queues {
    inner: Arc<Inner>,
}

struct Inner {
    client: SqsClient,
    aws_url: String,
    /// Name and URL of each SQS queue.
    sqs: Vec<(String, String)>,
    dead_letter_queues: BTreeSet<String>,
    rabbitmq: Option<QueueCounts>,
    kafka: Option<TopicCounts>,
}

/// The broker of a queue.
pub(crate) enum Broker {
    Sqs,
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(Address),
    #[cfg(feature = "kafka")]
    Kafka(Cluster),
}

/// Why the messages of a queue are not deleted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PurgeError {
    /// The stack has no such queue.
    #[error("{0} is not a queue of this stack")]
    Unknown(String),
    /// The broker refuses or cannot be reached.
    #[error("{0}")]
    Broker(String),
}

impl Queues {
    /// Creates the list; `sqs` are names and URLs.
    pub(crate) fn new(
        client: SqsClient,
        aws_url: &str,
        sqs: Vec<(String, String)>,
        dead_letter_queues: BTreeSet<String>,
        rabbitmq: Option<QueueCounts>,
        kafka: Option<TopicCounts>,
    ) -> Self {
        let inner = Inner { client, aws_url: aws_url.to_owned(), sqs, dead_letter_queues, rabbitmq, kafka };
        Self { inner: Arc::new(inner) }
    }

    /// Returns the URL of the SQS service.
    pub(crate) fn aws_url(&self) -> &str {
        &self.inner.aws_url
    }

    /// Returns whether SQS is emulated in this process.
    pub(crate) fn is_emulated(&self) -> bool {
        matches!(self.inner.client, SqsClient::Emulated(_))
    }

    /// Returns the broker of a queue of this stack.
    pub(crate) fn broker_of(&self, name: &str) -> Option<Broker> {
        if self.inner.sqs.iter().any(|(known, _)| known == name) {
            return Some(Broker::Sqs);
        }
        #[cfg(feature = "rabbitmq")]
        if let Some(rabbitmq) = self.inner.rabbitmq.as_ref().filter(|rabbitmq| rabbitmq.has(name)) {
            return Some(Broker::Rabbitmq(rabbitmq.endpoint().address().clone()));
        }
        #[cfg(feature = "kafka")]
        if let Some(kafka) = self.inner.kafka.as_ref().filter(|kafka| kafka.keeps_dead_letters(name)) {
            return Some(Broker::Kafka(kafka.cluster()));
        }
        None
    }

    /// Returns the counts of every queue. Those of RabbitMQ may be some seconds old.
    pub(crate) async fn counts(&self) -> Vec<Value> {
        let mut queues = self.sqs_counts().await;
        queues.extend(self.broker_counts().await);
        queues
    }

    /// Returns the counts of the SQS queues.
    pub(crate) async fn sqs_counts(&self) -> Vec<Value> {
        let mut queues = Vec::new();
        for (name, url) in &self.inner.sqs {
            let input = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
            let entry = match self.inner.client.call("GetQueueAttributes", input).await {
                Ok(answer) => {
                    let count =
                        |attribute: &str| -> Option<u64> { answer["Attributes"][attribute].as_str()?.parse().ok() };
                    json!({
                        "name": name,
                        "url": url,
                        "dead_letters": self.inner.dead_letter_queues.contains(name),
                        "visible": count("ApproximateNumberOfMessages"),
                        "in_flight": count("ApproximateNumberOfMessagesNotVisible"),
                        "delayed": count("ApproximateNumberOfMessagesDelayed"),
                    })
                }
                Err(error) => json!({ "name": name, "url": url, "error": error.to_string() }),
            };
            queues.push(entry);
        }
        queues
    }

    /// Returns the counts of the queues of RabbitMQ and the topics of Kafka.
    pub(crate) async fn broker_counts(&self) -> Vec<Value> {
        match (&self.inner.rabbitmq, &self.inner.kafka) {
            (Some(rabbitmq), _) => rabbitmq.read().await,
            (None, Some(kafka)) => kafka.read().await,
            (None, None) => Vec::new(),
        }
    }

    /// Deletes the messages of a queue; returns their number if the broker reports it.
    ///
    /// # Errors
    /// See [`PurgeError`].
    pub(crate) async fn purge(&self, name: &str) -> Result<Option<u64>, PurgeError> {
        if let Some((_, url)) = self.inner.sqs.iter().find(|(known, _)| known == name) {
            let purged = self.inner.client.call("PurgeQueue", json!({ "QueueUrl": url })).await;
            return purged.map(|_| None).map_err(|error| PurgeError::Broker(error.to_string()));
        }
        #[cfg(feature = "rabbitmq")]
        if let Some(rabbitmq) = self.inner.rabbitmq.as_ref().filter(|rabbitmq| rabbitmq.has(name)) {
            let purged = crate::rabbitmq::purge(rabbitmq.endpoint(), name).await;
            return purged.map(Some).map_err(|error| PurgeError::Broker(error.to_string()));
        }
        Err(PurgeError::Unknown(name.to_owned()))
    }
}
