//! [`TimedConnection`]: the connection of the messages in flight. Every answer has a time limit. A lost connection is
//! not opened again, because its messages are back in the queue.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind};
use sluicegate_queue::chain;
use sluicegate_queue::rabbitmq::{self, Broker, BrokerConfig};
use sluicegate_topology::Address;
use tokio::time::error::Elapsed;

use crate::Error;

/// Longest wait for an answer of the broker. A cluster under load takes seconds to elect a quorum queue's leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// <https://www.rabbitmq.com/amqp-0-9-1-reference#constants>
const NOT_FOUND: u16 = 404;

/// The name of the connection in the broker's list.
const CONNECTION_NAME: &str = "sluicegate dlq";

/// A connection to the broker that waits a limited time for each answer.
pub(super) struct TimedConnection {
    /// The broker, for display.
    place: String,
    connection: rabbitmq::Connection,
}

impl TimedConnection {
    pub(super) async fn open(address: &Address, broker: &Broker) -> Result<Self, Error> {
        let place = address.to_string();
        let connection = broker.open_connection(CONNECTION_NAME, PATIENCE).await;
        let connection = connection.map_err(|error| Error::Broker(format!("{place}: {error}")))?;
        Ok(Self { place, connection })
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        self.ask(self.connection.channel()).await
    }

    /// Waits for an answer of the broker.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
        conclude(&self.place, within(question).await)
    }

    /// Returns how many messages of the queue are ready.
    ///
    /// # Errors
    /// The queue does not exist, which closes the channel; or the broker does not answer.
    pub(super) async fn ready(&self, channel: &Channel, queue: &ShortString) -> Result<u32, Error> {
        self.ask(channel.queue_declare(queue.clone(), passive(), FieldTable::default()))
            .await
            .map(|answer| answer.message_count())
    }

    /// Returns whether the queue exists.
    pub(super) async fn is_there(&self, queue: &str) -> Result<bool, Error> {
        let queue = self.name(queue)?;
        // If it does not, the broker closes the channel, so a separate one is used; it closes with its last handle.
        let channel = self.channel().await?;
        match within(channel.queue_declare(queue, passive(), FieldTable::default())).await {
            Ok(Err(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
            answer => conclude(&self.place, answer).map(|_| true),
        }
    }

    /// Returns a name as an AMQP short string.
    pub(super) fn name(&self, name: &str) -> Result<ShortString, Error> {
        ShortString::try_new(name).map_err(|error| Error::Broker(format!("{name}: {error}")))
    }
}

fn passive() -> QueueDeclareOptions {
    QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() }
}

async fn within<T>(question: impl Future<Output = lapin::Result<T>>) -> Result<lapin::Result<T>, Elapsed> {
    tokio::time::timeout(PATIENCE, question).await
}

fn conclude<T>(place: &str, answer: Result<lapin::Result<T>, Elapsed>) -> Result<T, Error> {
    let reason = match answer {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ProtocolError(error) => error.get_message().to_string(),
            _ => chain(&error),
        },
        Err(_) => format!("no answer within {} s", PATIENCE.as_secs()),
    };
    Err(Error::Broker(format!("{place}: {reason}")))
}

fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// Returns how to reach the broker at `address`, and the user name for it.
pub(super) fn config(address: &Address) -> Result<(BrokerConfig, String), Error> {
    let uri = address.uri().map_err(|error| Error::Broker(error.to_string()))?;
    let user = uri.authority.userinfo.username.clone();
    Ok((BrokerConfig::at(uri), user))
}
