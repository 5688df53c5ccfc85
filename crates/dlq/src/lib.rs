//! Dead-letter queues of SQS, RabbitMQ and Kafka: list, show, redrive, edit and purge, without losing a message.
//!
//! - [`DeadLetterQueue`] is the trait of an open queue; [`sqs::SqsDeadLetterQueue`],
//!   [`rabbitmq::RabbitmqDeadLetterQueue`] and [`kafka::KafkaDeadLetterQueue`] implement it.
//! - [`scan`], [`redrive`] and [`purge`] run over the messages that a [`Filter`] matches.
//! - [`Summary`] counts messages by reason, and [`edited`] changes a body.
//!
//! ```no_run
//! use sluicegate_dlq::sqs::{SqsDeadLetterQueue, VISIBILITY_DEFAULT};
//! use sluicegate_dlq::{CancellationToken, DeadLetterQueue, Filter, Redrive, redrive};
//! use sluicegate_queue::sqs::sdk_config;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let config = sdk_config(|name| std::env::var(name).ok())?;
//! let queue = SqsDeadLetterQueue::open(&config, "orders-dlq", VISIBILITY_DEFAULT).await?;
//!
//! let filter = Filter { types: vec!["order.*".parse()?], ..Filter::default() };
//! let order = Redrive { filter: &filter, to: None, rate: None, limit: Some(100), dry_run: false };
//! let report = redrive(&queue, &order, &CancellationToken::new(), &|_| {}).await;
//! println!("{} of {} redriven", report.done, report.matched);
//! queue.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Those of RabbitMQ and Kafka need the features `rabbitmq` and `kafka` (default), which bring their clients.
//!
//! A message is deleted only after its broker has confirmed that the copy is stored. After any failure, and if the
//! process is killed at any point, each message is in the dead-letter queue, at its destination, or in both.

mod dead_letter;
mod dead_letter_queue;
mod edit;
mod error;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod event;
mod filter;
#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
mod rate_limiter;
mod run;
pub mod sqs;
mod summary;

pub use crate::{
    dead_letter::DeadLetter,
    dead_letter_queue::{DeadLetterQueue, ListedQueue},
    edit::{Edit, EditError, check_edited, edited},
    error::Error,
    filter::{Condition, Filter, FilterError, Glob, Pattern, TimeBound},
    rate_limiter::{Rate, RateError, RateLimiter},
    run::{Redrive, RunReport, RunStep, find, purge, redrive, scan},
    summary::{ReasonGroup, Summary},
};
pub use sluicegate_queue::{dead_letter::REDRIVES, sqs::Pointer};
pub use tokio_util::sync::CancellationToken;
