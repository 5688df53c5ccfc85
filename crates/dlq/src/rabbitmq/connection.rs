//! The connection that messages are held on. Every answer is waited for with a limit; a connection that was lost is not made
//! again, because what it held is back in the queue.

use std::time::Duration;

use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, ErrorKind};
use sluicegate_queue::chain;
use sluicegate_queue::rabbitmq::{self, Broker};
use sluicegate_topology::Address;
use tokio::time::error::Elapsed;

use crate::Error;

/// How long each answer of the broker is waited for. A cluster under load takes seconds to elect a quorum queue's leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// <https://www.rabbitmq.com/amqp-0-9-1-reference#constants>
const NOT_FOUND: u16 = 404;

/// What the broker's operator sees in the list of connections.
const CONNECTION_NAME: &str = "sluicegate dlq";

/// One connection.
pub(super) struct Connection {
    /// The broker, for people.
    place: String,
    connection: rabbitmq::Connection,
}

impl Connection {
    pub(super) async fn open(address: &Address, broker: &Broker) -> Result<Self, Error> {
        let place = address.to_string();
        let connection = broker.open_connection(CONNECTION_NAME, PATIENCE).await;
        let connection = connection.map_err(|error| Error::Broker(format!("{place}: {error}")))?;
        Ok(Self { place, connection })
    }

    /// A channel of its own.
    pub(super) async fn channel(&self) -> Result<Channel, Error> {
        self.ask(self.connection.channel()).await
    }

    /// Waits for the answer of the broker.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
        conclude(&self.place, within(question).await)
    }

    /// How many messages of the queue nobody holds.
    ///
    /// # Errors
    /// It is not there, which closes the channel; or as always.
    pub(super) async fn ready(&self, channel: &Channel, queue: &ShortString) -> Result<u32, Error> {
        self.ask(channel.queue_declare(queue.clone(), passive(), FieldTable::default()))
            .await
            .map(|answer| answer.message_count())
    }

    /// Whether there is such a queue.
    pub(super) async fn is_there(&self, queue: &str) -> Result<bool, Error> {
        let queue = self.name(queue)?;
        // A no closes the channel, so it has its own; it is closed with the last handle on it.
        let channel = self.channel().await?;
        match within(channel.queue_declare(queue, passive(), FieldTable::default())).await {
            Ok(Err(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
            answer => conclude(&self.place, answer).map(|_| true),
        }
    }

    /// A name as AMQP has it.
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
