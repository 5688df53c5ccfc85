//! Configuration from the environment. Reports every configuration error at startup.

use std::{collections::BTreeMap, time::Duration};

use sluicegate_contract::{Contract, binding_variable};
use sluicegate_queue::{Binding, BindingError};

use crate::{content_coding, https_get::Endpoints, secrets::OUTAGE_GRACE};

/// The environment variable with the ARN or name of the Secrets Manager secret.
pub(crate) const SECRET_ARN: &str = "SECRET_ARN";

/// The environment variable with the URL under which providers know this API.
pub(crate) const PUBLIC_URL: &str = "PUBLIC_URL";

/// The environment variable with the name of the DynamoDB table of idempotency keys, rate limits and statuses.
pub(crate) const IDEMPOTENCY_TABLE: &str = "IDEMPOTENCY_TABLE";

/// The environment variable with the bucket of payloads that are larger than a queue accepts.
pub(crate) const PAYLOAD_BUCKET: &str = "PAYLOAD_BUCKET";

/// The environment variable with the servers that answer in place of the hosts of published keys, for a local stack:
/// `issuer.example.com=http://127.0.0.1:3001`, with spaces between several.
pub(crate) const KEYS_ENDPOINTS: &str = "KEYS_ENDPOINTS";

/// The environment variable with the seconds that secrets are used beyond [`crate::REFRESH_AFTER`] while Secrets
/// Manager does not answer.
pub(crate) const SECRETS_GRACE_S: &str = "SECRETS_GRACE_S";

/// The longest [`SECRETS_GRACE_S`]: a day. A removed value may be accepted for that long during an outage.
const SECRETS_GRACE_S_MAX: u64 = 86_400;

/// The deploy-time configuration of a contract.
#[derive(Debug)]
pub struct Config {
    /// The binding of each logical queue of the contract.
    pub bindings: BTreeMap<String, Binding>,
    /// The secret's ARN or name.
    pub secret_arn: String,
    /// The URL under which providers know this API, which some sign; see [`crate::Ingress::with_public_url`].
    pub public_url: Option<String>,
    /// The name of the table of idempotency keys, rate limits and statuses; `None` if no route needs it.
    #[cfg(feature = "dynamodb")]
    pub idempotency_table: Option<String>,
    /// The bucket of payloads that are larger than a queue accepts; `None` if no route sends them.
    #[cfg(feature = "s3")]
    pub payload_bucket: Option<String>,
    /// The servers that answer in place of the hosts of published keys.
    pub(crate) key_endpoints: Option<Endpoints>,
    /// How long secrets are used beyond their refresh while Secrets Manager does not answer.
    pub secrets_grace: Duration,
    /// The broker of the queues bound to RabbitMQ; `None` if there are none.
    #[cfg(feature = "rabbitmq")]
    pub rabbitmq: Option<sluicegate_queue::rabbitmq::BrokerConfig>,
    /// The cluster of the queues bound to Kafka; `None` if there are none.
    #[cfg(feature = "kafka")]
    pub kafka: Option<sluicegate_queue::kafka::ClusterConfig>,
}

