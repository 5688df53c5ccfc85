//! The options of a stack.

use std::{collections::BTreeMap, path::PathBuf};

use serde_json::{Map, Value};

use crate::{
    admin::PublishedDocument, cargo_build::CommandPackage, contract_facts::ContractFacts, gateway::TokenVerifier,
    kafka::KafkaChoice, rabbitmq::BrokerChoice, s3::ArchiveFolder, terminal::Terminal,
};

/// The template to run, and the options.
#[derive(Clone)]
pub struct Options {
    /// The SAM template.
    pub template: PathBuf,
    /// The gateway's port; 0 picks a free one, here and below.
    pub port: u16,
    /// The admin port.
    pub admin_port: u16,
    /// The AWS port; not opened with `endpoint_url`.
    pub aws_port: u16,
    /// LocalStack or another endpoint for SQS and Secrets Manager, instead of the emulated services.
    pub endpoint_url: Option<String>,
    /// Where the objects of the archive are written too.
    pub archive: Option<ArchiveFolder>,
    /// The RabbitMQ broker to use; it also sets the template's parameter `Broker`.
    pub rabbitmq: Option<BrokerChoice>,
    /// The Kafka broker to use, besides SQS; not with `rabbitmq`.
    pub kafka: Option<KafkaChoice>,
    /// Whether to build with optimisation.
    pub release: bool,
    /// Whether to stop processes between invocations, as Lambda does.
    pub freeze: bool,
    /// The largest number of busy environments of a function, unless the template reserves a number. `None` derives it
    /// from the free memory.
    pub concurrency: Option<usize>,
    /// Executables by the name of their binary, instead of a build.
    pub binaries: Option<BTreeMap<String, PathBuf>>,
    /// Whether to rebuild and restart a function when its sources change.
    pub watch: bool,
    /// Values for the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Values for variables that the functions declare; usually the caller's environment.
    pub environment: BTreeMap<String, String>,
    /// Lists of development secrets besides those of every stack, by their logical names.
    pub secrets: Map<String, Value>,
    /// The documents of development issuers, which functions fetch in place of those of the real hosts.
    pub published: Vec<PublishedDocument>,
    /// The check of tokens for the template's JWT authorizers. Without it, they are not run.
    pub verify_token: Option<TokenVerifier>,
    /// What the contract says of requests, for the console.
    pub contract: ContractFacts,
    /// The package of the running command, if `cargo run` started it.
    pub command: Option<CommandPackage>,
    /// The terminal to print to.
    pub terminal: Terminal,
}
