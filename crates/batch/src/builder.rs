//! [`ConsumerBuilder`]: collects handlers and settings, and checks them.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
#[cfg(any(feature = "dynamodb", feature = "sqs"))]
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_telemetry::Emitter;

use crate::consumer::Consumer;
use crate::handlers::{self, Handlers};
use crate::retry::RetryPolicies;
use crate::{AnyStore, Delivery, MemoryStore, Outcome, RetryPolicy, source};

/// Handlers that run concurrently on one batch by default, which is the default size of a batch.
const CONCURRENCY_DEFAULT: usize = 10;

/// Time kept for settling before the function's deadline by default: half of it for dead-letter queues, a quarter for
/// returning messages, and a quarter for the response.
const DEADLINE_MARGIN_DEFAULT: Duration = Duration::from_secs(4);

impl Consumer {
    /// Starts a consumer without handlers.
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder {
            handlers: Handlers::default(),
            concurrency: CONCURRENCY_DEFAULT,
            deadline_margin: DEADLINE_MARGIN_DEFAULT,
            retries: RetryPolicies::default(),
            idempotency: crate::idempotency::Rules::default(),
            mistakes: Vec::new(),
            sources: source::Settings::default(),
            store: None,
            #[cfg(any(feature = "dynamodb", feature = "sqs"))]
            aws: None,
            emitter: Emitter::from_env(environment),
            #[cfg(feature = "otlp")]
            tracer: None,
            #[cfg(feature = "tower")]
            layers: Vec::new(),
        }
    }
}

/// Collects handlers and settings for a [`Consumer`].
#[must_use]
pub struct ConsumerBuilder {
    handlers: Handlers,
    concurrency: usize,
    deadline_margin: Duration,
    pub(crate) retries: RetryPolicies,
    idempotency: crate::idempotency::Rules,
    mistakes: Vec<String>,
    sources: source::Settings,
    store: Option<Arc<AnyStore>>,
    #[cfg(any(feature = "dynamodb", feature = "sqs"))]
    aws: Option<AwsEnvironment>,
    emitter: Option<Emitter>,
    #[cfg(feature = "otlp")]
    tracer: Option<crate::Tracer>,
    #[cfg(feature = "tower")]
    layers: Vec<crate::layers::Wrap>,
}

/// Every mistake in the handlers and the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerBuildError(Vec<String>);

impl fmt::Display for ConsumerBuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for ConsumerBuildError {}