/// A configuration error.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The binding of a queue is missing or malformed.
    #[error(transparent)]
    Binding(#[from] BindingError),
    /// A required variable is missing.
    #[error("{0} is not set; it names the secret that holds API keys and signing secrets")]
    Missing(&'static str),
    /// The servers of hosts cannot be read.
    #[error("{KEYS_ENDPOINTS} is for a local stack: it is host=http://127.0.0.1:PORT, with spaces between several")]
    KeyEndpoints,
    /// The time for which secrets are used during an outage is not one.
    #[error(
        "{SECRETS_GRACE_S} is {0:?}: it is the seconds that secrets are used while Secrets Manager does not answer, 0 to {SECRETS_GRACE_S_MAX}"
    )]
    SecretsGrace(String),
    /// The contract requires a delay that the FIFO queue does not support.
    #[error("operation {operation} has a delay, but FIFO queues do not accept a delay per message (queue {queue})")]
    DelayOnFifo {
        /// The operation's id.
        operation: String,
        /// The logical queue.
        queue: String,
    },
    /// The contract requires a delay, which Kafka does not have.
    #[error("operation {operation} has a delay, and queue {queue} is bound to Kafka, which does not delay messages")]
    DelayOnKafka {
        /// The operation's id.
        operation: String,
        /// The logical queue.
        queue: String,
    },
    /// A queue is bound to a broker without support in this build.
    #[error("queue {queue} is bound to {broker}, which this function is built without; {remedy}")]
    NotBuiltIn {
        /// The logical queue.
        queue: String,
        /// The broker.
        broker: &'static str,
        /// The fix.
        remedy: &'static str,
    },
    /// A route has a store or statuses, and their table is not configured.
    #[error(
        "{IDEMPOTENCY_TABLE} is not set; it names the DynamoDB table of operation {operation}; run `sluicegate sync`"
    )]
    NoTable {
        /// The first such operation's id.
        operation: String,
    },
    /// A route has a store or statuses, which this build does not support.
    #[error(
        "operation {operation} has `store: dynamodb` or `status: true`, which this function is built without; give \
         sluicegate-ingress the feature dynamodb in its Cargo.toml"
    )]
    NoStore {
        /// The first such operation's id.
        operation: String,
    },
    /// A route sends large payloads to S3, and the bucket is not configured.
    #[error("{PAYLOAD_BUCKET} is not set; it names the bucket of operation {operation}; run `sluicegate sync`")]
    NoBucket {
        /// The first such operation's id.
        operation: String,
    },
    /// A route sends large payloads to S3, which this build does not support.
    #[error(
        "operation {operation} has `largePayloads: s3`, which this function is built without; give sluicegate-ingress \
         the feature s3 in its Cargo.toml"
    )]
    NoS3 {
        /// The first such operation's id.
        operation: String,
    },
    /// A route sends large payloads to S3, and its queue is not at SQS.
    #[error(
        "operation {operation} has `largePayloads: s3`, which is for SQS, and queue {queue} is bound to {broker}; \
         {broker} accepts the payload as it is, up to the limit of its configuration"
    )]
    LargePayloadsNotOnSqs {
        /// The operation's id.
        operation: String,
        /// The logical queue.
        queue: String,
        /// The broker.
        broker: &'static str,
    },
    /// The contract accepts a content coding without a decoder in this build.
    #[error(
        "operation {operation} accepts the content coding {coding}, which this function is built without; add the \
         feature {feature} of sluicegate-ingress to its Cargo.toml"
    )]
    CodingNotBuiltIn {
        /// The operation's id.
        operation: String,
        /// The name of the coding.
        coding: &'static str,
        /// The feature with its decoder.
        feature: &'static str,
    },
    /// A RabbitMQ variable is malformed.
    #[cfg(feature = "rabbitmq")]
    #[error(transparent)]
    Rabbitmq(#[from] sluicegate_queue::rabbitmq::BrokerConfigError),
    /// A Kafka variable is malformed.
    #[cfg(feature = "kafka")]
    #[error(transparent)]
    Kafka(#[from] sluicegate_queue::kafka::ClusterConfigError),
    /// A queue is bound to Kafka without a cluster.
    #[cfg(feature = "kafka")]
    #[error("KAFKA_BOOTSTRAP_SERVERS is not set; queue {queue} is bound to Kafka and needs it")]
    NoCluster {
        /// The first such queue.
        queue: String,
    },
    /// A queue is bound to RabbitMQ without a broker URL.
    #[cfg(feature = "rabbitmq")]
    #[error("RABBITMQ_URL is not set; queue {queue} is bound to RabbitMQ and needs it")]
    NoBroker {
        /// The first such queue.
        queue: String,
    },
    /// The contract requires a delay that exceeds every retry delay.
    #[cfg(feature = "rabbitmq")]
    #[error(
        "operation {operation} has a delay of {delay_s} s, longer than every delay of RABBITMQ_RETRY_DELAYS (queue {queue})"
    )]
    DelayBeyondRetryDelays {
        /// The operation's id.
        operation: String,
        /// The logical queue.
        queue: String,
        /// The delay, in seconds.
        delay_s: u16,
    },
}

