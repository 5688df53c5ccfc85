//! [`Broker`]: one connection to a broker, opened when it is needed and opened again when it is dead.
//!
//! A connection carries one request at a time, as a broker handles them. It is not used again after it was idle for
//! [`IDLE_MAX`], when something between may have dropped it, or after the broker's limit of a session; it logs in again
//! before that (<https://cwiki.apache.org/confluence/display/KAFKA/KIP-368>). A connection that died during a freeze of
//! the process fails its next request; the request is sent once more on a new connection, which every request of a
//! producer permits: a batch has its sequence number.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use sluicegate_aws_client::AwsEnvironment;
use sluicegate_aws_client::http_client::{ClientConfig, TlsError, tls_config};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;

use super::client_certificate::{CachedCertificate, ClientCertificate};
use super::config::{Address, ClusterConfig};
use super::error_code::ErrorCode;
use super::msk_iam;
use super::requests::{self, Api, SIZE_BYTES};
use super::sasl::{self, Mechanism, Scram, ScramError};
use super::wire::Malformed;
use crate::broker_url::Credentials;
use crate::chain;
use crate::login::CachedCredentials;
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
    certificate: CachedCertificate,
}

/// What was read from secrets to log in with. The role of the function is not part of it.
#[derive(Debug, PartialEq)]
struct Identity {
    credentials: Option<(Mechanism, Credentials)>,
    certificate: Option<ClientCertificate>,
}

impl Connector {
    pub(super) fn new(config: ClusterConfig) -> Self {
        Self { config, credentials: CachedCredentials::default(), certificate: CachedCertificate::default() }
    }

    pub(super) fn config(&self) -> &ClusterConfig {
        &self.config
    }

    /// Opens a connection and logs in. If the broker refuses what is from a secret, tries again when the secret has
    /// changed.
    async fn connect(&self, address: &Address) -> Result<Connection, CallError> {
        let failed = |reason: String| CallError::NotSent(format!("no connection to {address}: {reason}"));
        let mut identity = self.identity(None).await?;
        loop {
            let connecting = timeout(CONNECT_TIMEOUT, async {
                let mut connection = self.open(address, &identity).await?;
                connection.log_in(&self.config, &identity).await?;
                Ok(connection)
            });
            let reason = match connecting.await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(LoginError::Refused(reason))) => reason,
                Ok(Err(LoginError::Broken(error))) if is_refusal(&error, identity.certificate.is_some()) => format!(
                    "{}: the broker may require another certificate than that of KAFKA_CLIENT_CERTIFICATE_SECRET_ARN",
                    chain(&error)
                ),
                Ok(Err(LoginError::Broken(error))) => return Err(failed(chain(&error))),
                Err(_) => return Err(failed("no answer in time".to_owned())),
            };
            let now = self.identity(Some(&identity)).await?;
            if now == identity {
                return Err(CallError::Refused(format!("login at {address}: {reason}")));
            }
            identity = now;
        }
    }

    /// Logs in again if the session ends soon. Returns whether the connection can be used.
    async fn renew(&self, connection: &mut Connection) -> bool {
        if !connection.ends_soon() {
            return true;
        }
        // Boxed, because it is rare and its future is large.
        let renewing = Box::pin(async {
            let identity = self.identity(None).await.ok()?;
            connection.log_in(&self.config, &identity).await.ok()
        });
        timeout(CONNECT_TIMEOUT, renewing).await.is_ok_and(|renewed| renewed.is_some())
    }

    /// Returns what to log in with. Reads the secrets again whose contents were `refused`.
    async fn identity(&self, refused: Option<&Identity>) -> Result<Identity, CallError> {
        let mut identity = Identity { credentials: None, certificate: None };
        if let Some((mechanism, login)) = &self.config.login {
            let refused = refused.and_then(|refused| refused.credentials.as_ref()).map(|(_, credentials)| credentials);
            let read = self.credentials.get(login, refused).await;
            let read = read.map_err(|reason| CallError::NotSent(format!("KAFKA_SECRET_ARN: {reason}")))?;
            identity.credentials = Some((*mechanism, read));
        }
        if let Some(secret) = &self.config.certificate {
            let refused = refused.and_then(|refused| refused.certificate.as_ref());
            let read = self.certificate.get(&secret.arn, &secret.environment, refused).await;
            let failed = |reason| CallError::NotSent(format!("KAFKA_CLIENT_CERTIFICATE_SECRET_ARN: {reason}"));
            identity.certificate = Some(read.map_err(failed)?);
        }
        Ok(identity)
    }

    async fn open(&self, address: &Address, identity: &Identity) -> io::Result<Connection> {
        let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if self.config.tls {
            let name = ServerName::try_from(address.host.clone()).map_err(io::Error::other)?;
            let tls = self.tls(identity).map_err(io::Error::other)?;
            Box::new(TlsConnector::from(tls).connect(name, stream).await?)
        } else {
            Box::new(stream)
        };
        Ok(Connection { stream, correlation_id: 0, answered: Moment::now(), session: None })
    }

    fn tls(&self, identity: &Identity) -> Result<Arc<ClientConfig>, TlsError> {
        match (&identity.certificate, &self.config.shared) {
            (Some(certificate), _) => Ok(Arc::clone(&certificate.tls)),
            (None, Some(shared)) => shared.tls(),
            (None, None) => tls_config(),
        }
    }
}

