//! [`Consumer`]: the handlers and the rules, ready for `lambda_runtime`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lambda_runtime::LambdaEvent;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sluicegate_telemetry::Emitter;
use tokio::time::Instant;

use crate::handlers::{self, Handlers};
use crate::report::Invocation;
use crate::{Delivery, Outcome, RetryPolicy};

/// Handlers working at the same time on one batch, unless set otherwise. A batch has ten messages by default.
const CONCURRENCY_DEFAULT: usize = 10;

/// Time kept for settling before the function's deadline, unless set otherwise: half of it for dead-letter queues, a quarter for
/// giving messages back, and a quarter for the answer's way back.
const DEADLINE_MARGIN_DEFAULT: Duration = Duration::from_secs(4);

/// Works batches off with the registered handlers.
pub struct Consumer {
    pub(crate) handlers: Handlers,
    pub(crate) concurrency: usize,
    pub(crate) deadline_margin: Duration,
    pub(crate) retry: RetryPolicy,
    /// None where nobody reads metrics.
    emitter: Option<Emitter>,
    #[cfg(feature = "sqs")]
    pub(crate) sqs: crate::source::sqs::SqsSource,
    /// None if no broker is configured.
    #[cfg(feature = "rabbitmq")]
    pub(crate) rabbitmq: Option<crate::source::rabbitmq::RabbitmqSource>,
}

/// When a batch has to be ready.
#[derive(Clone, Copy)]
pub(crate) struct Deadlines {
    /// Handlers are cancelled and nothing more is started.
    pub(crate) work_until: Instant,
    /// A dead-letter queue is waited for until then; what is left of settling is for giving messages back.
    pub(crate) dead_letter_until: Instant,
    /// Settling is given up. The rest is for the answer's way back.
    pub(crate) settle_until: Instant,
}

/// The messages that go back, as Lambda's `ReportBatchItemFailures` wants them. The others are deleted. For a batch of RabbitMQ
/// it is empty: Lambda acknowledges all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BatchResponse {
    #[serde(rename = "batchItemFailures")]
    failures: Vec<Failure>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Failure {
    #[serde(rename = "itemIdentifier")]
    id: String,
}

impl BatchResponse {
    pub(crate) fn of(ids: impl Iterator<Item = String>) -> Self {
        Self { failures: ids.map(|id| Failure { id }).collect() }
    }

    /// The ids of the messages that go back, in the order of the batch.
    pub fn failures(&self) -> impl Iterator<Item = &str> {
        self.failures.iter().map(|failure| failure.id.as_str())
    }
}

impl Consumer {
    /// Starts a consumer without handlers.
    pub fn builder() -> Builder {
        Builder {
            handlers: Handlers::default(),
            concurrency: CONCURRENCY_DEFAULT,
            deadline_margin: DEADLINE_MARGIN_DEFAULT,
            retry: RetryPolicy::default(),
            #[cfg(feature = "sqs")]
            sdk_config: None,
            #[cfg(feature = "sqs")]
            fifo_receive_count_max: None,
            #[cfg(feature = "rabbitmq")]
            rabbitmq: crate::source::rabbitmq::Settings::default(),
        }
    }

