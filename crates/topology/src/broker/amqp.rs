//! Declarations over AMQP. Every wait has a limit, and a channel that the broker closed is replaced.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind, ExchangeKind};
use serde_json::Value;
use sluicegate_queue::broker_url::{BrokerUrl, Credentials, HEARTBEAT_S};

use super::mismatch;
use crate::address::{Address, AddressError};
use crate::change::Difference;
use crate::declaration::{BindingDeclaration, ExchangeDeclaration, QueueDeclaration};
use crate::error::Error;
use crate::topology::ExchangeType;

/// Longest wait for an answer of the broker. A cluster under load takes seconds to elect a quorum queue's leader.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Reply codes of AMQP 0-9-1 (<https://www.rabbitmq.com/amqp-0-9-1-reference#constants>).
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;

/// The feature flag that RabbitMQ names when it refuses a queue that is neither durable nor exclusive, as 4.3 and later
/// do (<https://www.rabbitmq.com/docs/queues#durability>).
const TRANSIENT_QUEUES: &str = "transient_nonexcl_queues";
/// What to do then.
const TRANSIENT_QUEUES_FIX: &str = "; write `durable: true` in the topology file, and declare the queue durable in the \
                                    programs that use it";

/// Longest time for closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Address {
    /// Returns the URI for an AMQP client, credentials included.
    ///
    /// # Errors
    /// There are no credentials.
    pub fn uri(&self) -> Result<AMQPUri, AddressError> {
        let Credentials { username, password } = self.credentials()?;
        let BrokerUrl { tls, host, port, vhost, heartbeat_s, .. } = self.url.clone();
        Ok(AMQPUri {
            scheme: if tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo: AMQPUserInfo { username, password }, host, port },
            vhost,
            // The default is left out: a URI without a heartbeat means the default.
            query: AMQPQueryString {
                heartbeat: (heartbeat_s != HEARTBEAT_S).then_some(heartbeat_s),
                ..AMQPQueryString::default()
            },
        })
    }
}

/// The broker's answer to a declaration.
pub(crate) enum Declared {
    /// It exists as declared; an active declaration may have created it.
    Done,
    /// It does not exist; the declaration was passive.
    Absent,
    /// It exists with other arguments.
    Differs(Difference),
}

/// The mode of a declaration: active or passive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Active: creates the object.
    Create,
    /// Passive: checks the name only, not the arguments.
    Check,
}

/// One connection and its present channel.
pub(crate) struct Session {
    place: String,
    connection: Connection,
    channel: Option<Channel>,
}

impl Session {
    pub(crate) async fn open(address: &Address) -> Result<Self, Error> {
        let uri = address.uri()?;
        let properties = ConnectionProperties::default().with_connection_name("sluicegate topology".into());
        let place = address.to_string();
        let connected = within(Connection::connect_uri(uri, properties)).await;
        match connected {
            Ok(connection) => Ok(Self { place, connection, channel: None }),
            Err(error) => Err(failure(place, &error)),
        }
    }

    pub(crate) async fn close(self) {
        // A failure to close does not matter: every answer has arrived.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, self.connection.close(200, "done".into())).await);
    }

    pub(crate) async fn exchange(&mut self, exchange: &ExchangeDeclaration, mode: Mode) -> Result<Declared, Error> {
        let doing = format!("exchange {}", exchange.name);
        let options =
            ExchangeDeclareOptions { passive: mode == Mode::Check, durable: true, ..ExchangeDeclareOptions::default() };
        let kind = match exchange.exchange_type {
            ExchangeType::Topic => ExchangeKind::Topic,
            ExchangeType::Fanout => ExchangeKind::Fanout,
            ExchangeType::Direct => ExchangeKind::Direct,
            ExchangeType::Headers => ExchangeKind::Headers,
        };
        let (name, arguments) = (self.short(&exchange.name)?, self.table(&exchange.arguments)?);
        let channel = self.channel().await?;
        let answer = within(channel.exchange_declare(name, kind, options, arguments)).await;
        self.declared(doing, mode, answer)
    }

