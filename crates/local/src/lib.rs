//! The local stack: one SAM template's functions, HTTP API, queues and secrets on 127.0.0.1, from the unmodified
//! binaries.
//!
//! [`Stack`] reads the template, creates the queues, builds and starts the functions, and opens the ports. A gateway
//! implements API Gateway's HTTP APIs; the queues are [`sqs_emulator`] or a remote endpoint; tables are [`DynamoDb`],
//! with the feature `dynamodb` (default), or at that endpoint; buckets are [`S3`] or at that endpoint; the functions
//! and their event source mappings run on [`sluicegate_lambda_emulator`]; an admin port has the console: the log
//! of every message, health, queue counts and metrics. RabbitMQ is a private node or an existing broker; without the
//! feature `rabbitmq` (default) neither can be chosen. Kafka is a private broker or an existing one, with the feature
//! `kafka` (default). Every server binds the loopback address only.
//!
//! ```no_run
//! # async fn run() -> Result<(), sluicegate_local::StackError> {
//! use std::{collections::BTreeMap, sync::Arc};
//!
//! use sluicegate_local::{ContractFacts, Options, Stack, Terminal};
//!
//! let options = Options {
//!     template: "template.yaml".into(),
//!     port: 3000,
//!     admin_port: 3001,
//!     aws_port: 4566,
//!     endpoint_url: None,
//!     archive: None,
//!     rabbitmq: None,
//!     kafka: None,
//!     release: false,
//!     freeze: false,
//!     concurrency: None,
//!     binaries: None,
//!     watch: true,
//!     parameters: BTreeMap::new(),
//!     environment: BTreeMap::new(),
//!     secrets: serde_json::Map::new(),
//!     published: Vec::new(),
//!     verify_token: None,
//!     contract: ContractFacts::default(),
//!     command: None,
//!     terminal: Terminal::new(Arc::new(|line| println!("{line}")), false),
//! };
//! let stack = Stack::start(options).await?;
//! println!("{}", stack.addresses().gateway);
//! stack.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - The template and the binaries are those that are deployed. Resources that are not run locally are listed at the
//!   start.
//! - Payload format, Runtime API, visibility, redrive, batches and partial batch responses follow AWS's rules;
//!   `docs/local.md` lists the differences for each service.
//! - Every port is opened before any other work, so a conflict fails fast, and is closed with the [`Stack`]. No process
//!   of a function outlives it.
//! - With [`Options::watch`] a change of the sources rebuilds and restarts the functions; after a failed build the old
//!   ones keep running.

mod activity;
mod admin;
mod aws;
mod broker_faults;
pub mod cargo_build;
mod contract_facts;
mod dead_letters;
mod dynamodb;
mod function_lines;
mod gateway;
mod journal;
mod kafka;
mod mappings;
mod metrics;
mod project;
mod queue_history;
mod queues;
mod rabbitmq;
mod running_functions;
mod s3;
pub mod secrets;
mod sources;
mod stack;
mod terminal;

pub use admin::PublishedDocument;
pub use aws::serve as serve_aws;
pub use contract_facts::{ContractFacts, Credentials, Explainer, Finding, RefusedRequest};
pub use dynamodb::DynamoDb;
pub use gateway::{HEAD_BYTES_MAX, INVOKE_BYTES_MAX, PAYLOAD_BYTES_MAX, Patience, TokenVerifier};
pub use kafka::{KafkaChoice, KafkaError};
pub use metrics::Metrics;
pub use project::{ApiRequest, Project};
pub use rabbitmq::{BrokerChoice, BrokerError, TOPOLOGY_FILE, TopologyError, read_topology};
#[cfg(feature = "rabbitmq")]
pub use rabbitmq::{NodeError, RabbitmqNode};
pub use s3::{ArchiveFolder, S3};
pub use secrets::{CallError, SecretError};
pub use stack::{Addresses, CONCURRENCY_MAX, CONCURRENCY_MIN, CreateError, Options, Stack, StackError};
pub use terminal::{EVENTS, LineSink, StatusLine, StatusSink, Terminal};