    /// Works one batch off: `lambda_runtime::run(service_fn(|event| consumer.handle(event)))`. The event itself says where it
    /// is from.
    ///
    /// For SQS, the mapping must have `ReportBatchItemFailures`; without it Lambda ignores the response and deletes everything.
    /// For RabbitMQ, the broker must be configured, and the queue must have its retry and dead-letter queues.
    ///
    /// # Errors
    /// Lambda returns the whole batch. Before any handler has run: the event is not from SQS or RabbitMQ, or not from a source
    /// there is configuration for, or its messages cannot be told apart. Afterwards, with RabbitMQ only: a message could not be
    /// settled, as a copy of it was not confirmed.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<BatchResponse, lambda_runtime::Error> {
        let now = Instant::now();
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or_default();
        let margin = self.deadline_margin.min(left / 4);
        let deadlines = Deadlines {
            work_until: now + (left - margin),
            dead_letter_until: now + (left - margin / 2),
            settle_until: now + (left - margin / 4),
        };
        let invocation = Invocation::new(&event.context, self.emitter.as_ref());
        #[cfg(feature = "rabbitmq")]
        let vhost = self.rabbitmq.as_ref().and_then(|source| source.vhost());
        #[cfg(feature = "rabbitmq")]
        if let Some(received) = crate::source::rabbitmq::received(&event.payload, vhost) {
            return Ok(self.handle_rabbitmq(&received?, deadlines, invocation).await?);
        }
        #[cfg(feature = "sqs")]
        return self.handle_sqs(&event.payload, deadlines, invocation).await;
        #[cfg(not(feature = "sqs"))]
        {
            let _ = (deadlines, invocation);
            Err("the event is not from a source that is built in".into())
        }
    }

    /// Serves Lambda until the process ends.
    ///
    /// # Errors
    /// The Runtime API cannot be reached.
    pub async fn run(self) -> Result<(), lambda_runtime::Error> {
        #[cfg(feature = "rabbitmq")]
        if let Some(source) = &self.rabbitmq {
            source.connect().await;
        }
        let consumer = &self;
        lambda_runtime::run(lambda_runtime::service_fn(async |event| consumer.handle(event).await)).await
    }
}

/// Collects handlers and rules.
#[must_use]
pub struct Builder {
    handlers: Handlers,
    concurrency: usize,
    deadline_margin: Duration,
    retry: RetryPolicy,
    #[cfg(feature = "sqs")]
    sdk_config: Option<sluicegate_queue::sqs::SdkConfig>,
    #[cfg(feature = "sqs")]
    fifo_receive_count_max: Option<u32>,
    #[cfg(feature = "rabbitmq")]
    rabbitmq: crate::source::rabbitmq::Settings,
}

/// Every mistake in the handlers and the configuration, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildError(Vec<String>);

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for BuildError {}

