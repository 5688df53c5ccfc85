//! Dead-letter queues, the same for SQS and RabbitMQ: list, show, redrive, edit, purge, and nothing lost.

mod parked;
mod shelf;

pub use crate::{
    parked::Parked,
    shelf::{REDRIVES, Shelf},
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
