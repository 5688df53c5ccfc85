//! The errors of a stack's start.

use std::path::PathBuf;

use sluicegate_lambda_emulator::{EndpointError, FilterError, StartError};
use sluicegate_sam::Faults;

use crate::{cargo_build::BuildError, rabbitmq::BrokerError};

/// Why the stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// No template.
    #[error("cannot read {}: {source}", path.display())]
    Template {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A template with mistakes.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// A port that cannot be had.
    #[error("cannot listen on 127.0.0.1:{port}: {source} (choose another with {flag} PORT; 0 picks a free one)")]
    Port {
        /// The port.
        port: u16,
        /// The option that chooses it.
        flag: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The endpoint's URL cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A queue or secret could not be made.
    #[error("cannot create {name}: {reason}")]
    Create {
        /// Which.
        name: String,
        /// What the service said.
        reason: String,
    },
    /// The functions are not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A function did not come up.
    #[error("{error}{}", log_tail(&error.log))]
    Start {
        /// Which, and why.
        error: StartError,
    },
    /// RabbitMQ is not there, or not as it has to be.
    #[error(transparent)]
    Rabbitmq(#[from] BrokerError),
    /// A mapping without a broker to map.
    #[error("{function} has MQ events: choose a RabbitMQ broker with --rabbitmq or --rabbitmq-url URL")]
    NoBroker {
        /// The function's name.
        function: String,
    },
    /// A mapping's filter is wrong.
    #[error("the mapping from {queue}: {error}")]
    Filter {
        /// The queue's name.
        queue: String,
        /// What is wrong.
        error: FilterError,
    },
}

fn log_tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  | {line}")).collect()
}
