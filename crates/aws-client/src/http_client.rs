//! [`Connections`]: keep-alive HTTP/1.1 connections to one endpoint, in plain text or through rustls on ring.
//!
//! A connection is either free or in use by one request, so as many are open as requests were in progress at a time.
//! One that was free for [`POOL_IDLE_TIMEOUT`] or that the peer has closed is not used again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::client::WantsClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CipherSuite, ConfigBuilder, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

#[cfg(feature = "in-process")]
mod in_process;
mod trust_roots;

pub use rustls::{ClientConfig, Error as TlsError};

#[cfg(feature = "in-process")]
pub use self::in_process::Dialer;
pub use self::trust_roots::trust_roots;

/// Longest wait for a connection, TLS included. Within a Region it takes milliseconds; longer means lost packets.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest idle time after which a connection is reused: peers and NAT tables may drop older ones silently.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

type Sender = SendRequest<Full<Bytes>>;

/// The connections to one endpoint.
pub struct Connections {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Free connections and since when, the latest last.
    free: Mutex<Vec<(Sender, Instant)>>,
    /// Opens the streams, in place of TCP.
    #[cfg(feature = "in-process")]
    dialer: Option<Dialer>,
}

/// A connection that could not be opened, or broke during a request.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// There is no connection.
    #[error("cannot connect to {endpoint}: {source}")]
    Connect {
        /// Host and port.
        endpoint: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The connection broke, or the peer does not speak HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The URL has no host.
    #[error("{0} is not the URL of an endpoint")]
    Url(String),
    /// TLS cannot be configured.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl Connections {
    /// Creates the pool of an `http://` or `https://` URL without connecting. Calls `tls` for the latter only.
    ///
    /// # Errors
    /// The URL has no host, or `tls` failed.
    pub fn new(
        url: &Uri,
        tls: impl FnOnce() -> Result<Arc<ClientConfig>, rustls::Error>,
    ) -> Result<Self, ConnectionError> {
        let invalid = || ConnectionError::Url(url.to_string());
        let is_https = url.scheme_str() == Some("https");
        let host = url.host().ok_or_else(invalid)?.trim_matches(['[', ']']).to_owned();
        let tls = if is_https {
            let name = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
            Some((TlsConnector::from(tls()?), name))
        } else {
            None
        };
        let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Self {
            host,
            port,
            tls,
            free: Mutex::default(),
            #[cfg(feature = "in-process")]
            dialer: None,
        })
    }

    /// Sets what opens the streams of connections, in place of TCP and TLS.
    #[cfg(feature = "in-process")]
    #[must_use]
    pub fn with_dialer(mut self, dialer: Option<Dialer>) -> Self {
        self.dialer = dialer;
        self
    }

    /// Opens a connection for the next request.
    ///
    /// # Errors
    /// There is no connection.
    pub async fn open(&self) -> Result<(), ConnectionError> {
        let mut sender = self.connect().await?;
        // `take` closes a connection that is not ready.
        sender.ready().await?;
        self.free(sender);
        Ok(())
    }

    /// Sends a request and returns the answer, whose body is still to be read. `is_sending` is set as long as the
    /// request may be on its way.
    ///
    /// # Errors
    /// There is no connection, or it broke.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        is_sending: &AtomicBool,
    ) -> Result<(Response<Incoming>, Lease<'_>), ConnectionError> {
        loop {
            let (mut sender, is_new) = match self.take() {
                Some(sender) => (sender, false),
                // Boxed, because its future is several KB, which each request would move.
                None => (Box::pin(self.connect()).await?, true),
            };
            is_sending.store(true, Ordering::Relaxed);
            let mut failed = match sender.try_send_request(request).await {
                Ok(answer) => return Ok((answer, Lease { pool: self, sender })),
                Err(failed) => failed,
            };
            // The request comes back if not a byte of it was written, because the peer had closed the connection.
            let Some(unsent) = failed.take_message() else { return Err(failed.into_error().into()) };
            is_sending.store(false, Ordering::Relaxed);
            if is_new {
                return Err(failed.into_error().into());
            }
            request = unsent;
        }
    }

    fn free(&self, sender: Sender) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.push((sender, Instant::now()));
    }

    fn take(&self) -> Option<Sender> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((sender, since)) = free.pop() {
            if sender.is_ready() && since.elapsed() < POOL_IDLE_TIMEOUT {
                return Some(sender);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Sender, ConnectionError> {
        let failed = |source| ConnectionError::Connect { endpoint: format!("{}:{}", self.host, self.port), source };
        #[cfg(feature = "in-process")]
        if let Some(dialer) = &self.dialer {
            return Ok(start(dialer.dial().map_err(failed)?).await?);
        }
        let opened = timeout(CONNECT_TIMEOUT, async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            match &self.tls {
                None => Ok(start(stream).await),
                Some((connector, name)) => Ok(start(connector.connect(name.clone(), stream).await?).await),
            }
        });
        let opened = opened.await.unwrap_or_else(|_| {
            let text = format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis());
            Err(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
        });
        Ok(opened.map_err(failed)??)
    }
}

/// Starts HTTP on a stream. The task ends with the connection.
async fn start<S>(stream: S) -> Result<Sender, hyper::Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // An error of the connection is also that of its request.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// The use of a connection by one request. Dropping it closes the connection.
pub struct Lease<'p> {
    pool: &'p Connections,
    sender: Sender,
}

impl Lease<'_> {
    /// Frees the connection, after the answer was read to its end.
    pub fn release(self) {
        self.pool.free(self.sender);
    }
}

/// Returns a TLS configuration that trusts the system's root certificates, which takes most of the time of a start.
///
/// # Errors
/// rustls lacks a cipher suite, which its provider rules out.
pub fn tls_config() -> Result<Arc<ClientConfig>, rustls::Error> {
    Ok(Arc::new(trusting_the_system()?.with_no_client_auth()))
}

/// Returns a TLS configuration as [`tls_config`] that also has a certificate for peers that ask for one: the client's
/// own first, then those of its issuers.
///
/// # Errors
/// The key is of an unknown kind, or is not that of the certificate.
pub fn tls_config_with_certificate(
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    Ok(Arc::new(trusting_the_system()?.with_client_auth_cert(certificates, key)?))
}

fn trusting_the_system() -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trust_roots());
    let mut provider = rustls::crypto::ring::default_provider();
    // SHA-256 before SHA-384, because processors have instructions for it. Most servers choose by themselves.
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots))
}
