//! [`Broker`]: one connection that is reopened on demand, and the retry policy of a publish.
//!
//! A connection is opened when it is first needed. After it was idle for a heartbeat, the broker is probed before the
//! connection is used. When the connection breaks during a publish, or the broker stops answering, one new connection
//! is opened and the message is published once more under the same id, within the deadline. A message may therefore be
//! stored twice, and the result is [`SendError::Unknown`] whenever it may have been sent. Concurrent publishers share
//! one attempt to connect, and its failure.

use std::io;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use lapin::tcp::RustlsConnector;
use lapin::types::ShortString;
use lapin::{BasicProperties, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::config::BrokerConfig;
use super::connection::{self, CONNECT_TIMEOUT, CONNECTION_NAME, Connection};
use super::pending_confirms::{ConfirmResult, PublishRequest};
use super::properties;
use super::publisher::{PROBE_TIMEOUT, Publisher};
use crate::broker_url::Credentials;
use crate::login::{CachedCredentials, Login};
use crate::{SendError, chain};

/// The largest accepted body, in bytes: the default limit of RabbitMQ 4 (128 MiB in 3.13)
/// (<https://www.rabbitmq.com/docs/configure>, `max_message_size`).
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A message is published once, and once more when the first attempt failed with the connection.
const ATTEMPTS_MAX: u32 = 2;

/// AMQP reply codes (AMQP 0-9-1, section 1.2) that a retry does not change.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// A broker. Clones share one connection.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    config: BrokerConfig,
    /// Locked while a connection is opened, so that concurrent publishers open only one.
    slot: Mutex<ConnectionSlot>,
    credentials: CachedCredentials,
    tls: StdMutex<Option<RustlsConnector>>,
}

#[derive(Default)]
struct ConnectionSlot {
    publisher: Option<Publisher>,
    /// The last failure to connect, and when.
    failure: Option<(Instant, SendError)>,
}

/// A message to publish.
#[derive(Clone, Debug)]
pub struct Publication<'a> {
    /// The exchange; empty for the default exchange. 255 bytes at most.
    pub exchange: &'a str,
    /// The routing key; on the default exchange, the queue's name. 255 bytes at most.
    pub routing_key: &'a str,
    /// Properties and headers; together they must fit into one frame (128 KiB).
    pub properties: BasicProperties,
    /// The body, [`BODY_BYTES_MAX`] at most.
    pub body: &'a [u8],
}

impl Broker {
    /// Creates a broker that connects when first needed. Publishing needs a Tokio runtime with time and I/O.
    #[must_use]
    pub fn new(config: BrokerConfig) -> Self {
        Self(Arc::new(Inner {
            config,
            slot: Mutex::default(),
            credentials: CachedCredentials::default(),
            tls: StdMutex::default(),
        }))
    }

    /// Opens a connection, unless a usable one exists.
    ///
    /// # Errors
    /// [`SendError::Refused`] when the broker refuses the login or the virtual host, which an operator can fix;
    /// [`SendError::NotSent`] when there is no connection before `deadline`.
    pub async fn connect(&self, deadline: Instant) -> Result<(), SendError> {
        self.publisher(None, deadline).await.map(drop)
    }

