//! The choice of a Kafka broker, and its errors.

use std::path::PathBuf;

/// The broker to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KafkaChoice {
    /// A private broker that ends with the stack.
    Private,
    /// The brokers at these addresses, without encryption and login: `HOST:PORT`, with commas between several.
    At(String),
}

/// The failure of a broker's setup.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// The addresses cannot be used.
    #[error("{0:?} are not addresses of Kafka brokers: HOST:PORT, with commas between several")]
    Servers(String),
    /// The program of the private broker cannot be started.
    #[error(
        "cannot start {}: {source} (--kafka needs noida-db, which `pip install noida-db` brings; --kafka-url HOST:PORT \
         uses a broker that runs)",
        program.display()
    )]
    Start {
        /// The program.
        program: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The private broker ended, or was not ready in time.
    #[error("the Kafka broker did not start: {reason}{}", log.iter().map(|line| format!("\n  | {line}")).collect::<String>())]
    Ended {
        /// The reason.
        reason: String,
        /// Its last lines.
        log: Vec<String>,
    },
    /// A topic is missing and cannot be created, or the broker cannot be reached.
    #[error("Kafka at {servers}: {reason}")]
    Topic {
        /// The addresses.
        servers: String,
        /// The reason.
        reason: String,
    },
    /// This build cannot use a broker.
    #[error("this build has no Kafka client: enable the feature `kafka`")]
    NotBuilt,
}
