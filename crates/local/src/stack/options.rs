//! The options of a stack.

use std::{collections::BTreeMap, path::PathBuf};

use crate::{rabbitmq::BrokerChoice, terminal::Terminal};

/// What to run and how.
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
    /// LocalStack or another endpoint for SQS and Secrets Manager, instead of the embedded services.
    pub endpoint_url: Option<String>,
    /// A RabbitMQ broker, which the parameter [`BROKER_PARAMETER`] then chooses, too.
    pub rabbitmq: Option<BrokerChoice>,
    /// Build with optimisation.
    pub release: bool,
    /// Stop processes between invocations, as Lambda does.
    pub freeze: bool,
    /// How many environments of a function work at once, unless the template reserves a number. Without it,
    /// [`concurrency_default`](super::concurrency_default).
    pub concurrency: Option<usize>,
    /// Executables by the name of their binary. Given, nothing is built.
    pub binaries: Option<BTreeMap<String, PathBuf>>,
    /// Build again and restart a function when its sources change.
    pub watch: bool,
    /// Values for the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Overrides variables that the functions declare; usually the caller's environment.
    pub environment: BTreeMap<String, String>,
    /// Where lines for people go.
    pub terminal: Terminal,
}
