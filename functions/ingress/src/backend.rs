//! [`Backend`]: the producer behind a binding, whichever broker it is for. What brokers there are, the features say.

use sluicegate_queue::{Binding, Message, Producer, Receipt, SendError};
use tokio::time::Instant;

#[cfg(feature = "rabbitmq")]
use sluicegate_queue::rabbitmq::{Broker, RabbitmqProducer};
#[cfg(feature = "sqs")]
use sluicegate_queue::sqs::SqsProducer;

use sluicegate_queue::aws::SdkConfig;

/// A queue on one of the brokers built in.
pub(crate) enum Backend {
    #[cfg(feature = "sqs")]
    Sqs(SqsProducer),
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(RabbitmqProducer),
}

/// Makes backends that share what can be shared: one SQS client, one RabbitMQ connection.
pub(crate) struct Backends {
    #[cfg_attr(not(feature = "sqs"), expect(dead_code, reason = "for SQS clients"))]
    pub(crate) sdk: SdkConfig,
    /// The last SQS producer made: making a client reads every root certificate.
    #[cfg(feature = "sqs")]
    pub(crate) sqs: Option<SqsProducer>,
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: Option<(Broker, sluicegate_queue::names::Ladder)>,
}

impl Backends {
    /// The backend of one binding.
    ///
    /// # Errors
    /// When its broker is not built in, or not configured.
    pub(crate) fn backend(&mut self, binding: Binding) -> Result<Backend, &'static str> {
        match binding {
            #[cfg(feature = "sqs")]
            Binding::Sqs { queue_url, .. } => {
                let producer = match &self.sqs {
                    Some(first) => first.for_queue(queue_url),
                    None => SqsProducer::new(&self.sdk, queue_url),
                };
                Ok(Backend::Sqs(self.sqs.insert(producer).clone()))
            }
            #[cfg(not(feature = "sqs"))]
            Binding::Sqs { .. } => {
                Err("is bound to SQS, which this function is built without; build it with the feature sqs")
            }
            #[cfg(feature = "rabbitmq")]
            Binding::Rabbitmq { exchange, routing_key } => {
                let (broker, ladder) =
                    self.rabbitmq.clone().ok_or("is bound to RabbitMQ, and RABBITMQ_URL is not set")?;
                Ok(Backend::Rabbitmq(RabbitmqProducer::new(broker, exchange, routing_key, ladder)))
            }
            #[cfg(not(feature = "rabbitmq"))]
            Binding::Rabbitmq { .. } => Err(
                "is bound to RabbitMQ, which this function is built without; deploy the build with it (functions/rabbitmq)",
            ),
        }
    }
}

impl Producer for Backend {
    #[cfg_attr(not(any(feature = "sqs", feature = "rabbitmq")), expect(unused_variables, reason = "no broker"))]
    async fn send(&self, message: &Message<'_>, deadline: Instant) -> Result<Receipt, SendError> {
        match *self {
            #[cfg(feature = "sqs")]
            Self::Sqs(ref producer) => producer.send(message, deadline).await,
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(ref producer) => producer.send(message, deadline).await,
        }
    }
}
