//! [`Backend`]: the producer behind a binding, whichever broker it is for. Which brokers there are, the features say.

use sluicegate_queue::aws::SdkConfig;
use sluicegate_queue::{Binding, Message, Producer, Receipt, SendError};
use tokio::time::Instant;

#[cfg(feature = "rabbitmq")]
use sluicegate_queue::rabbitmq::{Broker, RabbitmqProducer};
#[cfg(feature = "sqs")]
use sluicegate_queue::sqs::SqsProducer;

/// A queue on one of the brokers built in.
#[non_exhaustive]
pub enum Backend {
    /// On Amazon SQS.
    #[cfg(feature = "sqs")]
    Sqs(SqsProducer),
    /// On RabbitMQ.
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(RabbitmqProducer),
}

/// Makes backends that share what can be shared: one SQS client, one RabbitMQ connection.
pub(crate) struct Backends {
    #[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "for SQS alone"))]
    pub(crate) sdk: SdkConfig,
    /// The first SQS producer; making a client reads every root certificate.
    #[cfg(feature = "sqs")]
    pub(crate) sqs: Option<SqsProducer>,
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: Option<(Broker, sluicegate_queue::queue_names::RetryDelays)>,
}

impl Backends {
    /// The backend of one binding; `None` when its broker is not built in or not configured, which the configuration tells of.
    pub(crate) fn backend(&mut self, binding: Binding) -> Option<Backend> {
        match binding {
            #[cfg(feature = "sqs")]
            Binding::Sqs { queue_url, .. } => {
                let first = self.sqs.take();
                let producer =
                    first.map_or_else(|| SqsProducer::new(&self.sdk, &queue_url), |first| first.for_queue(&queue_url));
                Some(Backend::Sqs(self.sqs.insert(producer).clone()))
            }
            #[cfg(feature = "rabbitmq")]
            Binding::Rabbitmq { exchange, routing_key } => {
                let (broker, ladder) = self.rabbitmq.clone()?;
                Some(Backend::Rabbitmq(RabbitmqProducer::new(broker, exchange, routing_key, ladder)))
            }
            #[cfg(not(all(feature = "sqs", feature = "rabbitmq")))]
            _ => None,
        }
    }
}

impl Producer for Backend {
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        match *self {
            #[cfg(feature = "sqs")]
            Self::Sqs(ref producer) => producer.send(message, deadline).await,
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(ref producer) => producer.send(message, deadline).await,
        }
    }
}
