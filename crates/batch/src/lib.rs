//! A consumer runtime for AWS Lambda: receives a batch, gives each message to its handler, and settles each exactly
//! once.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use sluicegate_batch::{Consumer, Delivery, Outcome};
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let consumer = Consumer::builder()
//!     .on("github.*", async |delivery: Arc<Delivery>| {
//!         println!("{}", delivery.envelope().id());
//!         Outcome::Done
//!     })
//!     .build()?;
//! consumer.run().await
//! # }
//! ```
//!
//! `examples/consumer.rs` is a complete function, and [`testing`] makes deliveries for tests of handlers.
//!
//! # Guarantees
//!
//! - The outer event is decoded tolerantly, so one message cannot make another fail; each message is decoded strictly.
//! - A handler returns an [`Outcome`]: done, retry after a backoff ([`RetryPolicy`]), or reject with a code
//!   and a detail ([`Rejection`]). A rejected message is stored in the dead-letter queue before it is deleted.
//! - A panic counts as a failure of its message. A handler is cancelled at [`Delivery::deadline`], which leaves time to
//!   settle.
//! - Messages of a FIFO group are handled one at a time and in order, and none after a failure of the group.
//! - A message may be delivered more than once, so handlers must tolerate repeats, or their types have an idempotency
//!   rule.
//! - A batch of any size that Lambda delivers, up to 10,000 messages in 6 MB, is settled in bounded memory.
//! - At SIGTERM, [`serve()`] settles and answers the running batches, and then ends.
//! - A [`CircuitBreaker`] keeps handlers from calling a service while it fails.
//!
//! # Sources
//!
//! Batches come from Amazon SQS (feature `sqs`, default), RabbitMQ on Amazon MQ (feature `rabbitmq`) and Kafka on
//! Amazon MSK or elsewhere (feature `kafka`); the event determines which. How RabbitMQ messages are settled without a
//! partial response is documented in `source/rabbitmq.rs`, how the order of a queue is kept in
//! `source/rabbitmq/ordered.rs`, and how records of Kafka are settled in `source/kafka.rs`.
//!
//! An SQS message that is not a CloudEvent, such as a notification of S3, is handled if `sqs.message` itself has a
//! handler, and otherwise dead-lettered. Its envelope has the type `sqs.message`, the body as payload, the first id
//! of the message, and the source `/sqs/<queue>`. [`Delivery::message_attribute`] has the message attributes.
//!
//! A RabbitMQ message that is not a CloudEvent, such as a body `Order ID: 12345` without properties, gets an envelope:
//! [`Envelope::payload`] is its bytes, [`Envelope::content_type`] its content type if it has one,
//! [`Envelope::event_type`] its property `type` or `rabbitmq.message`, and [`Envelope::source`] is
//! `/rabbitmq/<vhost>/<queue>`. Its id is the property `message_id`. A message without one gets a new id, which its
//! copies keep on a retry. If the whole batch is returned, the message gets another id, so publishers should set
//! `message_id`.
//!
//! A record of Kafka that is not a CloudEvent gets an envelope too: its type is `kafka.message`, its source
//! `/kafka/<topic>`, its id `topic:partition:offset`, its payload the value. A record without a value and without
//! attributes of a CloudEvent, a tombstone, is acknowledged and logged, unless `kafka.tombstone` itself has a handler.
//!
//! # Payloads in S3
//!
//! With the feature `s3`, a message of SQS may be a pointer to its payload in S3, in the format of the SQS Extended
//! Client Libraries for Java and Python. The payload is fetched before the handler is called, at most 16 MiB, from the
//! buckets that `PAYLOAD_BUCKET` names.
//!
//! # Idempotency
//!
//! A type may have a rule ([`ConsumerBuilder::idempotency_for`]): its messages are handled until they are done, and
//! then not again for the days of the rule. The keys are in a DynamoDB table (feature `dynamodb`), or in memory for
//! tests. Of any number of deliveries of one message, one at a time is handled. The effect may be repeated if the
//! function ends between the effect and the record of it, unless the handler writes both in one transaction with
//! [`Delivery::lease`].
//!
//! # Statuses
//!
//! The sender of a message can follow it, if its route has `status: true`: the consumer records in its store that a
//! message is being processed, waits for a retry, is done, or is dead. `Delivery::set_result` gives the sender a
//! result. A sender sees the code and the detail of a [`Rejection`], and no other reason.
//!
//! # Logs and metrics
//!
//! Each delivery writes one log line with the fields `request_id`, `message_id` (of the event), `broker_id`,
//! `event_type`, `queue`, `receive_count`, `outcome`, `code`, `reason`, `handler_ms` and `trace_id`. Each queue of a
//! batch writes one line of metrics, documented in the crate `sluicegate-telemetry`. Payloads are not logged. With
//! [`serve()`], lines of messages that went well are held until the batch waits for something or ends, and are then
//! written together; warnings, errors and the lines of handlers are written at once.
//!
//! # Traces
//!
//! With the feature `otlp` and `OTEL_EXPORTER_OTLP_ENDPOINT` set, each batch has an OpenTelemetry span, and each
//! message one that links the span of its sender. They are exported before the response to Lambda, within the time
//! that is kept for settling. A failure is logged and does not change an outcome.
#[cfg(not(any(feature = "kafka", feature = "rabbitmq", feature = "sqs")))]
compile_error!("no message source is enabled: enable the feature `sqs`, `rabbitmq` or `kafka` of sluicegate-batch");

