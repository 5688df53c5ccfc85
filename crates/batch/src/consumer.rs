//! [`Consumer`]: handles and settles the batches that Lambda delivers.

use std::env;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::layers::TracingLayer;
use lambda_runtime::{Context, LambdaEvent, Runtime, service_fn};
use serde_json::value::RawValue;
use sluicegate_runtime::{EventText, Invocations, Loops, all, max_concurrency};
use sluicegate_telemetry::{Emitter, log};

use crate::batch_run::BatchRun;
#[cfg(feature = "otlp")]
use crate::batch_trace::BatchTrace;
use crate::deadlines::Deadlines;
use crate::handlers::Handlers;
use crate::idempotency::Idempotency;
use crate::report::Report;
use crate::retry::RetryPolicies;
use crate::source::Sources;
use crate::status::Statuses;
use crate::{AnyStore, BatchResponse};

/// A consumer with its handlers and rules. [`Consumer::builder`](crate::Consumer::builder) makes one.
pub struct Consumer {
    pub(crate) handlers: Handlers,
    pub(crate) concurrency: usize,
    pub(crate) deadline_margin: Duration,
    pub(crate) retries: RetryPolicies,
    /// `None` if no type has a rule.
    pub(crate) idempotency: Option<Idempotency>,
    /// `None` if metrics are not written.
    pub(crate) emitter: Option<Emitter>,
    pub(crate) sources: Sources,
    /// Of the statuses of messages; `None` if they are not recorded.
    pub(crate) store: Option<Arc<AnyStore>>,
    /// `None` if spans are not exported.
    #[cfg(feature = "otlp")]
    pub(crate) tracer: Option<crate::Tracer>,
}

impl Consumer {
    /// Handles one batch: `lambda_runtime::run(service_fn(|event| consumer.handle(event)))`. The event determines the
    /// source.
    ///
    /// For SQS, the mapping must have `ReportBatchItemFailures`; without it Lambda ignores the response and deletes
    /// every message. For RabbitMQ, the broker must be configured, and the queue must have its retry and dead-letter
    /// queues.
    ///
    /// # Errors
    /// Lambda returns the whole batch to the queue. Before any handler runs: the event is not a batch of a configured
    /// source, or its messages cannot be distinguished. After the handlers, with RabbitMQ only: a copy of a message was
    /// not confirmed.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<BatchResponse, lambda_runtime::Error> {
        self.handle_text(event.payload.get(), &event.context).await
    }

    async fn handle_text(&self, event: &str, context: &Context) -> Result<BatchResponse, lambda_runtime::Error> {
        log::flushed(pin!(self.settle(event, context))).await
    }

    async fn settle(&self, event: &str, context: &Context) -> Result<BatchResponse, lambda_runtime::Error> {
        let deadlines = Deadlines::new(context.deadline(), self.deadline_margin);
        let report = Report::new(context, self.emitter.as_ref());
        let batch = self.sources.read(event, context.xray_trace_id.as_deref(), deadlines)?;
        let messages = batch.messages();
        let statuses = self.store.as_deref().map(Statuses::of);
        #[cfg(feature = "otlp")]
        let trace = self.tracer.as_ref().map(|tracer| BatchTrace::new(tracer, batch.system(), context));
        let mut run = self.batch_run(deadlines, report);
        run.statuses = statuses.as_ref();
        #[cfg(feature = "otlp")]
        {
            run.trace = trace.as_ref();
        }
        let settlements = batch.settle(&run, &messages).await;
        if let Some(statuses) = statuses {
            statuses.record(report.request_id, deadlines.settle_until).await;
        }
        report.count(&messages, &settlements);
        #[cfg(feature = "otlp")]
        if let Some(trace) = trace {
            trace.export(&messages, deadlines.settle_until).await;
        }
        batch.respond(&settlements)
    }

    /// Serves Lambda until SIGTERM, and then ends when the running batches are settled and answered. On Lambda Managed
    /// Instances it serves several batches at a time, with [`ConsumerBuilder::concurrency`] handlers for each.
    ///
    /// With one batch at a time, each invocation keeps about 180 bytes: the runtime writes its trace header to the
    /// environment variable `_X_AMZN_TRACE_ID`, from which SDK clients send it on, and the C library keeps every value.
    ///
    /// # Errors
    /// The Runtime API cannot be reached.
    ///
    /// [`ConsumerBuilder::concurrency`]: crate::ConsumerBuilder::concurrency
    pub async fn run(self) -> Result<(), lambda_runtime::Error> {
        self.sources.connect().await;
        // One consumer for the life of the process.
        let consumer: &'static Self = Box::leak(Box::new(self));
        let invocations = Invocations::default();
        let handle = move |LambdaEvent { context, .. }: LambdaEvent<()>| {
            let event = EventText::take();
            async move {
                let event = str::from_utf8(&event).map_err(|error| format!("the event is not UTF-8: {error}"))?;
                consumer.handle_text(event, &context).await
            }
        };
        let runtime = Runtime::new(service_fn(handle)).layer(EventText);
        let runtime = runtime.layer(TracingLayer::new()).layer(invocations);
        let serving = async {
            match max_concurrency(|name| env::var(name).ok()) {
                1 => runtime.run().await,
                concurrency => {
                    let loops = Loops::new(runtime)?;
                    all((0..concurrency).map(|_| loops.serve())).await
                }
            }
        };
        invocations.until_terminated(serving).await
    }

    /// Returns the rules for one batch, without statuses and spans.
    pub(crate) fn batch_run<'a>(&'a self, deadlines: Deadlines, report: Report<'a>) -> BatchRun<'a> {
        let Self { handlers, retries, concurrency, .. } = self;
        BatchRun {
            handlers,
            retries,
            idempotency: self.idempotency.as_ref(),
            statuses: None,
            concurrency: *concurrency,
            deadlines,
            report,
            #[cfg(feature = "otlp")]
            trace: None,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sqs")]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use lambda_runtime::Context;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::IdempotencyRule;

    const EVENT: &str = include_str!("../../../tests/events/orders-placed.json");

    fn event() -> LambdaEvent<Box<RawValue>> {
        let deadline = (SystemTime::now() + Duration::from_secs(60)).duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let mut context = Context::default();
        context.deadline = deadline.as_millis().try_into().unwrap();
        LambdaEvent::new(serde_json::from_str(EVENT).unwrap(), context)
    }

    /// As on Lambda Managed Instances, if SQS delivers a message twice at the same time.
    #[tokio::test]
    async fn of_two_batches_at_a_time_one_handles_a_message_and_the_other_returns_it() {
        let (calls, room) = (Arc::<AtomicUsize>::default(), Arc::new(Semaphore::new(0)));
        let (counted, waited) = (Arc::clone(&calls), Arc::clone(&room));
        let handler = move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            let room = Arc::clone(&waited);
            async move { room.acquire().await.map(drop) }
        };
        let builder = Consumer::builder().otherwise(handler).idempotency_for("*", IdempotencyRule::default());
        let consumer = builder.without_services().unwrap().build().unwrap();
        let second = async {
            let returned = consumer.handle(event()).await.unwrap();
            room.add_permits(1);
            returned
        };
        let (first, second) = tokio::join!(consumer.handle(event()), second);
        assert_eq!((first.unwrap().failures().count(), second.failures().count()), (0, 2));
        assert_eq!(calls.load(Ordering::Relaxed), 2, "each message once");
        assert_eq!(consumer.handle(event()).await.unwrap().failures().count(), 0, "both are duplicates now");
        assert_eq!(calls.load(Ordering::Relaxed), 2);
    }
}
