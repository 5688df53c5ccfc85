//! [`Broker`]: one connection to a broker, opened when it is needed and opened again when it is dead.
//!
//! A connection carries one request at a time, as a broker handles them. It is not used again after it was idle for
//! [`IDLE_MAX`], when something between may have dropped it, or after the broker's limit of a session. A connection
//! that died during a freeze of the process fails its next request; the request is sent once more on a new connection,
//! which every request of a producer permits: a batch has its sequence number.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sluicegate_aws_client::http_client::{ClientConfig, tls_config};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::config::{Address, ClusterConfig};
use super::error_code::ErrorCode;
use super::requests::{self, Api, SIZE_BYTES};
use super::sasl::{self, Mechanism, Scram, ScramError};
use super::wire::Malformed;
use crate::broker_url::Credentials;
use crate::chain;
use crate::login::{CachedCredentials, Login};
use crate::moment::Moment;

/// Longest wait for one connection: name resolution, TCP, TLS and login. Within a Region they take milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Longest wait for a response, and so the cost of an attempt on a dead connection.
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The time that a leader waits for its followers before it answers REQUEST_TIMED_OUT, which comes before
/// [`RESPONSE_TIMEOUT`].
pub(super) const REPLICATION_TIMEOUT_MS: i32 = 2_000;

/// Throughput assumed for a slow network. The wait for a response grows by the time that the request takes at this
/// rate.
const SLOW_BYTES_PER_S: usize = 2 * 1024 * 1024;

/// Longest idle time after which a connection is used again. A Network Load Balancer or a NAT gateway drops it after
/// 350 s (<https://docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html>), a broker after
/// 600 s (`connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(300);

/// The largest response that is read, in bytes. The partitions of one topic and the brokers of a cluster take less.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The bytes of the correlation id, with which a response starts.
const CORRELATION_ID_BYTES: usize = 4;

/// Why a request has no response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallError {
    /// The caller withdrew the request before it was written.
    Withdrawn,
    /// The broker does not have the request.
    NotSent(String),
    /// The broker may have handled the request.
    Lost(String),
    /// The broker refused the login, which an operator can fix.
    Refused(String),
}

/// What the connections of a cluster share.
pub(super) struct Connector {
    config: ClusterConfig,
    credentials: CachedCredentials,
}

impl Connector {
    pub(super) fn new(config: ClusterConfig) -> Self {
        Self { config, credentials: CachedCredentials::default() }
    }

    pub(super) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Opens a connection and logs in. If the broker refuses credentials from a secret, tries again when the secret has
    /// changed.
    async fn connect(&self, address: &Address) -> Result<Connection, CallError> {
        let failed = |reason: String| CallError::NotSent(format!("no connection to {address}: {reason}"));
        let Some((mechanism, login)) = &self.config.login else {
            return match timeout(CONNECT_TIMEOUT, self.open(address)).await {
                Ok(opened) => opened.map_err(|error| failed(error.to_string())),
                Err(_) => Err(failed("no answer in time".to_owned())),
            };
        };
        let mut credentials = self.credentials(login, None).await?;
        loop {
            let connecting = timeout(CONNECT_TIMEOUT, async {
                let mut connection = self.open(address).await?;
                connection.log_in(*mechanism, &credentials).await?;
                Ok(connection)
            });
            let refusal = match connecting.await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(LoginError::Refused(reason))) => CallError::Refused(format!("login at {address}: {reason}")),
                Ok(Err(LoginError::Broken(error))) => return Err(failed(error.to_string())),
                Err(_) => return Err(failed("no answer in time".to_owned())),
            };
            let now = self.credentials(login, Some(&credentials)).await?;
            if now == credentials {
                return Err(refusal);
            }
            credentials = now;
        }
    }

    async fn credentials(&self, login: &Login, refused: Option<&Credentials>) -> Result<Credentials, CallError> {
        let read = self.credentials.get(login, refused).await;
        read.map_err(|reason| CallError::NotSent(format!("KAFKA_SECRET_ARN: {reason}")))
    }

    async fn open(&self, address: &Address) -> io::Result<Connection> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if self.config.tls {
            let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
            Box::new(TlsConnector::from(self.tls().map_err(io::Error::other)?).connect(name, stream).await?)
        } else {
            Box::new(stream)
        };
        Ok(Connection { stream, correlation_id: 0, answered: Moment::now(), expires: None })
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, sluicegate_aws_client::http_client::TlsError> {
        self.config.shared.as_ref().map_or_else(tls_config, |shared| shared.tls())
    }
}