impl Config {
    /// Reads the variables the contract needs through `lookup`.
    ///
    /// # Errors
    /// Every configuration error, not only the first.
    pub fn from_env(contract: &Contract, lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let bindings =
            Binding::from_env(contract.queues().into_iter(), binding_variable, &lookup).unwrap_or_else(|wrong| {
                errors.extend(wrong.into_iter().map(ConfigError::from));
                BTreeMap::new()
            });
        for operation in contract.operations() {
            let codings = operation.body.iter().flat_map(|body| &body.content_codings).copied();
            errors.extend(codings.filter(|coding| !content_coding::is_built_in(*coding)).map(|coding| {
                let (operation, coding, feature) = (operation.id.clone(), coding.name(), coding.feature());
                ConfigError::CodingNotBuiltIn { operation, coding, feature }
            }));
            let (has_delay, large) = (operation.enqueue.delay_s_max() > 0, operation.enqueue.large_payloads);
            for queue in operation.enqueue.queues().filter(|_| has_delay || large) {
                let (operation, queue, binding) = (operation.id.clone(), queue.to_owned(), bindings.get(queue));
                let other_broker = match binding {
                    Some(Binding::Rabbitmq { .. }) => Some("RabbitMQ"),
                    Some(Binding::Kafka { .. }) => Some("Kafka"),
                    Some(Binding::Sqs { .. }) | None => None,
                };
                if let Some(broker) = other_broker.filter(|_| large) {
                    let (operation, queue) = (operation.clone(), queue.clone());
                    errors.push(ConfigError::LargePayloadsNotOnSqs { operation, queue, broker });
                }
                match binding {
                    Some(Binding::Sqs { fifo: true, .. }) if has_delay => {
                        errors.push(ConfigError::DelayOnFifo { operation, queue });
                    }
                    Some(Binding::Kafka { .. }) if has_delay => {
                        errors.push(ConfigError::DelayOnKafka { operation, queue });
                    }
                    _ => {}
                }
            }
        }
        errors.extend(bindings.iter().filter_map(|(queue, binding)| not_built_in(queue, binding)));
        #[cfg(feature = "rabbitmq")]
        let rabbitmq = rabbitmq(contract, &bindings, &lookup, &mut errors);
        #[cfg(feature = "kafka")]
        let kafka = kafka(&bindings, &lookup, &mut errors);
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let idempotency_table = set(IDEMPOTENCY_TABLE);
        if let Some(operation) = contract.first_with_store() {
            let operation = operation.id.clone();
            if !cfg!(feature = "dynamodb") {
                errors.push(ConfigError::NoStore { operation });
            } else if idempotency_table.is_none() {
                errors.push(ConfigError::NoTable { operation });
            }
        }
        let mut payload_bucket = None;
        if let Some(operation) = contract.first_with_large_payloads() {
            let operation = operation.id.clone();
            payload_bucket = set(PAYLOAD_BUCKET);
            if !cfg!(feature = "s3") {
                errors.push(ConfigError::NoS3 { operation });
            } else if payload_bucket.is_none() {
                errors.push(ConfigError::NoBucket { operation });
            }
        }
        #[cfg(not(feature = "s3"))]
        drop(payload_bucket);
        let key_endpoints = set(KEYS_ENDPOINTS).map(|text| Endpoints::parse(&text).ok_or(ConfigError::KeyEndpoints));
        let key_endpoints = key_endpoints.transpose().unwrap_or_else(|error| {
            errors.push(error);
            None
        });
        let secrets_grace = set(SECRETS_GRACE_S).map_or(Ok(OUTAGE_GRACE), |text| {
            let seconds = text.parse().ok().filter(|seconds| *seconds <= SECRETS_GRACE_S_MAX);
            seconds.map(Duration::from_secs).ok_or(ConfigError::SecretsGrace(text))
        });
        let secrets_grace = secrets_grace.unwrap_or_else(|error| {
            errors.push(error);
            OUTAGE_GRACE
        });
        let secret_arn = set(SECRET_ARN);
        match secret_arn {
            Some(secret_arn) if errors.is_empty() => Ok(Self {
                bindings,
                secret_arn,
                public_url: set(PUBLIC_URL),
                key_endpoints,
                secrets_grace,
                #[cfg(feature = "dynamodb")]
                idempotency_table,
                #[cfg(feature = "s3")]
                payload_bucket,
                #[cfg(feature = "rabbitmq")]
                rabbitmq,
                #[cfg(feature = "kafka")]
                kafka,
            }),
            Some(_) => Err(errors),
            None => {
                errors.push(ConfigError::Missing(SECRET_ARN));
                Err(errors)
            }
        }
    }
}