impl Builder {
    /// Registers a handler for an event type, or for all that begin with a prefix if `pattern` ends in `*` (`github.*`). An
    /// exact type beats a prefix and a longer prefix a shorter one. [`Builder::build`] refuses a second handler for one pattern,
    /// and a `*` elsewhere than at the end.
    pub fn on<H, F>(mut self, pattern: &str, handler: H) -> Self
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.handlers.on(pattern, handlers::plain(handler));
        self
    }

    /// Registers a handler that takes the payload as a `T`. A payload that does not fit is rejected, naming the place.
    pub fn on_json<T, H, F>(mut self, pattern: &str, handler: H) -> Self
    where
        T: DeserializeOwned + 'static,
        H: Fn(T, Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.handlers.on(pattern, handlers::json(handler));
        self
    }

    /// Registers a handler for every other type. Without one, a message of an unknown type is rejected.
    pub fn otherwise<H, F>(mut self, handler: H) -> Self
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.handlers.otherwise(handlers::plain(handler));
        self
    }

    /// How many handlers work at the same time on one batch: 10 by default, at least 1. They share one thread: a handler that
    /// blocks it holds up the others.
    pub fn concurrency(mut self, handlers_max: usize) -> Self {
        self.concurrency = handlers_max;
        self
    }

    /// How long before the function's deadline handlers are cancelled, to leave time for settling: 4 s by default, and never
    /// more than a quarter of what the function has.
    pub fn deadline_margin(mut self, margin: Duration) -> Self {
        self.deadline_margin = margin;
        self
    }

    /// How long messages wait after [`Outcome::Retry`].
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// The configuration for SQS, instead of that of the process environment.
    #[cfg(feature = "sqs")]
    pub fn sdk_config(mut self, config: sluicegate_queue::sqs::SdkConfig) -> Self {
        self.sdk_config = Some(config);
        self
    }

    /// After how many receives, from its first failure at the head of its group on, a failing message of an SQS FIFO queue is
    /// dead-lettered and its group goes on: at least 1, instead of `FIFO_MAX_RECEIVE_COUNT` or 5. The queue's `maxReceiveCount`
    /// counts the receives spent waiting behind others too, so set it at least to the mapping's batch size deadlines this, plus 10.
    #[cfg(feature = "sqs")]
    pub fn fifo_receive_count_max(mut self, receives: u32) -> Self {
        self.fifo_receive_count_max = Some(receives);
        self
    }

    /// The broker that takes the copies of messages of RabbitMQ, instead of that of the process environment. It must be the one
    /// the messages come from, and its virtual host theirs.
    #[cfg(feature = "rabbitmq")]
    pub fn broker(mut self, broker: sluicegate_queue::rabbitmq::Broker) -> Self {
        self.rabbitmq.broker = Some(broker);
        self
    }

    /// The retry queues there are on RabbitMQ, instead of `RABBITMQ_RETRY_DELAYS` or [`RetryDelays::default`](sluicegate_queue::queue_names::RetryDelays).
    #[cfg(feature = "rabbitmq")]
    pub fn retry_delays(mut self, retry_delays: sluicegate_queue::queue_names::RetryDelays) -> Self {
        self.rabbitmq.retry_delays = Some(retry_delays);
        self
    }

    /// After how many receives a message of RabbitMQ is dead-lettered instead of tried again, at least 1, instead of
    /// `RABBITMQ_MAX_RECEIVE_COUNT` or 5.
    #[cfg(feature = "rabbitmq")]
    pub fn receive_count_max(mut self, receives: u32) -> Self {
        self.rabbitmq.receive_count_max = Some(receives);
        self
    }

    /// Makes the consumer. Nothing is connected or read from disk: that waits until [`Consumer::run`], or until a message has to
    /// be delayed or dead-lettered.
    ///
    /// What was not given is taken from the environment: the AWS variables as [`sluicegate_queue::sqs::sdk_config`] reads them, the
    /// broker from `RABBITMQ_URL` and what belongs to it, `RABBITMQ_RETRY_DELAYS`, `RABBITMQ_MAX_RECEIVE_COUNT` and
    /// `FIFO_MAX_RECEIVE_COUNT`. Without `RABBITMQ_URL`, batches of RabbitMQ are refused. Metrics are written under the name in
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets, or not at all.
    ///
    /// # Errors
    /// No handler, two for one pattern, a pattern that can match nothing, a concurrency of 0, and every variable that is missing
    /// or wrong.
    pub fn build(self) -> Result<Consumer, BuildError> {
        let mut mistakes = self.handlers.mistakes();
        if self.concurrency == 0 {
            mistakes.push("concurrency is 0: no handler would ever be called".to_owned());
        }
        #[cfg(feature = "sqs")]
        let sdk_config = {
            let from_environment = || sluicegate_queue::sqs::sdk_config(environment);
            let sdk_config = self.sdk_config.map_or_else(from_environment, Ok);
            sdk_config.map_err(|error| mistakes.push(sluicegate_queue::chain(&error))).ok()
        };
        #[cfg(feature = "sqs")]
        let fifo_receive_count_max = self.fifo_receive_count_max.unwrap_or_else(|| {
            receive_count_max("FIFO_MAX_RECEIVE_COUNT", environment, &mut mistakes)
                .unwrap_or(crate::source::sqs::RECEIVE_COUNT_MAX_DEFAULT)
        });
        #[cfg(feature = "rabbitmq")]
        let rabbitmq = self.rabbitmq.source(environment, &mut mistakes);
        #[cfg(feature = "sqs")]
        let Some(sdk_config) = sdk_config else { return Err(BuildError(mistakes)) };
        if !mistakes.is_empty() {
            return Err(BuildError(mistakes));
        }
        Ok(Consumer {
            handlers: self.handlers,
            concurrency: self.concurrency,
            deadline_margin: self.deadline_margin,
            retry: self.retry,
            emitter: Emitter::from_env(environment),
            #[cfg(feature = "sqs")]
            sqs: crate::source::sqs::SqsSource::new(sdk_config, fifo_receive_count_max),
            #[cfg(feature = "rabbitmq")]
            rabbitmq,
        })
    }
}

/// Reads how many receives a message has; absent or blank is `None`.
#[cfg(any(feature = "rabbitmq", feature = "sqs"))]
pub(crate) fn receive_count_max(
    name: &str,
    lookup: impl Fn(&str) -> Option<String>,
    mistakes: &mut Vec<String>,
) -> Option<u32> {
    let text = lookup(name).filter(|text| !text.trim().is_empty())?;
    let receives = text.trim().parse().ok().filter(|receives| *receives > 0);
    if receives.is_none() {
        mistakes.push(format!("{name} is not a whole number of at least 1"));
    }
    receives
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
