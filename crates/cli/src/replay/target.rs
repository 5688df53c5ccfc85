//! [`Target`]: where a replay sends its events, by the broker of the queue.

use sluicegate_archive::AwsEnvironment;
use sluicegate_queue::{
    Binding, Message, Producer as _, Receipt, SendError,
    kafka::{Cluster, ClusterConfig, KafkaProducer},
    rabbitmq::{Broker, BrokerConfig, RabbitmqProducer},
    sqs::SqsProducer,
};
use tokio::time::Instant;

use crate::CommandError;

/// What names another broker than SQS on the command line, as in the binding of a queue.
const OTHER_BROKERS: [&str; 2] = ["rabbitmq:", "kafka:"];

/// A queue, an exchange or a topic.
pub(super) enum Target {
    Sqs { producer: SqsProducer, is_fifo: bool },
    Rabbitmq(RabbitmqProducer),
    Kafka(KafkaProducer),
}

/// Returns whether a queue is one of SQS.
pub(super) fn is_of_sqs(queue: &str) -> bool {
    !OTHER_BROKERS.iter().any(|broker| queue.starts_with(broker))
}

impl Target {
    pub(super) fn sqs(environment: &AwsEnvironment, queue_url: &str) -> Self {
        Self::Sqs { producer: SqsProducer::new(environment, queue_url), is_fifo: queue_url.ends_with(".fifo") }
    }

    /// Returns the target of `rabbitmq:EXCHANGE/ROUTING_KEY` or `kafka:TOPIC/KEY` at the broker that the variables of
    /// ingress name, without connecting to it.
    ///
    /// # Errors
    /// The queue has another form, or the variables of its broker are not set or wrong.
    pub(super) fn of_binding(queue: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, CommandError> {
        let unset =
            |variable: &str| CommandError::from(format!("{variable} is not set: it names the broker of --queue"));
        match Binding::parse(queue).map_err(|reason| format!("--queue {reason}"))? {
            Binding::Rabbitmq { exchange, routing_key } => {
                let config = BrokerConfig::from_env(lookup).map_err(|error| error.to_string())?;
                let config = config.ok_or_else(|| unset("RABBITMQ_URL"))?;
                let retry_delays = config.retry_delays().clone();
                let producer = RabbitmqProducer::new(Broker::new(config), exchange, routing_key, retry_delays);
                Ok(Self::Rabbitmq(producer))
            }
            Binding::Kafka { topic, key } => {
                let config = ClusterConfig::from_env(lookup).map_err(|error| error.to_string())?;
                let config = config.ok_or_else(|| unset("KAFKA_BOOTSTRAP_SERVERS"))?;
                Ok(Self::Kafka(KafkaProducer::new(Cluster::new(config), topic).with_key(key)))
            }
            Binding::Sqs { .. } => Err("--queue names SQS".to_owned().into()),
        }
    }

    /// Returns whether the messages of a group have an order that a failure must not change: those of a standard queue
    /// have none.
    pub(super) fn is_ordered(&self) -> bool {
        match self {
            Self::Sqs { is_fifo, .. } => *is_fifo,
            Self::Rabbitmq(_) | Self::Kafka(_) => true,
        }
    }

    pub(super) async fn send_all(
        &self,
        messages: &[Message<'_>],
        deadline: Instant,
    ) -> Vec<Result<Receipt, SendError>> {
        match self {
            Self::Sqs { producer, .. } => producer.send_all(messages, deadline).await,
            Self::Rabbitmq(producer) => producer.send_all(messages, deadline).await,
            Self::Kafka(producer) => producer.send_all(messages, deadline).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_without_its_variables_is_named() {
        for (queue, says) in [
            ("rabbitmq:/orders", "RABBITMQ_URL is not set: it names the broker of --queue"),
            ("kafka:orders", "KAFKA_BOOTSTRAP_SERVERS is not set: it names the broker of --queue"),
            ("rabbitmq:orders", "--queue has no slash between exchange and routing key, as in rabbitmq:orders/{type}"),
            ("kafka:a b", "--queue is not a Kafka topic"),
        ] {
            assert!(!is_of_sqs(queue), "{queue}");
            let error = Target::of_binding(queue, |_| None).err().unwrap().to_string();
            assert!(error.starts_with(says), "{error}");
        }
        for queue in ["orders", "https://sqs.eu-west-1.amazonaws.com/1/orders", "arn:aws:sqs:eu-west-1:1:orders"] {
            assert!(is_of_sqs(queue), "{queue}");
        }
    }
}
