//! Dead-letter queues, the same for SQS and RabbitMQ: list, show, redrive, edit, purge, and nothing lost.

mod parked;
mod shelf;

pub use crate::{
    parked::Parked,
    shelf::{REDRIVES, Shelf},
};

/// Why a dead-letter queue could not be worked on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker could not be reached, or refused.
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
}
