//! The ports of a stack.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use serde::Serialize;
use tokio::net::TcpListener;

use super::{error::StackError, options::Options};
use crate::{kafka::PlannedKafka, rabbitmq::PlannedBroker};

/// The addresses of a stack. `Display` writes one line for scripts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// The HTTP API.
    pub gateway: String,
    /// Health, message logs and counts.
    pub admin: String,
    /// SQS, Secrets Manager, DynamoDB and S3.
    pub aws: String,
    /// RabbitMQ, if one is used; with the password only of a private node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq: Option<String>,
    /// RabbitMQ's management API and page at the conventional port; not in the line for scripts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rabbitmq_management: Option<String>,
    /// The addresses of Kafka's brokers, if it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kafka: Option<String>,
}

impl Addresses {
    /// Adds the addresses of the broker.
    pub(super) fn add(&mut self, broker: &PlannedBroker) {
        self.rabbitmq = Some(broker.public_url());
        self.rabbitmq_management = broker.management_url();
    }

    /// Adds the addresses of Kafka's brokers.
    pub(super) fn add_kafka(&mut self, kafka: &PlannedKafka) {
        self.kafka = Some(kafka.servers().to_owned());
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "gateway={} admin={} aws={}", self.gateway, self.admin, self.aws)?;
        self.rabbitmq.iter().try_for_each(|url| write!(out, " rabbitmq={url}"))?;
        self.kafka.iter().try_for_each(|servers| write!(out, " kafka={servers}"))
    }
}

/// The listeners, opened before any other work.
pub(super) struct Ports {
    pub(super) addresses: Addresses,
    pub(super) gateway: TcpListener,
    pub(super) admin: TcpListener,
    pub(super) aws: Option<TcpListener>,
}

impl Ports {
    pub(super) async fn open(options: &Options) -> Result<Self, StackError> {
        let gateway = listen(options.port, "--port").await?;
        let admin = listen(options.admin_port, "--admin-port").await?;
        let aws = match &options.endpoint_url {
            None => Some(listen(options.aws_port, "--aws-port").await?),
            Some(_) => None,
        };
        let url =
            |listener: &TcpListener| listener.local_addr().map_or_else(|_| String::new(), |at| format!("http://{at}"));
        let remote = options.endpoint_url.as_deref().unwrap_or_default().trim_end_matches('/');
        let addresses = Addresses {
            gateway: url(&gateway),
            admin: url(&admin),
            aws: aws.as_ref().map_or_else(|| remote.to_owned(), url),
            rabbitmq: None,
            rabbitmq_management: None,
            kafka: None,
        };
        Ok(Self { addresses, gateway, admin, aws })
    }
}

async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, StackError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| StackError::Port { port, flag, source })
}
