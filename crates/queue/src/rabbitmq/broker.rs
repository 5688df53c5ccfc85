//! [`Broker`]: one connection that mends itself, and the policy of a publish on it.
//!
//! A connection is made when it is needed and there is none. It is not trusted after it was idle for a heartbeat: the broker is
//! asked for a sign of life first. When it breaks under a message, or falls silent, one new connection is made and the
//! message is published once more under the same id, within the deadline; so a message may be stored twice, and whoever waits is
//! never told that it was not sent when it may have been. All who publish share the one connection that is being made, and
//! its failure.

use std::io;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};

use lapin::tcp::RustlsConnector;
use lapin::types::ShortString;
use lapin::{BasicProperties, ErrorKind};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use super::config::{Config, Credentials, Login};
use super::flights::{Job, Landing};
use super::publisher::{Publisher, SIGN_TIMEOUT};
use super::wire::{self, Wire};
use super::{properties, secret};
use crate::{SendError, chain};

/// The largest body taken, in bytes: what RabbitMQ 4 takes by default (3.13 takes 128 MiB)
/// (<https://www.rabbitmq.com/docs/configure>, `max_message_size`).
pub const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A message is published once, and once more when the first attempt broke.
const ATTEMPTS_MAX: u32 = 2;

/// AMQP reply codes (AMQP 0-9-1, section 1.2), as far as they say that trying again changes nothing.
const ACCESS_REFUSED: u16 = 403;
const NOT_FOUND: u16 = 404;
const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// A broker. Clones share one connection.
#[derive(Clone)]
pub struct Broker(Arc<Inner>);

struct Inner {
    config: Config,
    /// Held while a connection is made, so that only one is.
    link: Mutex<Link>,
    /// The last login that a secret held.
    credentials: StdMutex<Option<Credentials>>,
    tls: StdMutex<Option<RustlsConnector>>,
}

#[derive(Default)]
struct Link {
    publisher: Option<Publisher>,
    /// The last failure to connect, and when.
    failure: Option<(Instant, SendError)>,
}

