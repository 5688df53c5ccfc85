//! What the environment says at start: every mistake is told at once, and none is found out by a request.

use std::collections::BTreeMap;

use sluicegate_contract::Contract;
use sluicegate_queue::{Binding, BindingError};

/// The environment variable that names the one Secrets Manager secret.
pub(crate) const SECRETS_ARN: &str = "SECRETS_ARN";

/// The deploy-time half of the contract.
#[derive(Debug)]
pub struct Config {
    /// Where each logical queue of the contract lives.
    pub bindings: BTreeMap<String, Binding>,
    /// The secret's ARN or name.
    pub secrets_arn: String,
}

/// One thing wrong with the environment.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A queue's binding is missing or not of a known form.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// A required variable is missing.
    #[error("{0} is not set; it names the secret that holds API keys and signing secrets")]
    Missing(&'static str),
    /// The contract asks a queue for what it cannot do.
    #[error("operation {operation} asks for a delay, which FIFO queues do not take per message (queue {queue})")]
    DelayOnFifo {
        /// The operation's id.
        operation: String,
        /// The logical queue.
        queue: String,
    },
}

impl Config {
    /// Reads the variables the contract needs through `lookup`.
    ///
    /// # Errors
    /// Every mistake, not the first alone.
    pub fn from_env(contract: &Contract, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let bindings = Binding::from_env(contract.queues().into_iter(), &lookup).unwrap_or_else(|wrong| {
            errors.extend(wrong.into_iter().map(ConfigError::from));
            BTreeMap::new()
        });
        for operation in contract.operations() {
            let queue = &operation.enqueue.queue;
            if operation.enqueue.delay_s > 0 && matches!(bindings.get(queue), Some(Binding::Sqs { fifo: true, .. })) {
                errors.push(ConfigError::DelayOnFifo { operation: operation.id.clone(), queue: queue.clone() });
            }
        }
        let secrets_arn = lookup(SECRETS_ARN).filter(|arn| !arn.is_empty());
        match secrets_arn {
            Some(secrets_arn) if errors.is_empty() => Ok(Self { bindings, secrets_arn }),
            Some(_) => Err(errors),
            None => {
                errors.push(ConfigError::Missing(SECRETS_ARN));
                Err(errors)
            }
        }
    }
}