    /// Publishes one message as `mandatory` and waits for the publisher confirm, but not past `deadline`. Concurrent
    /// calls share the channel.
    ///
    /// # Errors
    /// What the caller may conclude, as a [`SendError`].
    pub async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<(), SendError> {
        let message = Checked::new(publication)?;
        if Instant::now() >= deadline {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let mut attempts = 0;
        // The channel that has lost the message last.
        let mut lost: Option<Publisher> = None;
        // The result of the attempts that failed with their connection.
        let mut broken: Option<Broken> = None;
        loop {
            attempts += 1;
            let publisher = match self.publisher(lost.as_ref(), deadline).await {
                Ok(publisher) => publisher,
                Err(error) => return Err(after(broken, error)),
            };
            let result = match timeout_at(deadline, publisher.publish(|result| message.request(result))).await {
                Ok(result) => result,
                Err(_) => return Err(SendError::Unknown { reason: "no confirm before the deadline".to_owned() }),
            };
            let now = match conclude(result, &message) {
                Ok(()) => return Ok(()),
                Err(AttemptError::Final(error)) => return Err(after(broken, error)),
                Err(AttemptError::Broken(now)) => now,
            };
            let earlier = broken.take().is_some_and(|earlier| earlier.sent);
            let now = Broken { sent: now.sent || earlier, ..now };
            if attempts == ATTEMPTS_MAX || Instant::now() >= deadline {
                return Err(now.into());
            }
            (lost, broken) = (Some(publisher), Some(now));
        }
    }

    /// Returns an open, usable channel other than `lost`, which may still look open.
    async fn publisher(&self, lost: Option<&Publisher>, deadline: Instant) -> Result<Publisher, SendError> {
        let late = |_| SendError::NotSent { reason: "no connection before the deadline".to_owned() };
        let asked_at = Instant::now();
        let mut slot = timeout_at(deadline, self.0.slot.lock()).await.map_err(late)?;
        if let Some(publisher) = timeout_at(deadline, slot.usable(lost)).await.map_err(late)? {
            return Ok(publisher);
        }
        if let Some((at, failure)) = &slot.failure
            && *at >= asked_at
        {
            return Err(failure.clone());
        }
        // Boxed, because it is rare and its future is large.
        let made = timeout_at(deadline, Box::pin(self.open_publisher())).await.map_err(late)?;
        match made {
            Ok(publisher) => {
                slot.failure = None;
                Ok(slot.publisher.insert(publisher).clone())
            }
            Err(failure) => {
                slot.failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Opens a channel to publish on, on a new connection.
    async fn open_publisher(&self) -> Result<Publisher, SendError> {
        let connection = Arc::new(self.open_connection(CONNECTION_NAME, CONNECT_TIMEOUT).await?);
        match tokio::time::timeout(PROBE_TIMEOUT, Publisher::open(Arc::clone(&connection))).await {
            Ok(opened) => opened.map_err(|error| unconnected(&error)),
            Err(_) => {
                connection.kill();
                Err(unconnected(&io::Error::new(io::ErrorKind::TimedOut, "no channel").into()))
            }
        }
    }

    /// Opens a separate connection, which the broker lists as `name`. If the broker refuses credentials from a secret,
    /// tries again when the secret has changed.
    ///
    /// # Errors
    /// As [`Broker::connect`].
    pub async fn open_connection(&self, name: &str, timeout: Duration) -> Result<Connection, SendError> {
        let tls = self.tls().map_err(|error| SendError::NotSent { reason: format!("TLS: {error}") })?;
        let mut credentials = self.credentials(None).await?;
        loop {
            match Connection::connect(&self.0.config, credentials.clone(), tls.clone(), name, timeout).await {
                Ok(connection) => return Ok(connection),
                Err(error) if is_rotated(&self.0.config.login, &error) => {
                    let now = self.credentials(Some(&credentials)).await?;
                    if now == credentials {
                        return Err(unconnected(&error));
                    }
                    credentials = now;
                }
                Err(error) => return Err(unconnected(&error)),
            }
        }
    }

    async fn credentials(&self, refused: Option<&Credentials>) -> Result<Credentials, SendError> {
        let read = self.0.credentials.get(&self.0.config.login, refused).await;
        read.map_err(|reason| SendError::NotSent { reason: format!("RABBITMQ_SECRET_ARN: {reason}") })
    }

    fn tls(&self) -> io::Result<Option<RustlsConnector>> {
        if !self.0.config.address.tls {
            return Ok(None);
        }
        let mut kept = self.0.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = Some(connection::tls()?);
        }
        Ok(kept.clone())
    }
}

impl ConnectionSlot {
    /// Returns the open channel if it is usable, or a new one on the same connection if only the channel was closed.
    async fn usable(&mut self, lost: Option<&Publisher>) -> Option<Publisher> {
        let publisher = self.publisher.as_ref()?;
        let connection = Arc::clone(publisher.connection());
        if !connection.is_up() {
            self.publisher = None;
            return None;
        }
        if !publisher.is_open() || lost.is_some_and(|lost| lost.is(publisher)) {
            let opened = tokio::time::timeout(PROBE_TIMEOUT, Publisher::open(Arc::clone(&connection))).await;
            self.publisher = opened.ok().and_then(Result::ok);
        } else if connection.is_suspect() && !publisher.is_alive(PROBE_TIMEOUT).await {
            self.publisher = None;
        }
        if self.publisher.is_none() {
            connection.kill();
        }
        self.publisher.clone()
    }
}

/// A publication within the limits of AMQP.
struct Checked<'a> {
    publication: &'a Publication<'a>,
    exchange: ShortString,
    routing_key: ShortString,
}

impl<'a> Checked<'a> {
    fn new(publication: &'a Publication<'a>) -> Result<Self, SendError> {
        let unfit = |reason: String| SendError::Refused { reason, message_at_fault: true };
        let short = |what: &str, text: &str| {
            let max = properties::SHORT_BYTES_MAX;
            ShortString::try_new(text).map_err(|_| unfit(format!("the {what} has more than {max} bytes")))
        };
        let bytes = publication.body.len();
        if bytes > BODY_BYTES_MAX {
            return Err(SendError::TooLarge { bytes, bytes_max: BODY_BYTES_MAX });
        }
        Ok(Self {
            publication,
            exchange: short("exchange's name", publication.exchange)?,
            routing_key: short("routing key", publication.routing_key)?,
        })
    }

    fn request(&self, result: tokio::sync::oneshot::Sender<ConfirmResult>) -> PublishRequest {
        PublishRequest {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            properties: self.publication.properties.clone(),
            body: self.publication.body.to_vec(),
            result,
        }
    }
}

/// The conclusion from an attempt without a receipt.
enum AttemptError {
    /// A retry does not help.
    Final(SendError),
    /// The connection failed; a retry may succeed.
    Broken(Broken),
}

/// An attempt that failed with its connection.
struct Broken {
    reason: String,
    /// Whether the broker may have the message.
    sent: bool,
}

impl From<Broken> for SendError {
    fn from(broken: Broken) -> Self {
        let Broken { reason, sent } = broken;
        if sent { Self::Unknown { reason } } else { Self::NotSent { reason } }
    }
}

/// Combines a later error with an earlier attempt that may have sent the message.
fn after(broken: Option<Broken>, error: SendError) -> SendError {
    match broken {
        Some(Broken { reason, sent: true }) => SendError::Unknown { reason: format!("{reason}; then {error}") },
        _ => error,
    }
}

fn conclude(result: ConfirmResult, message: &Checked<'_>) -> Result<(), AttemptError> {
    let error = match result {
        ConfirmResult::Stored => return Ok(()),
        ConfirmResult::Returned(reason) => {
            let (exchange, key) = (message.exchange.as_str(), message.routing_key.as_str());
            SendError::Unroutable { reason: format!("exchange {exchange:?}, routing key {key:?}: {reason}") }
        }
        ConfirmResult::MaybeReturned(reason) => {
            let reason = format!("it or an earlier copy, which was pending as well, was returned: {reason}");
            SendError::Unknown { reason }
        }
        ConfirmResult::Nacked => {
            SendError::NotSent { reason: "the broker rejected it (nack): the queue is full".to_owned() }
        }
        ConfirmResult::Blocked { reason, sent } => {
            return Err(AttemptError::Final(
                Broken { reason: format!("the broker blocks publishers: {reason}"), sent }.into(),
            ));
        }
        ConfirmResult::Lost { error, sent } => {
            let refusal = error.as_ref().and_then(|error| refusal(error, message));
            let reason = error.map_or_else(|| "the broker stopped answering".to_owned(), |error| chain(&error));
            return Err(match refusal {
                Some(message_at_fault) => AttemptError::Final(SendError::Refused { reason, message_at_fault }),
                None => AttemptError::Broken(Broken { reason, sent }),
            });
        }
    };
    Err(AttemptError::Final(error))
}

/// Returns whether the message (`Some(true)`) or the configuration (`Some(false)`) made the broker close the channel,
/// or `None` if another message did: the error reaches every message that was pending on the channel.
fn refusal(error: &lapin::Error, message: &Checked<'_>) -> Option<bool> {
    let (code, text) = reply(error)?;
    let exchange = format!("exchange '{}' ", message.exchange);
    let bytes = format!("message size {} is larger", message.publication.body.len());
    match code {
        NOT_FOUND | ACCESS_REFUSED if text.contains(&exchange) => Some(false),
        PRECONDITION_FAILED if text.contains(&bytes) => Some(true),
        _ => None,
    }
}

/// Returns the code and text of an error that the broker sent.
fn reply(error: &lapin::Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}

/// Returns whether the broker refused credentials from a secret, which may have been rotated.
fn is_rotated(login: &Login, error: &lapin::Error) -> bool {
    matches!(login, Login::Secret { .. }) && reply(error).is_some_and(|(code, _)| code == ACCESS_REFUSED)
}

fn unconnected(error: &lapin::Error) -> SendError {
    let reason = format!("no connection: {}", chain(error));
    match reply(error) {
        Some((ACCESS_REFUSED | NOT_ALLOWED, _)) => SendError::Refused { reason, message_at_fault: false },
        _ => SendError::NotSent { reason },
    }
}