    pub(crate) async fn queue(&mut self, queue: &QueueDeclaration, mode: Mode) -> Result<Declared, Error> {
        let doing = format!("queue {}", queue.name);
        let options = QueueDeclareOptions {
            passive: mode == Mode::Check,
            durable: queue.durable,
            ..QueueDeclareOptions::default()
        };
        let (name, arguments) = (self.short(&queue.name)?, self.table(&queue.arguments)?);
        let channel = self.channel().await?;
        let answer = within(channel.queue_declare(name, options, arguments)).await;
        self.declared(doing, mode, answer.map(drop))
    }

    /// Creates a binding; an existing one stays as it is.
    pub(crate) async fn bind(&mut self, binding: &BindingDeclaration) -> Result<(), Error> {
        let (queue, exchange) = (self.short(&binding.queue)?, self.short(&binding.exchange)?);
        let (key, arguments) = (self.short(&binding.routing_key)?, self.table(&binding.arguments())?);
        let channel = self.channel().await?;
        let bound = within(channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), arguments)).await;
        bound.map_err(|error| failure(format!("{}, binding {binding}", self.place), &error))
    }

    /// Returns the open channel, or opens one: the broker closes the channel with each refusal.
    async fn channel(&mut self) -> Result<Channel, Error> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = within(self.connection.create_channel()).await;
        let channel = channel.map_err(|error| failure(self.place.clone(), &error))?;
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    fn declared(&mut self, doing: String, mode: Mode, answer: Result<(), Failure>) -> Result<Declared, Error> {
        let Err(error) = answer else { return Ok(Declared::Done) };
        self.channel = None;
        match error.code() {
            Some(NOT_FOUND) if mode == Mode::Check => Ok(Declared::Absent),
            Some(PRECONDITION_FAILED) => Ok(Declared::Differs(mismatch::read(&error.to_string()))),
            _ => Err(failure(format!("{}, {doing}", self.place), &error)),
        }
    }

    fn short(&self, text: &str) -> Result<ShortString, Error> {
        ShortString::try_new(text)
            .map_err(|error| Error::Refused { place: self.place.clone(), reason: error.to_string() })
    }

    fn table(&self, arguments: &BTreeMap<String, Value>) -> Result<FieldTable, Error> {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            let value = match value {
                Value::Bool(value) => AMQPValue::Boolean(*value),
                Value::Number(value) => AMQPValue::LongLongInt(value.as_i64().unwrap_or(i64::MAX)),
                Value::String(text) => AMQPValue::LongString(text.as_bytes().into()),
                // Declarations have no values of these types.
                Value::Null | Value::Array(_) | Value::Object(_) => continue,
            };
            table.insert(self.short(name)?, value);
        }
        Ok(table)
    }
}

/// A failed call to the broker.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silence,
    #[error("{}", words(.0))]
    Lapin(lapin::Error),
}

impl Failure {
    /// Returns the broker's reply code, if the broker refused.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Lapin(error) => match error.kind() {
                ErrorKind::ProtocolError(error) => Some(error.get_id()),
                _ => None,
            },
            Self::Silence => None,
        }
    }
}

fn words(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

async fn within<T>(question: impl Future<Output = lapin::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout(ANSWER_TIMEOUT, question).await {
        Ok(answer) => answer.map_err(Failure::Lapin),
        Err(_) => Err(Failure::Silence),
    }
}

fn failure(place: String, error: &Failure) -> Error {
    let reason = with_fix(error.to_string());
    if error.code().is_some() { Error::Refused { place, reason } } else { Error::Unreachable { place, reason } }
}

/// Adds what to do to the broker's reason, where the reason does not say it.
fn with_fix(mut reason: String) -> String {
    if reason.contains(TRANSIENT_QUEUES) {
        reason.push_str(TRANSIENT_QUEUES_FIX);
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_refuses_queues_that_are_not_durable_is_explained() {
        // The answer of RabbitMQ 4.3, shortened.
        let text = "INTERNAL_ERROR - Feature `transient_nonexcl_queues` is deprecated. By default, this feature is not permitted";
        let shown = with_fix(text.to_owned());
        assert!(shown.starts_with(text) && shown.contains("write `durable: true` in the topology file"), "{shown}");
        assert_eq!(with_fix("ACCESS_REFUSED".to_owned()), "ACCESS_REFUSED");
    }
}
