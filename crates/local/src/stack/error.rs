//! The errors of a stack's start.

use std::path::PathBuf;

use sluicegate_lambda_emulator::{EndpointError, FilterError, StartError};
use sluicegate_sam::Faults;

use crate::{
    cargo_build::BuildError,
    rabbitmq::{BrokerError, TopologyError},
};

/// The failure of a stack's start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// The template cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Template {
        /// Its path.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The template has faults.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// A port cannot be opened.
    #[error("cannot listen on 127.0.0.1:{port}: {source} (choose another with {flag} PORT; 0 picks a free one)")]
    Port {
        /// The port.
        port: u16,
        /// The option that chooses it.
        flag: &'static str,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The endpoint's URL cannot be used.
    #[error(transparent)]
    BrokerEndpoint(#[from] EndpointError),
    /// A queue or secret cannot be created.
    #[error("cannot create {name}: {reason}")]
    Create {
        /// Its kind and name.
        name: String,
        /// The error of the service.
        reason: String,
    },
    /// The functions do not build.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A function does not start.
    #[error("{error}{}", log_tail(&error.log))]
    Start {
        /// The function and the reason.
        error: StartError,
    },
    /// RabbitMQ does not start, or conflicts with the topology.
    #[error(transparent)]
    Rabbitmq(#[from] BrokerError),
    /// The RabbitMQ topology of the project cannot be read.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// A function has MQ events, but no broker is chosen.
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
        /// The error in the filter.
        error: FilterError,
    },
}

fn log_tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  | {line}")).collect()
}
