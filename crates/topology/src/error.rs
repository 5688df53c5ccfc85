//! Errors of a plan or an apply.
//!
//! Each variant says what the caller may conclude about the broker. What was created before an error remains:
//! [`apply`](crate::apply()) can be repeated.

use crate::address::AddressError;
use crate::change::Change;
use crate::management::ManagementError;

/// A broker could not be compared with a topology, or the topology could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No credentials are known.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The broker was not reached, or stopped answering. A later attempt may succeed.
    #[error(
        "{place} cannot be reached: {reason}; check the address, and that the broker runs and is reachable from here"
    )]
    Unreachable {
        /// The broker, or its management API.
        place: String,
        /// The observed failure.
        reason: String,
    },
    /// The broker refused: wrong credentials, no permission, no such virtual host, a full broker.
    #[error("{place} refuses: {reason}")]
    Refused {
        /// The broker, or its management API, and the request.
        place: String,
        /// The broker's reply.
        reason: String,
    },
    /// Exchanges or queues exist with other arguments, which cannot be changed.
    #[error("{}", explain(.0))]
    Conflict(Vec<Change>),
}

impl From<ManagementError> for Error {
    fn from(ManagementError { url: place, status, reason }: ManagementError) -> Self {
        if status.is_some() { Self::Refused { place, reason } } else { Self::Unreachable { place, reason } }
    }
}

fn explain(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        text.push_str(&format!("{change}\n"));
    }
    text.push_str(
        "These exist with other arguments, and RabbitMQ cannot change arguments in place (406 PRECONDITION_FAILED). \
         Nothing is deleted here. Either\n\
         - let consumers drain the queue, stop its publishers, delete it by hand (rabbitmqctl delete_queue, or the management \
         page, which deletes exchanges too) and apply again;\n\
         - or write the broker's arguments into the file;\n\
         - or, for limits and times to live only, leave the argument as it is and set a lower value with a policy: the lower \
         of the two counts.",
    );
    text
}