/// A broker of a cluster.
pub(super) struct Broker {
    address: Address,
    connector: Arc<Connector>,
    /// Locked during a request, so that concurrent requests share one connection.
    slot: Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Connection>,
    /// The last failure to connect, and when.
    failure: Option<(Instant, CallError)>,
}

impl Broker {
    pub(super) fn new(address: Address, connector: Arc<Connector>) -> Self {
        Self { address, connector, slot: Mutex::default() }
    }

    /// Returns whether a connection is open and not in use.
    pub(super) fn is_connected(&self) -> bool {
        self.slot.try_lock().is_ok_and(|slot| slot.connection.as_ref().is_some_and(Connection::is_usable))
    }

    /// Opens a connection unless one is open.
    pub(super) async fn connect(&self) -> Result<(), CallError> {
        let asked_at = Instant::now();
        let mut slot = self.slot.lock().await;
        let (connection, _) = self.take(&mut slot, asked_at).await?;
        slot.connection = Some(connection);
        Ok(())
    }

    /// Sends a request and returns its response. Calls `is_wanted` before each time that the request is written, and
    /// withdraws the request if it returns false.
    pub(super) async fn call(&self, api: Api, body: &[u8], is_wanted: impl Fn() -> bool) -> Result<Vec<u8>, CallError> {
        let asked_at = Instant::now();
        let mut slot = self.slot.lock().await;
        let mut lost = None;
        loop {
            // Taken, so that a call that is dropped half-way closes the connection.
            let (mut connection, is_reused) = match self.take(&mut slot, asked_at).await {
                Ok(taken) => taken,
                Err(error) => return Err(lost.map_or(error, CallError::Lost)),
            };
            if !is_wanted() {
                slot.connection = Some(connection);
                return Err(lost.map_or(CallError::Withdrawn, CallError::Lost));
            }
            let limit = RESPONSE_TIMEOUT + slow(body.len());
            let failure = match timeout(limit, connection.exchange(api, body)).await {
                Ok(Ok(response)) => {
                    slot.connection = Some(connection);
                    return Ok(response);
                }
                Ok(Err(error)) => error,
                Err(_) => Failure { reason: "no response in time".to_owned(), sent: true },
            };
            let reason = format!("{}: {}", self.address, failure.reason);
            match (failure.sent || lost.is_some(), is_reused) {
                (true, true) => lost = Some(reason),
                (false, true) => {}
                (true, false) => return Err(CallError::Lost(reason)),
                (false, false) => return Err(CallError::NotSent(reason)),
            }
        }
    }

    /// Returns the open connection and true, or a new one and false.
    async fn take(&self, slot: &mut Slot, asked_at: Instant) -> Result<(Connection, bool), CallError> {
        if let Some(mut connection) = slot.connection.take().filter(Connection::is_usable)
            && connection.is_open().await
        {
            return Ok((connection, true));
        }
        // The failure of a connection that was attempted meanwhile.
        if let Some((at, failure)) = &slot.failure
            && *at >= asked_at
        {
            return Err(failure.clone());
        }
        // Boxed, because it is rare and its future is large.
        let connected = Box::pin(self.connector.connect(&self.address)).await;
        slot.failure = connected.as_ref().err().map(|failure| (Instant::now(), failure.clone()));
        Ok((connected?, false))
    }
}

