//! The broker of a stack: a private one or an existing one.

use std::time::Duration;

use sluicegate_queue::kafka::{Cluster, ClusterConfig};
use tokio::time::{Instant, sleep};

use super::choice::{KafkaChoice, KafkaError};
use super::node::{self, KafkaNode};
use super::topics::Topic;

/// Limit for the first answer of the brokers.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
/// Pause between two attempts.
const ANSWER_PAUSE: Duration = Duration::from_millis(200);

/// The addresses of brokers, and how to connect to them.
#[derive(Clone)]
pub(crate) struct KafkaBroker {
    pub(crate) servers: String,
    pub(crate) config: ClusterConfig,
}

/// A broker before its start, with a known address.
pub(crate) struct PlannedKafka {
    pub(crate) broker: KafkaBroker,
    private_port: Option<u16>,
}

impl PlannedKafka {
    /// Reads the addresses, or finds a free port.
    ///
    /// # Errors
    /// The addresses are not valid, or no port is free.
    pub(crate) fn choose(choice: &KafkaChoice) -> Result<Self, KafkaError> {
        let (servers, private_port) = match choice {
            KafkaChoice::At(servers) => (servers.clone(), None),
            KafkaChoice::Private => {
                let port = node::free_port()?;
                (format!("127.0.0.1:{port}"), Some(port))
            }
        };
        let lookup = |name: &str| match name {
            "KAFKA_BOOTSTRAP_SERVERS" => Some(servers.clone()),
            "KAFKA_SECURITY_PROTOCOL" => Some("PLAINTEXT".to_owned()),
            _ => None,
        };
        match ClusterConfig::from_env(lookup) {
            Ok(Some(config)) => Ok(Self { broker: KafkaBroker { servers, config }, private_port }),
            _ => Err(KafkaError::Servers(servers)),
        }
    }

    /// Returns the addresses.
    pub(crate) fn servers(&self) -> &str {
        &self.broker.servers
    }

    /// Returns whether it is a private broker.
    pub(crate) fn is_private(&self) -> bool {
        self.private_port.is_some()
    }

    /// Starts the private broker, if that was chosen.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn start(self) -> Result<(KafkaBroker, Option<KafkaNode>), KafkaError> {
        let node = match self.private_port {
            Some(port) => Some(KafkaNode::start(port).await?),
            None => None,
        };
        Ok((self.broker, node))
    }
}

impl KafkaBroker {
    /// Creates the topics that do not exist; returns their names.
    ///
    /// # Errors
    /// No broker answers, or it refuses a topic.
    pub(crate) async fn create(&self, topics: &[Topic]) -> Result<Vec<String>, KafkaError> {
        let failed = |reason| KafkaError::Topic { servers: self.servers.clone(), reason };
        let cluster = Cluster::new(self.config.clone());
        let mut created = Vec::new();
        for topic in topics {
            let started = Instant::now();
            loop {
                // The request for its partitions first, since a user may be allowed to read a topic, but not to create
                // one.
                if cluster.partitions(&topic.name).await.is_ok() {
                    break;
                }
                match cluster.create_topic(&topic.name).await {
                    Ok(true) => created.push(topic.name.clone()),
                    Ok(false) => {}
                    Err(error) if started.elapsed() > ANSWER_TIME_MAX => return Err(failed(error.to_string())),
                    Err(_) => {}
                }
                if started.elapsed() > ANSWER_TIME_MAX {
                    return Err(failed(format!("topic {} has no partition", topic.name)));
                }
                sleep(ANSWER_PAUSE).await;
            }
        }
        Ok(created)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_with_ports_are_accepted() {
        let choose = |servers: &str| PlannedKafka::choose(&KafkaChoice::At(servers.to_owned()));
        for servers in ["127.0.0.1:9092", "a:9092,b:9093"] {
            let planned = choose(servers).unwrap();
            assert_eq!((planned.servers(), planned.is_private()), (servers, false));
        }
        for servers in ["", "127.0.0.1", "kafka://127.0.0.1:9092", "a:0"] {
            assert!(matches!(choose(servers), Err(KafkaError::Servers(text)) if text == servers), "{servers}");
        }
        assert!(PlannedKafka::choose(&KafkaChoice::Private).unwrap().is_private());
    }
}
