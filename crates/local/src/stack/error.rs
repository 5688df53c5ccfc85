//! The errors of a stack's start.

use std::path::PathBuf;

use sluicegate_lambda_emulator::{EndpointError, FilterCriteriaError, StartError};
use sluicegate_sam::Faults;
use sqs_emulator::ApiError;

use crate::{
    cargo_build::BuildError,
    kafka::KafkaError,
    rabbitmq::{BrokerError, TopologyError},
    secrets::{CallError, SecretError},
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
    /// A queue, secret, table or bucket cannot be created.
    #[error("cannot create {name}: {source}")]
    Create {
        /// Its kind and name.
        name: String,
        /// The error of the service.
        source: CreateError,
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
    /// Kafka does not start, or a topic cannot be created.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The RabbitMQ topology of the project cannot be read.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The template has a table, but this build has no DynamoDB.
    #[error("table {table} needs DynamoDB, which this command was built without: build it with the feature `dynamodb`")]
    NoDynamoDb {
        /// The first table's name.
        table: String,
    },
    /// A function has MQ events, but no broker is chosen.
    #[error("{function} has MQ events: choose a RabbitMQ broker with --rabbitmq or --rabbitmq-url URL")]
    NoBroker {
        /// The function's name.
        function: String,
    },
    /// A function has events from Kafka, but no broker is chosen.
    #[error("{function} has events from Kafka: choose a broker with --kafka or --kafka-url HOST:PORT")]
    NoKafka {
        /// The function's name.
        function: String,
    },
    /// A mapping's filter is wrong.
    #[error("the mapping from {queue}: {error}")]
    Filter {
        /// The name of the queue or topic.
        queue: String,
        /// The error in the filter.
        error: FilterCriteriaError,
    },
}

/// Why a queue, secret, table or bucket is not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The queue service refuses or cannot be reached.
    #[error(transparent)]
    Sqs(#[from] ApiError),
    /// The queue service does not say where the queue is.
    #[error("the answer names no QueueUrl or QueueArn")]
    Nameless,
    /// The secret is not created at the remote endpoint.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The table is refused.
    #[error("{0}")]
    Table(String),
    /// The remote endpoint does not answer.
    #[error(transparent)]
    Endpoint(#[from] CallError),
}

fn log_tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  | {line}")).collect()
}