/// Returns whether the broker may have refused the certificate, or its absence: it ends TLS with an alert, or it closes
/// the connection to a client with a certificate without a word.
fn is_refusal(error: &io::Error, has_certificate: bool) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    let is_closed = matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset);
    matches!(inner, Some(rustls::Error::AlertReceived(_))) || has_certificate && is_closed
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
                Err(_) => Failure { error: io::Error::other("no response in time"), sent: true },
            };
            let reason = format!("{}: {}", self.address, chain(&failure.error));
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
            && self.connector.renew(&mut connection).await
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
    /// The start of the session and its lifetime.
    session: Option<(Moment, Duration)>,
}

/// A request without a response.
struct Failure {
    error: io::Error,
    /// Whether the broker may have the whole request.
    sent: bool,
}

impl Connection {
    fn is_usable(&self) -> bool {
        self.answered.age() < IDLE_MAX && self.session.is_none_or(|(since, lifetime)| since.age() < lifetime)
    }

    /// Returns whether a fifth of the session is left, so that a request at its end is not cut off.
    fn ends_soon(&self) -> bool {
        self.session.is_some_and(|(since, lifetime)| since.age() >= lifetime * 4 / 5)
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
        written.map_err(|error| Failure { error, sent: false })?;
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
        let response = response.await.map_err(|error: io::Error| Failure { error, sent: true })?;
        self.answered = Moment::now();
        Ok(response)
    }

    /// Logs in by the mechanism of the configuration, if it has one.
    async fn log_in(&mut self, config: &ClusterConfig, identity: &Identity) -> Result<(), LoginError> {
        let since = Moment::now();
        let lifetime_ms = match (&identity.credentials, &config.role) {
            (Some((mechanism, credentials)), _) => self.log_in_by_password(*mechanism, credentials).await?,
            (None, Some(role)) => self.log_in_by_role(role).await?,
            (None, None) => {
                if identity.certificate.is_some() {
                    // A broker refuses a certificate in TLS 1.3 after the handshake: in answer to the first request.
                    self.exchange(Api::Versions, &[]).await?;
                }
                return Ok(());
            }
        };
        let lifetime_ms = u64::try_from(lifetime_ms).ok().filter(|lifetime_ms| *lifetime_ms > 0);
        self.session = lifetime_ms.map(|lifetime_ms| (since, Duration::from_millis(lifetime_ms)));
        Ok(())
    }

    async fn log_in_by_password(&mut self, mechanism: Mechanism, credentials: &Credentials) -> Result<i64, LoginError> {
        self.choose(mechanism.name()).await?;
        match mechanism {
            Mechanism::Plain => Ok(self.authenticate(&sasl::plain(credentials)).await?.1),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                let scram = Scram::new(credentials, mechanism == Mechanism::ScramSha512)?;
                let (server_first, _) = self.authenticate(scram.first_message().as_bytes()).await?;
                let proof = scram.prove(&server_first)?;
                let (server_final, lifetime_ms) = self.authenticate(proof.message.as_bytes()).await?;
                proof.check(&server_final)?;
                Ok(lifetime_ms)
            }
        }
    }

    async fn log_in_by_role(&mut self, role: &AwsEnvironment) -> Result<i64, LoginError> {
        self.choose(msk_iam::MECHANISM).await?;
        let (error, lifetime_ms) = self.authenticate(&msk_iam::message(role, SystemTime::now())).await?;
        if error.is_empty() {
            return Ok(lifetime_ms);
        }
        // The broker gives its reason in answer to this.
        self.authenticate(msk_iam::END).await?;
        Err(LoginError::Refused("the broker does not accept the token".to_owned()))
    }

    /// Chooses a mechanism.
    async fn choose(&mut self, mechanism: &str) -> Result<(), LoginError> {
        let response = self.exchange(Api::SaslHandshake, &requests::sasl_handshake(mechanism)).await?;
        let (error, offered) = requests::sasl_mechanisms(&response)?;
        if error == ErrorCode::NONE {
            return Ok(());
        }
        let offered = offered.join(", ");
        Err(LoginError::Refused(format!("{error}: the broker offers {offered}, and not {mechanism}")))
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
        Self::Broken(failure.error)
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

#[cfg(test)]
mod tests {
    use tokio_rustls::rustls::AlertDescription;

    use super::*;

    #[test]
    fn an_alert_is_a_refusal_and_a_closed_connection_only_of_a_certificate() {
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        for (error, with_certificate, without) in [
            (io::Error::new(io::ErrorKind::InvalidData, alert), true, true),
            (io::ErrorKind::UnexpectedEof.into(), true, false),
            (io::ErrorKind::ConnectionReset.into(), true, false),
            (io::ErrorKind::ConnectionRefused.into(), false, false),
            (io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError), false, false),
        ] {
            assert_eq!((is_refusal(&error, true), is_refusal(&error, false)), (with_certificate, without), "{error}");
        }
    }
}
