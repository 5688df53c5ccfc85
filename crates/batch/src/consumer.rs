//! [`Consumer`]: the handlers and the rules, ready for `lambda_runtime`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handlers::{self, Handlers};
use crate::{Delivery, Outcome, RetryPolicy};

/// Handlers working at the same time on one batch, unless set otherwise. A batch has ten messages by default.
const CONCURRENCY_DEFAULT: usize = 10;

/// Time kept for settling before the function's deadline, unless set otherwise: enough for one attempt at a dead-letter
/// queue that does not answer and another that does.
const DEADLINE_MARGIN_DEFAULT: Duration = Duration::from_secs(4);

/// Works batches off with the registered handlers.
pub struct Consumer {
    pub(crate) handlers: Handlers,
    pub(crate) concurrency: usize,
    pub(crate) deadline_margin: Duration,
    pub(crate) retry: RetryPolicy,
    #[cfg(feature = "sqs")]
    pub(crate) sqs: crate::source::sqs::SqsSource,
}

/// The messages that go back, as Lambda's `ReportBatchItemFailures` wants them. The others are deleted.
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
        }
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
}

impl Builder {
    /// Registers a handler for an event type, or for all that begin with a prefix if `pattern` ends in `*` (`github.*`). An
    /// exact type beats a prefix and a longer prefix a shorter one.
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

    /// Makes the consumer. Nothing is connected or read from disk: that waits until a message has to be delayed or
    /// dead-lettered.
    ///
    /// # Errors
    /// The AWS variables missing from the environment, as [`sluicegate_queue::sqs::sdk_config`] tells them.
    #[cfg(feature = "sqs")]
    pub fn build(self) -> Result<Consumer, sluicegate_queue::sqs::ConfigError> {
        let from_environment = || sluicegate_queue::sqs::sdk_config(|name| std::env::var(name).ok());
        let sdk_config = self.sdk_config.map_or_else(from_environment, Ok)?;
        Ok(Consumer {
            handlers: self.handlers,
            concurrency: self.concurrency,
            deadline_margin: self.deadline_margin,
            retry: self.retry,
            sqs: crate::source::sqs::SqsSource::new(sdk_config),
        })
    }
}
