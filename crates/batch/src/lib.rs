//! The consumer runtime: takes a batch as Lambda delivers it, gives every message to its handler, and settles each exactly once.
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! use sluicegate_batch::{Consumer, Outcome};
//!
//! let consumer = Consumer::builder()
//!     .on("github.*", async |delivery: std::sync::Arc<sluicegate_batch::Delivery>| {
//!         println!("{}", delivery.envelope().id());
//!         Outcome::Done
//!     })
//!     .build()?;
//! consumer.run().await
//! # }
//! ```
//!
//! What a handler may rely on: the outer event is read tolerantly, so no message is hurt by its batch-mates; each envelope is
//! read strictly, alone. A panic is that message's failure. A handler is cancelled at [`Delivery::deadline`], early enough to
//! settle. Messages of one FIFO group are handled in order and one at a time, and none after a failure of the group.
//! A message may be delivered more than once: handlers must be fit for that.
//!
//! Batches come from Amazon SQS and from RabbitMQ (Amazon MQ), told apart by the event; handlers see no difference but one. Most
//! programs that publish to RabbitMQ know nothing of envelopes: such a raw message, say a body `Order ID: 12345` without any
//! properties, gets an envelope made for it. [`Envelope::payload`] is then its bytes as they are, [`Envelope::content_type`] its
//! content type if it has one, [`Envelope::event_type`] its property `type`, or `rabbitmq.message`, and [`Envelope::source`]
//! `/rabbitmq/<vhost>/<queue>`. Its id is the property `message_id`. A message without one gets a new id, which its copies keep when
//! it is tried again; but should a whole batch come back, it gets another, so publishers do well to set it.
//!
//! What becomes of a message of RabbitMQ, and why none is lost, is told in `source/rabbitmq.rs`.
//!
//! Every delivery leaves one log line with the fields `request_id`, `message_id` (the event's id), `broker_id`, `event_type`,
//! `queue`, `receive_count`, `outcome`, `reason`, `handler_ms` and `trace_id`, and every queue of a batch one line of metrics, told
//! in the crate `sluicegate-telemetry`. Payloads are never logged.
#[cfg(not(any(feature = "rabbitmq", feature = "sqs")))]
compile_error!("nothing brings messages in: enable the feature `sqs` or `rabbitmq` of sluicegate-batch");

mod batch_run;
mod builder;
mod consumer;
mod deadlines;
mod delivery;
#[cfg(feature = "forward")]
mod forward;
mod handlers;
mod log;
mod outcome;
mod report;
mod retry;
mod serve;
mod settlement;
mod source;
pub mod testing;

pub use builder::{BuildError, Builder};
pub use consumer::Consumer;
pub use delivery::Delivery;
#[cfg(feature = "forward")]
pub use forward::{Forward, UrlError};
pub use log::log;
pub use outcome::Outcome;
pub use retry::RetryPolicy;
pub use serve::serve;
pub use settlement::BatchResponse;
pub use sluicegate_envelope::Envelope;
pub use sluicegate_queue::chain;
#[cfg(feature = "sqs")]
pub use sluicegate_queue::sqs::SdkConfig;
#[cfg(feature = "rabbitmq")]
pub use sluicegate_queue::{queue_names::RetryDelays, rabbitmq::Broker};
