//! The sources of batches: one module per broker, and the choice between them by the event.

pub(crate) mod adapter;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod cloud_event;
mod environment;
#[cfg(feature = "kafka")]
pub(crate) mod kafka;
#[cfg(feature = "rabbitmq")]
pub(crate) mod rabbitmq;
mod raw;
#[cfg(feature = "sqs")]
pub(crate) mod sqs;

#[cfg(feature = "sqs")]
use sluicegate_aws_client::{AwsConfigError, AwsEnvironment};

use self::adapter::{ReceivedMessage, Source};
use crate::batch_run::BatchRun;
use crate::deadlines::Deadlines;
use crate::settlement::{BatchResponse, Settlement};

/// The settings of every source. What was not set comes from the environment.
#[derive(Default)]
pub(crate) struct Settings {
    #[cfg(feature = "sqs")]
    pub(crate) sqs: sqs::Settings,
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: rabbitmq::Settings,
    #[cfg(feature = "kafka")]
    pub(crate) kafka: kafka::Settings,
}

/// An address of this machine at which no service listens: discard, RFC 863.
const NO_SERVICE: &str = "127.0.0.1:9";

/// Returns an environment whose services do not answer.
#[cfg(feature = "sqs")]
pub(crate) fn without_aws() -> Result<AwsEnvironment, AwsConfigError> {
    AwsEnvironment::read(|name| {
        Some(if name.starts_with("AWS_ENDPOINT") { format!("http://{NO_SERVICE}") } else { "none".to_owned() })
    })
}

impl Settings {
    /// Points each broker that is not configured at [`NO_SERVICE`].
    #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
    pub(crate) fn without_services(&mut self, mistakes: &mut Vec<String>) {
        #[cfg(feature = "rabbitmq")]
        self.rabbitmq.without_service(&format!("amqp://none:none@{NO_SERVICE}"), mistakes);
        #[cfg(feature = "kafka")]
        self.kafka.without_service(NO_SERVICE, mistakes);
    }

    /// Creates the sources, and adds configuration errors to `mistakes`.
    pub(crate) fn sources(
        self,
        lookup: impl Fn(&str) -> Option<String>,
        mistakes: &mut Vec<String>,
    ) -> Option<Sources> {
        #[cfg(feature = "sqs")]
        let sqs = self.sqs.source(&lookup, mistakes);
        #[cfg(feature = "rabbitmq")]
        let rabbitmq = self.rabbitmq.source(&lookup, mistakes);
        #[cfg(feature = "kafka")]
        let kafka = self.kafka.source(&lookup, mistakes);
        Some(Sources {
            #[cfg(feature = "sqs")]
            sqs: sqs?,
            #[cfg(feature = "rabbitmq")]
            rabbitmq,
            #[cfg(feature = "kafka")]
            kafka,
        })
    }
}

/// The sources that this build contains.
pub(crate) struct Sources {
    #[cfg(feature = "sqs")]
    sqs: sqs::SqsSource,
    /// `None` if no broker is configured.
    #[cfg(feature = "rabbitmq")]
    rabbitmq: Option<rabbitmq::RabbitmqSource>,
    /// `None` if no cluster is configured.
    #[cfg(feature = "kafka")]
    kafka: Option<kafka::KafkaSource>,
}

/// A batch of one of the sources.
pub(crate) enum Batch<'a> {
    #[cfg(feature = "sqs")]
    Sqs(sqs::Batch<'a>),
    #[cfg(feature = "rabbitmq")]
    Rabbitmq(rabbitmq::Batch<'a>),
    #[cfg(feature = "kafka")]
    Kafka(kafka::Batch<'a>),
}

/// An event that is not a batch of a configured source. Lambda returns all of its messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[cfg(feature = "sqs")]
    #[error(transparent)]
    Sqs(#[from] sqs::ReadError),
    #[cfg(feature = "rabbitmq")]
    #[error(transparent)]
    Rabbitmq(#[from] rabbitmq::ReadError),
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] kafka::ReadError),
    #[cfg(not(feature = "sqs"))]
    #[error("the event is not from a source that this function is built with")]
    UnknownSource,
}

impl Sources {
    /// Connects to the brokers that keep a connection, so that the first batch does not wait for it.
    pub(crate) async fn connect(&self) {
        #[cfg(feature = "rabbitmq")]
        if let Some(source) = &self.rabbitmq {
            source.connect().await;
        }
    }

    /// Reads the batch in `event`, which determines the source. `trace_header` is that of the invocation, which calls
    /// of AWS send on.
    #[cfg_attr(not(feature = "sqs"), expect(unused_variables))]
    pub(crate) fn read<'a>(
        &'a self,
        event: &'a str,
        trace_header: Option<&'a str>,
        deadlines: Deadlines,
    ) -> Result<Batch<'a>, ReadError> {
        #[cfg(feature = "rabbitmq")]
        if let Some(batch) = rabbitmq::read(self.rabbitmq.as_ref(), event, deadlines) {
            return Ok(Batch::Rabbitmq(batch?));
        }
        #[cfg(feature = "kafka")]
        if let Some(batch) = kafka::read(self.kafka.as_ref(), event, deadlines) {
            return Ok(Batch::Kafka(batch?));
        }
        #[cfg(feature = "sqs")]
        return Ok(Batch::Sqs(self.sqs.read(event, trace_header, deadlines)?));
        #[cfg(not(feature = "sqs"))]
        Err(ReadError::UnknownSource)
    }
}

impl Batch<'_> {
    /// Returns the broker, as the semantic conventions of OpenTelemetry name it.
    #[cfg(feature = "otlp")]
    pub(crate) fn system(&self) -> &'static str {
        match self {
            #[cfg(feature = "sqs")]
            Self::Sqs(_) => "aws_sqs",
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(_) => "rabbitmq",
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => "kafka",
        }
    }

    /// Returns the messages of the batch.
    pub(crate) fn messages(&self) -> Vec<ReceivedMessage<'_>> {
        match self {
            #[cfg(feature = "sqs")]
            Self::Sqs(batch) => batch.messages(),
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(batch) => batch.messages(),
            #[cfg(feature = "kafka")]
            Self::Kafka(batch) => batch.messages(),
        }
    }

    /// Decodes, handles and settles every message.
    pub(crate) async fn settle(&self, run: &BatchRun<'_>, messages: &[ReceivedMessage<'_>]) -> Vec<Settlement> {
        match self {
            #[cfg(feature = "sqs")]
            Self::Sqs(batch) => run.settle(batch, messages).await,
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(batch) => run.settle(batch, messages).await,
            #[cfg(feature = "kafka")]
            Self::Kafka(batch) => run.settle(batch, messages).await,
        }
    }

    /// Returns the response to Lambda.
    pub(crate) fn respond(&self, settlements: &[Settlement]) -> Result<BatchResponse, lambda_runtime::Error> {
        match self {
            #[cfg(feature = "sqs")]
            Self::Sqs(batch) => Ok(batch.respond(settlements)?),
            #[cfg(feature = "rabbitmq")]
            Self::Rabbitmq(batch) => Ok(batch.respond(settlements)?),
            #[cfg(feature = "kafka")]
            Self::Kafka(batch) => Ok(batch.respond(settlements)?),
        }
    }
}
