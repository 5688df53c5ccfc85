//! AWS Lambda on one machine: the Runtime API, execution environments and event source mappings.
//!
//! A [`Function`] runs an unmodified function binary behind the Runtime API; it starts environments on demand, reuses
//! and replaces them. [`SqsMapping`] invokes it with messages of an SQS queue, [`RabbitmqMapping`] with those of a
//! RabbitMQ queue, [`KafkaMapping`] with the records of a topic, by AWS's rules for batches, windows, filters, retries
//! and partial batch responses.
//!
//! ```no_run
//! # async fn run() -> Result<(), sluicegate_lambda_emulator::StartError> {
//! use std::{collections::BTreeMap, sync::Arc, time::Duration};
//!
//! use sluicegate_lambda_emulator::{Concurrency, Function, FunctionSpec, Invocation};
//!
//! let spec = FunctionSpec {
//!     name: "orders".to_owned(),
//!     arn: "arn:aws:lambda:us-east-1:000000000000:function:orders".to_owned(),
//!     binary: "target/lambda/orders/bootstrap".into(),
//!     environment: BTreeMap::new(),
//!     memory_mb: 128,
//!     timeout: Duration::from_secs(30),
//!     concurrency: Concurrency::Unreserved(10),
//!     freeze: false,
//! };
//! let function = Function::start(spec, Arc::new(|name, line| println!("{name} | {line}"))).await?;
//! if let Invocation::Response(answer) = function.invoke("{}".into(), None).await {
//!     println!("{}", String::from_utf8_lossy(&answer));
//! }
//! function.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! Without the feature `rabbitmq` (default) there are no mappings of RabbitMQ, and no AMQP client; without `kafka`
//! (default) none of Kafka.
//!
//! Not implemented: layers, extensions, response streaming, SnapStart, and concurrency beyond the first five pollers of
//! a mapping.

mod batch_response;
mod environment;
mod filter;
#[cfg(feature = "kafka")]
mod kafka;
mod mapping;
mod pool;
mod process;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod runtime_api;
mod sqs;
mod sqs_client;

pub use environment::{Concurrency, FunctionSpec, INIT_TIMEOUT, InitFailure, Invocation};
pub use filter::FilterCriteriaError;
#[cfg(feature = "kafka")]
pub use kafka::{FailureDestination, KafkaEvent, KafkaMapping, KafkaMappingSpec, KafkaObserver, record_id};
pub use mapping::{Invoke, MappedMessage, MappingEvent, MappingObserver};
pub use pool::{Function, FunctionCounts, FunctionObserver, StartError};
pub use process::{Exit, LineSink, LiveEnvironments, Process};
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{
    BrokerEndpoint, ConnectError, RabbitmqEvent, RabbitmqMapping, RabbitmqMappingSpec, RabbitmqObserver,
};
pub use sqs::{CONCURRENT_BATCHES_START, SqsApi, SqsMapping, SqsMappingSpec};
pub use sqs_client::{EndpointError, RemoteSqs, SqsClient};
