//! The connection to one broker.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::config::{Config, Login};
use crate::{SendError, chain};

/// The largest message taken, in bytes: what RabbitMQ 4 takes at most by default (3.13 takes 128 MiB)
/// (<https://www.rabbitmq.com/docs/configure>, `max_message_size`).
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A broker. Clones share one connection.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    config: Config,
    link: Mutex<Option<(Connection, Channel)>>,
}

/// One message to publish.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The exchange; empty for the default exchange.
    pub exchange: &'a str,
    /// The routing key; on the default exchange, the queue's name.
    pub routing_key: &'a str,
    /// Properties and headers.
    pub properties: BasicProperties,
    /// The body.
    pub body: &'a [u8],
}

impl Broker {
    /// A broker that is connected to when first needed.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner { config, link: Mutex::new(None) }))
    }

    /// Connects, if there is no connection.
    ///
    /// # Errors
    /// When there is none before `deadline`.
    pub async fn connect(&self, deadline: Instant) -> Result<(), SendError> {
        self.channel(deadline).await.map(drop)
    }

    /// Publishes one message and waits until the broker has confirmed it, but never past `deadline`.
    ///
    /// # Errors
    /// What the caller may conclude, as a [`SendError`].
    pub async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<(), SendError> {
        let channel = self.channel(deadline).await?;
        let publish = async {
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let confirm = channel
                .basic_publish(
                    publication.exchange.into(),
                    publication.routing_key.into(),
                    options,
                    publication.body,
                    publication.properties.clone(),
                )
                .await?;
            confirm.await
        };
        match timeout_at(deadline, publish).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(_)))) => Err(SendError::Unroutable { reason: "returned".to_owned() }),
            Ok(Ok(_)) => Err(SendError::NotSent { reason: "the broker did not take it (nack)".to_owned() }),
            Ok(Err(error)) => Err(SendError::Unknown { reason: chain(&error) }),
            Err(_) => Err(SendError::Unknown { reason: "no confirm before the deadline".to_owned() }),
        }
    }

    async fn channel(&self, deadline: Instant) -> Result<Channel, SendError> {
        let mut link = self.0.link.lock().await;
        if let Some((connection, channel)) = &*link
            && connection.status().connected()
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let connect = async {
            let connection = Connection::connect_uri(self.uri(), ConnectionProperties::default()).await?;
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok((connection, channel))
        };
        let made = timeout_at(deadline, connect).await;
        let made = made.map_err(|_| SendError::NotSent { reason: "no connection before the deadline".to_owned() })?;
        let made = made.map_err(|error: lapin::Error| SendError::NotSent { reason: chain(&error) })?;
        Ok(link.insert(made).1.clone())
    }

    fn uri(&self) -> AMQPUri {
        let address = &self.0.config.address;
        let userinfo = match &self.0.config.login {
            Login::Fixed(credentials) => {
                AMQPUserInfo { username: credentials.username.clone(), password: credentials.password.clone() }
            }
            Login::Secret { .. } => AMQPUserInfo { username: String::new(), password: String::new() },
        };
        AMQPUri {
            scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host: address.host.clone(), port: address.port },
            vhost: address.vhost.clone(),
            query: AMQPQueryString { heartbeat: Some(address.heartbeat_s), ..AMQPQueryString::default() },
        }
    }
}