fn not_built_in(queue: &str, binding: &Binding) -> Option<ConfigError> {
    let (broker, remedy) = match binding {
        Binding::Sqs { .. } if !cfg!(feature = "sqs") => ("SQS", "build it with the feature sqs"),
        Binding::Rabbitmq { .. } if !cfg!(feature = "rabbitmq") => {
            ("RabbitMQ", "deploy the build that has it (functions/rabbitmq)")
        }
        Binding::Kafka { .. } if !cfg!(feature = "kafka") => {
            ("Kafka", "deploy the build that has it (functions/kafka)")
        }
        _ => return None,
    };
    Some(ConfigError::NotBuiltIn { queue: queue.to_owned(), broker, remedy })
}

/// Returns the cluster configuration if a queue is bound to Kafka. Without such a queue its variables are ignored.
#[cfg(feature = "kafka")]
fn kafka(
    bindings: &BTreeMap<String, Binding>,
    lookup: impl Fn(&str) -> Option<String>,
    errors: &mut Vec<ConfigError>,
) -> Option<sluicegate_queue::kafka::ClusterConfig> {
    let (queue, _) = bindings.iter().find(|(_, binding)| matches!(binding, Binding::Kafka { .. }))?;
    let error = match sluicegate_queue::kafka::ClusterConfig::from_env(lookup) {
        Ok(Some(config)) => return Some(config),
        Ok(None) => ConfigError::NoCluster { queue: queue.clone() },
        Err(wrong) => wrong.into(),
    };
    errors.push(error);
    None
}

/// Returns the broker configuration if a queue is bound to RabbitMQ. Without such a queue its variables are ignored.
#[cfg(feature = "rabbitmq")]
fn rabbitmq(
    contract: &Contract,
    bindings: &BTreeMap<String, Binding>,
    lookup: impl Fn(&str) -> Option<String>,
    errors: &mut Vec<ConfigError>,
) -> Option<sluicegate_queue::rabbitmq::BrokerConfig> {
    let is_bound = |queue: &str| matches!(bindings.get(queue), Some(Binding::Rabbitmq { .. }));
    let first = bindings.keys().find(|queue| is_bound(queue))?;
    let config = match sluicegate_queue::rabbitmq::BrokerConfig::from_env(lookup) {
        Ok(Some(config)) => config,
        Ok(None) => {
            errors.push(ConfigError::NoBroker { queue: first.clone() });
            return None;
        }
        Err(wrong) => {
            errors.push(wrong.into());
            return None;
        }
    };
    for operation in contract.operations() {
        let delay_s = operation.enqueue.delay_s_max();
        if config.retry_delays().at_least_s(Duration::from_secs(delay_s.into())).is_some() {
            continue;
        }
        for queue in operation.enqueue.queues().filter(|queue| is_bound(queue)) {
            let (operation, queue) = (operation.id.clone(), queue.to_owned());
            errors.push(ConfigError::DelayBeyondRetryDelays { operation, queue, delay_s });
        }
    }
    Some(config)
}
