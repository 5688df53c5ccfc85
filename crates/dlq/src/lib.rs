//! Dead-letter queues, the same for SQS and RabbitMQ: list, show, redrive, edit, purge, and nothing lost.
//!
//! - [`DeadLetterQueue`] is what a broker must be able to do; [`sqs::SqsDeadLetterQueue`] and its sibling do it;
//! - [`scan`], [`redrive`] and [`purge`] run over all messages of a queue that a [`Filter`] means;
//! - [`Summary`] counts them by reason, [`edited`] changes a body.
//!
//! The one rule above all: a message is deleted only after its broker has confirmed that the copy is stored. Whatever fails, and
//! wherever the process is killed, each message is in the dead-letter queue, at its destination, or in both.

mod dead_letter;
mod dead_letter_queue;
mod edit;
mod error;
mod filter;
pub mod rabbitmq;
mod rate_limiter;
mod run;
pub mod sqs;
mod summary;

pub use crate::{
    dead_letter::DeadLetter,
    dead_letter_queue::{DeadLetterQueue, ListedQueue},
    edit::{Edit, EditError, edited},
    error::Error,
    filter::{Condition, Filter, FilterError, Glob, Pattern, TimeBound},
    rate_limiter::{Rate, RateError},
    run::{Redrive, Report, Step, purge, redrive, scan},
    summary::{Group, Summary},
};
pub use sluicegate_queue::dead_letter::REDRIVES;
pub use tokio_util::sync::CancellationToken;