mod batch_run;
#[cfg(feature = "otlp")]
mod batch_trace;
mod builder;
mod by_type;
mod circuit_breaker;
mod consumer;
mod deadlines;
mod delivery;
#[cfg(feature = "forward")]
mod forward;
mod handlers;
mod idempotency;
#[cfg(feature = "tower")]
mod layers;
mod log;
mod outcome;
mod rejection;
mod report;
mod retry;
mod serve;
mod settlement;
mod source;
mod status;
#[cfg(feature = "dynamodb")]
mod store;
#[cfg(all(test, any(feature = "forward", feature = "sqs")))]
mod test_http;
pub mod testing;

pub use builder::{ConsumerBuildError, ConsumerBuilder};
pub use circuit_breaker::CircuitBreaker;
pub use consumer::Consumer;
pub use delivery::Delivery;
#[cfg(feature = "forward")]
pub use forward::{Forward, UrlError};
pub use idempotency::{IdempotencyKey, IdempotencyRule, OnStoreFailure};
#[cfg(feature = "tower")]
pub use layers::HandlerService;
pub use log::log;
pub use outcome::Outcome;
pub use rejection::{OrReject, Rejection};
pub use retry::RetryPolicy;
pub use serve::serve;
pub use settlement::BatchResponse;
#[cfg(any(feature = "dynamodb", feature = "sqs"))]
pub use sluicegate_aws_client::AwsEnvironment;
pub use sluicegate_envelope::Envelope;
pub use sluicegate_idempotency::{AnyStore, Lease, MemoryStore};
#[cfg(feature = "dynamodb")]
pub use sluicegate_idempotency::{DynamoDbStore, StoreError, TransactWrite, TransactionError};
#[cfg(feature = "otlp")]
pub use sluicegate_otlp::Tracer;
pub use sluicegate_queue::breaker::BreakerLimits;
pub use sluicegate_queue::chain;
#[cfg(feature = "kafka")]
pub use sluicegate_queue::kafka::{Cluster, ClusterConfig};
#[cfg(feature = "rabbitmq")]
pub use sluicegate_queue::{queue_names::RetryDelays, rabbitmq::Broker};
#[cfg(feature = "kafka")]
pub use source::kafka::KafkaRecord;
pub use status::ResultError;