impl ConsumerBuilder {
    /// Registers a handler for an event type, or for every type with a prefix if `pattern` ends in `*` (`github.*`). An
    /// exact type takes precedence over a prefix, and a longer prefix over a shorter one. [`ConsumerBuilder::build`]
    /// refuses a second handler for one pattern, and a `*` elsewhere than at the end.
    pub fn on<H, F>(mut self, pattern: &str, handler: H) -> Self
    where
        H: Fn(Arc<Delivery>) -> F + Send + Sync + 'static,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        self.handlers.on(pattern, handlers::plain(handler));
        self
    }

    /// Registers a handler that takes the payload as a `T`. A payload that does not fit is rejected with the place of
    /// the fault.
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

    /// Puts a layer of tower around all handlers, and around the layers that were added before. It sees every message
    /// that could be decoded, once.
    ///
    /// An error of the layer becomes an outcome as that of a handler does: a timeout is an [`Outcome::Failed`].
    #[cfg(feature = "tower")]
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: tower_layer::Layer<crate::HandlerService> + Send + 'static,
        L::Service: tower_service::Service<Arc<Delivery>, Response = Outcome> + Clone + Send + Sync + 'static,
        <L::Service as tower_service::Service<Arc<Delivery>>>::Error:
            Into<Box<dyn std::error::Error + Send + Sync>> + Send,
        <L::Service as tower_service::Service<Arc<Delivery>>>::Future: Send,
    {
        self.layers.push(crate::layers::wrap(layer));
        self
    }

    /// Sets how many handlers run concurrently on one batch: 10 by default, at least 1. They share one thread, so a
    /// handler that blocks it delays the others.
    pub fn concurrency(mut self, handlers_max: usize) -> Self {
        self.concurrency = handlers_max;
        self
    }

    /// Sets how long before the function's deadline handlers are cancelled, to leave time for settling: 4 s by default,
    /// and at most a quarter of the function's time.
    pub fn deadline_margin(mut self, margin: Duration) -> Self {
        self.deadline_margin = margin;
        self
    }

    /// Sets how long messages wait after [`Outcome::Retry`].
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retries.otherwise = policy;
        self
    }

    /// Sets how long messages of an event type wait, or of every type with a prefix: patterns as for
    /// [`ConsumerBuilder::on`].
    pub fn retry_for(mut self, pattern: &str, policy: RetryPolicy) -> Self {
        if let Err(fault) = self.retries.by_type.insert(pattern, policy) {
            self.mistakes.push(fault.of(pattern, "retry policies"));
        }
        self
    }

    /// Handles each message of an event type once, or of every type with a prefix: patterns as for
    /// [`ConsumerBuilder::on`]. See [`IdempotencyRule`](crate::IdempotencyRule).
    pub fn idempotency_for(mut self, pattern: &str, rule: crate::IdempotencyRule) -> Self {
        self.idempotency.insert(pattern, rule, &mut self.mistakes);
        self
    }

    /// Sets the store of idempotency keys and statuses, instead of the table in `IDEMPOTENCY_TABLE`. An `Arc` can be
    /// shared with handlers, which then share its connections.
    pub fn store(mut self, store: impl Into<Arc<AnyStore>>) -> Self {
        self.store = Some(store.into());
        self
    }

    /// Sets Region, credentials and endpoints for SQS, the buckets in `PAYLOAD_BUCKET` and the table in
    /// `IDEMPOTENCY_TABLE`, instead of those in the environment.
    #[cfg(any(feature = "dynamodb", feature = "sqs"))]
    pub fn aws_environment(mut self, environment: AwsEnvironment) -> Self {
        self.aws = Some(environment);
        self
    }

    /// Sets the buckets that payloads over the limit of SQS are read from, instead of those in `PAYLOAD_BUCKET`. A
    /// message that names another bucket is rejected.
    #[cfg(feature = "s3")]
    pub fn payload_buckets(
        mut self,
        environment: &AwsEnvironment,
        buckets: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.sources.sqs.payloads = Some(source::sqs::payload::Payloads::new(environment, buckets));
        self
    }

    /// Sets after how many receives, from its first failure at the head of its group, a failing message of an SQS FIFO
    /// queue is dead-lettered and its group continues: at least 1, instead of `FIFO_MAX_RECEIVE_COUNT` or 5. The
    /// queue's `maxReceiveCount` also counts receives spent waiting behind other messages, so set it to at least the
    /// mapping's batch size times this, plus 10.
    #[cfg(feature = "sqs")]
    pub fn fifo_receive_count_max(mut self, receives: u32) -> Self {
        self.sources.sqs.fifo_receive_count_max = Some(receives);
        self
    }

    /// Sets the broker that copies of RabbitMQ messages are published to, instead of the one in the environment. It
    /// must be the broker and the virtual host of the messages.
    #[cfg(feature = "rabbitmq")]
    pub fn broker(mut self, broker: sluicegate_queue::rabbitmq::Broker) -> Self {
        self.sources.rabbitmq.broker = Some(broker);
        self
    }

    /// Sets the delays that have a retry queue on RabbitMQ, instead of `RABBITMQ_RETRY_DELAYS` or
    /// [`RetryDelays::default`](sluicegate_queue::queue_names::RetryDelays).
    #[cfg(feature = "rabbitmq")]
    pub fn retry_delays(mut self, retry_delays: sluicegate_queue::queue_names::RetryDelays) -> Self {
        self.sources.rabbitmq.retry_delays = Some(retry_delays);
        self
    }

    /// Sets after how many receives a RabbitMQ message is dead-lettered instead of retried: at least 1, instead of
    /// `RABBITMQ_MAX_RECEIVE_COUNT` or 5.
    #[cfg(feature = "rabbitmq")]
    pub fn receive_count_max(mut self, receives: u32) -> Self {
        self.sources.rabbitmq.receive_count_max = Some(receives);
        self
    }

    /// Sets the RabbitMQ queues whose messages are handled in order, instead of `RABBITMQ_ORDERED_QUEUES`. A failing
    /// message is tried again in the same invocation, and the later ones of its group wait; the group is that of the
    /// event, or else the queue.
    #[cfg(feature = "rabbitmq")]
    pub fn ordered_queues<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.sources.rabbitmq.ordered_queues = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the cluster with the dead-letter topics of Kafka, instead of the one in the environment.
    #[cfg(feature = "kafka")]
    pub fn cluster(mut self, cluster: sluicegate_queue::kafka::Cluster) -> Self {
        self.sources.kafka.cluster = Some(cluster);
        self
    }

    /// Sets after how many receives a failing record of Kafka is dead-lettered: at least 1, instead of
    /// `KAFKA_MAX_RECEIVE_COUNT` or 5. Each call of its handler is a receive.
    #[cfg(feature = "kafka")]
    pub fn kafka_receive_count_max(mut self, receives: u32) -> Self {
        self.sources.kafka.receive_count_max = Some(receives);
        self
    }

    /// Sets the exporter of spans, instead of the one in the environment.
    #[cfg(feature = "otlp")]
    pub fn tracer(mut self, tracer: crate::Tracer) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Writes metrics there, instead of to the standard output.
    #[cfg(feature = "in-process")]
    pub fn emitter(mut self, emitter: Emitter) -> Self {
        self.emitter = Some(emitter);
        self
    }

    /// Points each service that is not configured at an address without a service, and keeps records in memory, for
    /// [`testing`](crate::testing).
    pub(crate) fn without_services(mut self) -> Result<Self, ConsumerBuildError> {
        let mut mistakes = Vec::new();
        self.store.get_or_insert_with(|| Arc::new(AnyStore::Memory(MemoryStore::default())));
        #[cfg(feature = "sqs")]
        if self.aws.is_none() {
            let environment = source::without_aws().map_err(|error| mistakes.push(error.to_string()));
            self.aws = environment.ok();
        }
        #[cfg(any(feature = "kafka", feature = "rabbitmq"))]
        self.sources.without_services(&mut mistakes);
        if mistakes.is_empty() { Ok(self) } else { Err(ConsumerBuildError(mistakes)) }
    }

    /// Creates the consumer. It connects and reads certificates in [`Consumer::run`], or when a message has to be
    /// delayed or dead-lettered; with a table of idempotency keys, it reads certificates here.
    ///
    /// Settings that were not given come from the environment: the AWS variables as
    /// `AwsEnvironment::read` reads them, the broker from `RABBITMQ_URL` and its related variables,
    /// `RABBITMQ_RETRY_DELAYS`, `RABBITMQ_MAX_RECEIVE_COUNT`, `FIFO_MAX_RECEIVE_COUNT` and `PAYLOAD_BUCKET`. Without
    /// `RABBITMQ_URL`, RabbitMQ batches are refused. For Kafka they are `KAFKA_BOOTSTRAP_SERVERS` and related ones,
    /// `KAFKA_MAX_RECEIVE_COUNT`, `KAFKA_DEAD_LETTER_TOPIC` and `KAFKA_PARTIAL_BATCH_RESPONSE`; without
    /// `KAFKA_BOOTSTRAP_SERVERS`, Kafka batches are refused. Metrics are written under the name in
    /// `AWS_LAMBDA_FUNCTION_NAME`, which Lambda sets, or not at all. With the feature `dynamodb`, `IDEMPOTENCY_TABLE`
    /// names the table of idempotency keys and statuses.
    ///
    /// # Errors
    /// No handler, two handlers, retry policies or idempotency rules for one pattern, a pattern that matches nothing, a
    /// concurrency of 0, a rule without a store, and every variable that is missing or wrong.
    pub fn build(mut self) -> Result<Consumer, ConsumerBuildError> {
        let mut mistakes = self.handlers.mistakes();
        mistakes.append(&mut self.mistakes);
        if self.concurrency == 0 {
            mistakes.push("concurrency is 0: no handler would ever be called".to_owned());
        }
        #[cfg(any(feature = "dynamodb", feature = "sqs"))]
        let aws = self.aws.map_or_else(|| AwsEnvironment::read(environment), Ok);
        #[cfg(feature = "dynamodb")]
        if self.store.is_none() {
            self.store = crate::store::from_env(&aws, environment, &mut mistakes);
        }
        #[cfg(feature = "sqs")]
        {
            self.sources.sqs.aws = aws.map_err(|error| mistakes.push(error.to_string())).ok();
            self.sources.sqs.accepts_raw = self.handlers.has_exact(source::sqs::envelope::RAW_TYPE);
        }
        #[cfg(feature = "kafka")]
        {
            self.sources.kafka.accepts_tombstones = self.handlers.has_exact(source::kafka::TOMBSTONE_TYPE);
        }
        let idempotency = self.idempotency.with_store(self.store.clone(), &mut mistakes);
        let sources = self.sources.sources(environment, &mut mistakes);
        let Some(sources) = sources.filter(|_| mistakes.is_empty()) else { return Err(ConsumerBuildError(mistakes)) };
        let handlers = self.handlers;
        #[cfg(feature = "tower")]
        let handlers = self.layers.into_iter().fold(handlers, |handlers, wrap| wrap(handlers));
        Ok(Consumer {
            handlers,
            concurrency: self.concurrency,
            deadline_margin: self.deadline_margin,
            retries: self.retries,
            idempotency,
            emitter: self.emitter,
            sources,
            store: self.store,
            #[cfg(feature = "otlp")]
            tracer: self.tracer.or_else(|| crate::Tracer::from_env_or_log(environment)),
        })
    }
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