/// One message to publish.
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
    /// A broker that is connected to when it is first needed. Publishing needs a Tokio runtime with time and I/O.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner {
            config,
            link: Mutex::default(),
            credentials: StdMutex::default(),
            tls: StdMutex::default(),
        }))
    }

    /// Connects, if there is no connection that can be used.
    ///
    /// # Errors
    /// When there is none before `deadline`, as a [`SendError`]: [`SendError::Refused`] when the broker refuses the login or the
    /// virtual host, which an operator can mend, otherwise [`SendError::NotSent`].
    pub async fn connect(&self, deadline: Instant) -> Result<(), SendError> {
        self.publisher(deadline).await.map(drop)
    }

    /// Publishes one message, `mandatory`, and waits until the broker has confirmed it, but never past `deadline`. Many may wait
    /// at once; their messages travel together.
    ///
    /// # Errors
    /// What the caller may conclude, as a [`SendError`].
    pub async fn publish(&self, publication: &Publication<'_>, deadline: Instant) -> Result<(), SendError> {
        let message = Checked::new(publication)?;
        if Instant::now() >= deadline {
            return Err(SendError::NotSent { reason: "the deadline had passed".to_owned() });
        }
        let mut attempts = 0;
        // What is known of the attempts that broke.
        let mut broken: Option<Broken> = None;
        loop {
            attempts += 1;
            let publisher = match self.publisher(deadline).await {
                Ok(publisher) => publisher,
                Err(error) => return Err(after(broken, error)),
            };
            let landing = match timeout_at(deadline, publisher.publish(|landed| message.job(landed))).await {
                Ok(landing) => landing,
                Err(_) => return Err(SendError::Unknown { reason: "no confirm before the deadline".to_owned() }),
            };
            let now = match conclude(landing, &message) {
                Ok(()) => return Ok(()),
                Err(Verdict::Final(error)) => return Err(after(broken, error)),
                Err(Verdict::Broken(now)) => now,
            };
            let earlier = broken.take().is_some_and(|earlier| earlier.sent);
            let now = Broken { sent: now.sent || earlier, ..now };
            if attempts == ATTEMPTS_MAX || Instant::now() >= deadline {
                return Err(now.into());
            }
            broken = Some(now);
        }
    }

    /// A channel that is open and can be trusted.
    async fn publisher(&self, deadline: Instant) -> Result<Publisher, SendError> {
        let late = |_| SendError::NotSent { reason: "no connection before the deadline".to_owned() };
        let asked_at = Instant::now();
        let mut link = timeout_at(deadline, self.0.link.lock()).await.map_err(late)?;
        if let Some(publisher) = timeout_at(deadline, link.usable()).await.map_err(late)? {
            return Ok(publisher);
        }
        if let Some((at, failure)) = &link.failure
            && *at >= asked_at
        {
            return Err(failure.clone());
        }
        let made = timeout_at(deadline, self.make()).await.map_err(late)?;
        match made {
            Ok(publisher) => {
                link.failure = None;
                Ok(link.publisher.insert(publisher).clone())
            }
            Err(failure) => {
                link.failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    /// Makes a connection; with a login that the broker refused, once more if the secret holds another by now.
    async fn make(&self) -> Result<Publisher, SendError> {
        let tls = self.tls().map_err(|error| SendError::NotSent { reason: format!("TLS: {error}") })?;
        let mut credentials = self.credentials(None).await?;
        loop {
            match open(&self.0.config, credentials.clone(), tls.clone()).await {
                Ok(publisher) => return Ok(publisher),
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

    /// Who we are: as remembered, or read anew when that is what was refused.
    async fn credentials(&self, refused: Option<&Credentials>) -> Result<Credentials, SendError> {
        let remembered = self.0.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(remembered) = remembered.filter(|remembered| Some(remembered) != refused) {
            return Ok(remembered);
        }
        let read = secret::read(&self.0.config.login).await;
        let read = read.map_err(|reason| SendError::NotSent { reason: format!("RABBITMQ_SECRET_ARN: {reason}") })?;
        *self.0.credentials.lock().unwrap_or_else(PoisonError::into_inner) = Some(read.clone());
        Ok(read)
    }

    fn tls(&self) -> io::Result<Option<RustlsConnector>> {
        if !self.0.config.address.tls {
            return Ok(None);
        }
        let mut kept = self.0.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = Some(wire::tls()?);
        }
        Ok(kept.clone())
    }
}

impl Link {
    /// The channel there is, if it can be used; a new one on the same connection, if only the channel was closed.
    async fn usable(&mut self) -> Option<Publisher> {
        let publisher = self.publisher.as_ref()?;
        let wire = Arc::clone(publisher.wire());
        if !wire.is_up() {
            self.publisher = None;
            return None;
        }
        if !publisher.is_open() {
            let opened = tokio::time::timeout(SIGN_TIMEOUT, Publisher::open(Arc::clone(&wire))).await;
            self.publisher = opened.ok().and_then(Result::ok);
        } else if wire.is_suspect() && !publisher.is_alive(SIGN_TIMEOUT).await {
            self.publisher = None;
        }
        if self.publisher.is_none() {
            wire.kill();
        }
        self.publisher.clone()
    }
}

async fn open(config: &Config, credentials: Credentials, tls: Option<RustlsConnector>) -> lapin::Result<Publisher> {
    let wire = Arc::new(Wire::connect(&config.address, credentials, tls).await?);
    match tokio::time::timeout(SIGN_TIMEOUT, Publisher::open(Arc::clone(&wire))).await {
        Ok(opened) => opened,
        Err(_) => {
            wire.kill();
            Err(io::Error::new(io::ErrorKind::TimedOut, "no channel").into())
        }
    }
}

/// A publication whose every part can be sent.
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
            return Err(unfit(format!("the body has {bytes} bytes, more than {BODY_BYTES_MAX}")));
        }
        Ok(Self {
            publication,
            exchange: short("exchange's name", publication.exchange)?,
            routing_key: short("routing key", publication.routing_key)?,
        })
    }

    fn job(&self, landed: tokio::sync::oneshot::Sender<Landing>) -> Job {
        Job {
            exchange: self.exchange.clone(),
            routing_key: self.routing_key.clone(),
            properties: self.publication.properties.clone(),
            body: self.publication.body.to_vec(),
            landed,
        }
    }
}

/// What follows from one attempt that stored nothing for sure.
enum Verdict {
    Final(SendError),
    /// Another attempt may do better.
    Broken(Broken),
}

struct Broken {
    reason: String,
    /// The broker may have the message.
    sent: bool,
}

impl From<Broken> for SendError {
    fn from(broken: Broken) -> Self {
        let Broken { reason, sent } = broken;
        if sent { Self::Unknown { reason } } else { Self::NotSent { reason } }
    }
}

/// A later error, in the light of what an earlier attempt may have done.
fn after(broken: Option<Broken>, error: SendError) -> SendError {
    match broken {
        Some(Broken { reason, sent: true }) => SendError::Unknown { reason: format!("{reason}; then {error}") },
        _ => error,
    }
}

fn conclude(landing: Landing, message: &Checked<'_>) -> Result<(), Verdict> {
    let error = match landing {
        Landing::Stored => return Ok(()),
        Landing::Returned(reason) => {
            let (exchange, key) = (message.exchange.as_str(), message.routing_key.as_str());
            SendError::Unroutable { reason: format!("exchange {exchange:?}, routing key {key:?}: {reason}") }
        }
        Landing::Nacked => {
            SendError::NotSent { reason: "the broker did not take it (nack): the queue is full".to_owned() }
        }
        Landing::Blocked { reason, sent } => {
            return Err(Verdict::Final(
                Broken { reason: format!("the broker takes no messages: {reason}"), sent }.into(),
            ));
        }
        Landing::Lost { error, sent } => {
            let refusal = error.as_ref().and_then(|error| refusal(error, message));
            let reason = error.map_or_else(|| "the broker fell silent".to_owned(), |error| chain(&error));
            return Err(match refusal {
                Some(message_at_fault) => Verdict::Final(SendError::Refused { reason, message_at_fault }),
                None => Verdict::Broken(Broken { reason, sent }),
            });
        }
    };
    Err(Verdict::Final(error))
}

/// Whether the broker closed the channel because of this very message, and whose fault it is: `Some(true)` the message's,
/// `Some(false)` the operator's. The same error reaches every message that was in flight on the channel; the others are innocent.
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

/// The code and the words of an error that the broker told.
fn reply(error: &lapin::Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some((error.get_id(), error.get_message().as_str())),
        _ => None,
    }
}

/// Whether the broker refused a login that comes from a secret, which may hold another by now.
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
