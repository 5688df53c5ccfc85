//! [`AnyProducer`]: the producer of a queue on any broker built in. Cargo features select the brokers.

use sluicegate_aws_client::AwsEnvironment;
use sluicegate_queue::{Binding, Destination, Message, Producer, Receipt, SendError};
use tokio::time::Instant;

#[cfg(feature = "kafka")]
use sluicegate_queue::kafka::{Cluster, KafkaProducer};
#[cfg(feature = "rabbitmq")]
use sluicegate_queue::rabbitmq::{Broker, RabbitmqProducer};
#[cfg(feature = "sqs")]
use sluicegate_queue::sqs::{CoalescingProducer, SqsProducer};

/// The producer of a queue on one of the brokers built in.
#[non_exhaustive]
pub enum AnyProducer {
    /// Amazon SQS.
    #[cfg(feature = "sqs")]
    Sqs(SqsProducer),
    /// Amazon SQS, in a process with several requests at a time.
    #[cfg(feature = "sqs")]
    CoalescingSqs(CoalescingProducer),
    /// RabbitMQ.
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(RabbitmqProducer),
    /// Kafka.
    #[cfg(feature = "kafka")]
    Kafka(KafkaProducer),
}

/// The producers of one function. They share one SQS client, one RabbitMQ connection and one Kafka cluster.
pub(crate) struct Producers {
    #[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "SQS alone reads it"))]
    pub(crate) aws: AwsEnvironment,
    /// Whether the process has several requests at a time.
    #[cfg(feature = "sqs")]
    pub(crate) coalesce: bool,
    /// The first SQS producer. The others share its connections.
    #[cfg(feature = "sqs")]
    pub(crate) sqs: Option<SqsProducer>,
    /// Where envelopes go that are larger than a queue accepts.
    #[cfg(feature = "s3")]
    pub(crate) payloads: Option<sluicegate_queue::sqs::PayloadStore>,
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: Option<(Broker, sluicegate_queue::queue_names::RetryDelays)>,
    #[cfg(feature = "kafka")]
    pub(crate) kafka: Option<Cluster>,
}

impl Producers {
    /// Returns the producer of a binding, or `None` if its broker is not built in or not configured. The configuration
    /// reports both as errors.
    pub(crate) fn for_binding(&mut self, binding: Binding) -> Option<AnyProducer> {
        match binding {
            #[cfg(feature = "sqs")]
            Binding::Sqs { queue_url, .. } => {
                let first = self.sqs.take();
                let producer =
                    first.map_or_else(|| SqsProducer::new(&self.aws, &queue_url), |first| first.for_queue(&queue_url));
                #[cfg(feature = "s3")]
                let producer = producer.with_payloads(self.payloads.clone());
                let producer = self.sqs.insert(producer).clone();
                Some(match self.coalesce {
                    true => AnyProducer::CoalescingSqs(CoalescingProducer::new(producer)),
                    false => AnyProducer::Sqs(producer),
                })
            }
            #[cfg(feature = "rabbitmq")]
            Binding::Rabbitmq { exchange, routing_key } => {
                let (broker, retry_delays) = self.rabbitmq.clone()?;
                Some(AnyProducer::Rabbitmq(RabbitmqProducer::new(broker, exchange, routing_key, retry_delays)))
            }
            #[cfg(feature = "kafka")]
            Binding::Kafka { topic, key } => {
                Some(AnyProducer::Kafka(KafkaProducer::new(self.kafka.clone()?, topic).with_key(key)))
            }
            #[cfg(not(all(feature = "sqs", feature = "rabbitmq", feature = "kafka")))]
            _ => None,
        }
    }
}

impl Producer for AnyProducer {
    fn destination(&self) -> Option<Destination<'_>> {
        match *self {
            #[cfg(feature = "sqs")]
            Self::Sqs(ref producer) => producer.destination(),
            #[cfg(feature = "sqs")]
            Self::CoalescingSqs(ref producer) => producer.destination(),
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(ref producer) => producer.destination(),
            #[cfg(feature = "kafka")]
            Self::Kafka(ref producer) => producer.destination(),
        }
    }

    fn check(&self, message: &Message<'_>) -> Result<(), SendError> {
        match *self {
            #[cfg(feature = "sqs")]
            Self::Sqs(ref producer) => producer.check(message),
            #[cfg(feature = "sqs")]
            Self::CoalescingSqs(ref producer) => producer.check(message),
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(ref producer) => producer.check(message),
            #[cfg(feature = "kafka")]
            Self::Kafka(ref producer) => producer.check(message),
        }
    }

    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        match *self {
            #[cfg(feature = "sqs")]
            Self::Sqs(ref producer) => producer.send(message, deadline).await,
            // In a box, because the future of every other request would have room for it.
            #[cfg(feature = "sqs")]
            Self::CoalescingSqs(ref producer) => Box::pin(producer.send(message, deadline)).await,
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(ref producer) => producer.send(message, deadline).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(ref producer) => producer.send(message, deadline).await,
        }
    }

    async fn send_all(&self, messages: &[Message<'_>], deadline: Instant) -> Vec<Result<Receipt, SendError>> {
        match *self {
            #[cfg(feature = "sqs")]
            Self::Sqs(ref producer) => producer.send_all(messages, deadline).await,
            // In a box, because the future of every other request would have room for it.
            #[cfg(feature = "sqs")]
            Self::CoalescingSqs(ref producer) => Box::pin(producer.send_all(messages, deadline)).await,
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(ref producer) => producer.send_all(messages, deadline).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(ref producer) => producer.send_all(messages, deadline).await,
        }
    }
}