fn slow(bytes: usize) -> Duration {
    Duration::from_secs(u64::try_from(bytes / SLOW_BYTES_PER_S).unwrap_or_default())
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

struct Connection {
    stream: Box<dyn Stream>,
    correlation_id: i32,
    /// The time of the last response.
    answered: Moment,
    /// The lifetime of the session, and its start.
    expires: Option<(Moment, Duration)>,
}

/// A request without a response.
struct Failure {
    reason: String,
    /// Whether the broker may have the whole request.
    sent: bool,
}

impl Connection {
    fn is_usable(&self) -> bool {
        self.answered.age() < IDLE_MAX && self.expires.is_none_or(|(since, lifetime)| since.age() < lifetime)
    }

    /// Returns whether the broker has not closed the connection. A request on a closed one can be written, and then it
    /// is unclear whether the broker has it.
    async fn is_open(&mut self) -> bool {
        // The runtime looks at its sockets before it goes on.
        yield_now().await;
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        poll_fn(|context| Poll::Ready(Pin::new(&mut self.stream).poll_read(context, &mut byte).is_pending())).await
    }

    /// Sends one request and reads its response.
    async fn exchange(&mut self, api: Api, body: &[u8]) -> Result<Vec<u8>, Failure> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = requests::frame(api, self.correlation_id, body);
        // A broker does not handle a part of a request.
        let written = self.stream.write_all(&frame).await;
        written.map_err(|error| Failure { reason: chain(&error), sent: false })?;
        let response = async {
            self.stream.flush().await?;
            let mut size = [0; SIZE_BYTES];
            self.stream.read_exact(&mut size).await?;
            let size = usize::try_from(i32::from_be_bytes(size)).ok().filter(|size| *size <= RESPONSE_BYTES_MAX);
            let mut response = vec![0; size.ok_or_else(|| io::Error::other("the size of the response is not one"))?];
            self.stream.read_exact(&mut response).await?;
            if !response.starts_with(&self.correlation_id.to_be_bytes()) {
                return Err(io::Error::other("the response is not that of the request"));
            }
            Ok(response.split_off(CORRELATION_ID_BYTES))
        };
        let response = response.await.map_err(|error: io::Error| Failure { reason: chain(&error), sent: true })?;
        self.answered = Moment::now();
        Ok(response)
    }

    async fn log_in(&mut self, mechanism: Mechanism, credentials: &Credentials) -> Result<(), LoginError> {
        let response = self.exchange(Api::SaslHandshake, &requests::sasl_handshake(mechanism.name())).await?;
        let (error, offered) = requests::sasl_mechanisms(&response)?;
        if error != ErrorCode::NONE {
            let (name, offered) = (mechanism.name(), offered.join(", "));
            return Err(LoginError::Refused(format!("{error}: the broker offers {offered}, and not {name}")));
        }
        let since = Moment::now();
        let lifetime_ms = match mechanism {
            Mechanism::Plain => self.authenticate(&sasl::plain(credentials)).await?.1,
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                let scram = Scram::new(credentials, mechanism == Mechanism::ScramSha512)?;
                let (server_first, _) = self.authenticate(scram.first_message().as_bytes()).await?;
                let proof = scram.prove(&server_first)?;
                let (server_final, lifetime_ms) = self.authenticate(proof.message.as_bytes()).await?;
                proof.check(&server_final)?;
                lifetime_ms
            }
        };
        // Used for less than its lifetime, so that a request at its end is not cut off.
        let lifetime = u64::try_from(lifetime_ms).ok().filter(|lifetime_ms| *lifetime_ms > 0);
        self.expires = lifetime.map(|lifetime_ms| (since, Duration::from_millis(lifetime_ms) * 4 / 5));
        Ok(())
    }

    /// Sends one message of a mechanism. Returns the broker's and the lifetime of the session.
    async fn authenticate(&mut self, message: &[u8]) -> Result<(Vec<u8>, i64), LoginError> {
        let response = self.exchange(Api::SaslAuthenticate, &requests::sasl_authenticate(message)).await?;
        let answer = requests::authenticated(&response)?;
        if answer.error == ErrorCode::NONE {
            return Ok((answer.message, answer.lifetime_ms));
        }
        Err(LoginError::Refused(format!("{}: {}", answer.error, answer.reason)))
    }
}

/// A connection that was not logged in.
enum LoginError {
    /// The broker refused the login.
    Refused(String),
    /// The connection failed.
    Broken(io::Error),
}

impl From<io::Error> for LoginError {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<Failure> for LoginError {
    fn from(failure: Failure) -> Self {
        Self::Broken(io::Error::other(failure.reason))
    }
}

impl From<Malformed> for LoginError {
    fn from(error: Malformed) -> Self {
        Self::Broken(io::Error::other(error))
    }
}

impl From<ScramError> for LoginError {
    fn from(error: ScramError) -> Self {
        Self::Refused(error.to_string())
    }
}
