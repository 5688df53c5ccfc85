//! The choice of a broker, and its errors.

use sluicegate_topology::AddressError;

#[cfg(feature = "rabbitmq")]
use super::node::NodeError;

/// The broker to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerChoice {
    /// A private node that ends with the stack.
    Private,
    /// The broker at this URL: `amqp[s]://USER:PASSWORD@HOST:PORT/VHOST`.
    At(String),
}

/// The failure of a broker's setup.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The URL cannot be used.
    #[error(transparent)]
    Url(#[from] AddressError),
    /// The private node did not start.
    #[cfg(feature = "rabbitmq")]
    #[error(transparent)]
    RabbitmqNode(#[from] NodeError),
    /// The topology is invalid, or conflicts with the broker's.
    #[error("{0}")]
    Topology(String),
    /// This build cannot use a broker.
    #[error("this build has no RabbitMQ client: enable the feature `rabbitmq`")]
    NotBuilt,
}
