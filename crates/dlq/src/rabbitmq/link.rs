//! The connection that holds messages. Every answer is waited for with a limit; a connection that was lost is not made again,
//! because what it held is back in the queue.

use std::time::Duration;

use lapin::options::{BasicQosOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use sluicegate_queue::chain;
use sluicegate_topology::Address;

use crate::Error;

/// How long each answer of the broker is waited for. A cluster under load takes seconds to elect a quorum queue's leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// <https://www.rabbitmq.com/amqp-0-9-1-reference#constants>
const NOT_FOUND: u16 = 404;

/// What the broker's operator sees in the list of connections.
const CONNECTION_NAME: &str = "sluicegate dlq";

/// One connection, and the channel on it that holds.
pub(super) struct Link {
    place: String,
    connection: Connection,
    channel: Channel,
}

impl Link {
    pub(super) async fn open(address: &Address, uri: AMQPUri) -> Result<Self, Error> {
        let place = address.to_string();
        let properties = ConnectionProperties::default().with_connection_name(CONNECTION_NAME.into());
        let connection = within(&place, Connection::connect_uri(uri, properties)).await?;
        let channel = within(&place, connection.create_channel()).await?;
        Ok(Self { place, connection, channel })
    }

    /// The channel that holds.
    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Waits for the answer of the broker.
    pub(super) async fn ask<T>(&self, question: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
        within(&self.place, question).await
    }

    /// # Errors
    /// The channel is closed: the broker has put back what it held.
    pub(super) fn check_up(&self) -> Result<(), Error> {
        if self.channel.status().connected() {
            return Ok(());
        }
        Err(Error::Broker(format!("{}: the connection was lost; what was held is back in the queue", self.place)))
    }

    /// Waits until the broker has heard all that was said on the channel: it answers in order. Asked is for something that means
    /// nothing here, where nothing is consumed.
    pub(super) async fn heard(&self) -> Result<(), Error> {
        self.ask(self.channel.basic_qos(0, BasicQosOptions::default())).await
    }

    /// How many messages of the queue nobody holds.
    ///
    /// # Errors
    /// It is not there, which closes the channel; or as always.
    pub(super) async fn ready(&self, queue: &ShortString) -> Result<u32, Error> {
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let asked = self.channel.queue_declare(queue.clone(), passive, FieldTable::default());
        self.ask(asked).await.map(|answer| answer.message_count())
    }

    /// Whether there is such a queue. The answer does not touch what is held.
    pub(super) async fn is_there(&self, queue: &str) -> Result<bool, Error> {
        let Ok(queue) = ShortString::try_new(queue) else { return Ok(false) };
        let probe = self.ask(self.connection.create_channel()).await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        match tokio::time::timeout(PATIENCE, probe.queue_declare(queue, passive, FieldTable::default())).await {
            Ok(Err(error)) if code(&error) == Some(NOT_FOUND) => Ok(false),
            answer => {
                let there = settled(&self.place, answer).map(|_| true);
                // It is a question's channel; that it cannot be closed, the next question tells.
                drop(self.ask(probe.close(200, "asked".into())).await);
                there
            }
        }
    }
}

async fn within<T>(place: &str, question: impl Future<Output = lapin::Result<T>>) -> Result<T, Error> {
    settled(place, tokio::time::timeout(PATIENCE, question).await)
}

fn settled<T>(place: &str, answer: Result<lapin::Result<T>, tokio::time::error::Elapsed>) -> Result<T, Error> {
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
