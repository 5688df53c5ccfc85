//! Dead-letter queues, the same for SQS and RabbitMQ: list, show, redrive, edit, purge, and nothing lost.
//!
//! - [`Shelf`] is what a broker must be able to do; [`sqs::SqsShelf`] and its sibling do it;
//! - [`scan`], [`redrive`] and [`purge`] run over all messages of a shelf that a [`Filter`] means;
//! - [`Summary`] counts them by reason, [`edited`] changes a body.
//!
//! The one rule above all: a message is deleted only after its broker has confirmed that the copy is stored. Whatever fails, and
//! wherever the process is killed, each message is in the dead-letter queue, at its destination, or in both.

mod edit;
mod filter;
mod pace;
mod parked;
pub mod rabbitmq;
mod run;
mod shelf;
pub mod sqs;
mod stop;
mod summary;

pub use crate::{
    edit::{Edit, EditError, edited},
    filter::{Condition, Filter, FilterError, Glob, Moment, Pattern},
    pace::{Rate, RateError},
    parked::Parked,
    run::{Redrive, Report, Step, purge, redrive, scan},
    shelf::{REDRIVES, Shelf},
    stop::Stop,
    summary::{Group, Summary},
};

/// Why a dead-letter queue, or a message in it, could not be worked on. What matters is where the message is afterwards: it is
/// never nowhere.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker could not be reached, or refused, in a way that is no message's fault. Nothing was moved.
    #[error("{0}")]
    Broker(String),
    /// The message cannot be moved as it is, and stays where it is.
    #[error("{id}: {reason}")]
    Stays {
        /// The message's id.
        id: String,
        /// Why.
        reason: String,
    },
    /// The message is still in the dead-letter queue, and is perhaps stored at its destination as well.
    #[error("{id}: {reason}")]
    Unclear {
        /// The message's id.
        id: String,
        /// Why.
        reason: String,
    },
}
