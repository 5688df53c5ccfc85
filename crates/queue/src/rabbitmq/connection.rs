//! [`Connection`]: an AMQP connection that can be closed at the socket and records when the broker last answered.
//!
//! A connection whose peer disappeared looks open until heartbeats are missed, and a process that was frozen meanwhile
//! has not counted them. Callers check [`Connection::is_suspect`] before use. [`Connection::kill`] closes the socket,
//! which also ends lapin's thread and drops its unsent data.

use std::future::Future;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, mem};

use futures_util::StreamExt;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::dispatcher::{self, Dispatch};

use super::config::BrokerConfig;
use crate::broker_url::{BrokerUrl, Credentials};
use crate::moment::Moment;

/// Longest wait for one connection: name resolution, TCP, TLS and AMQP handshakes. Within a Region they take
/// milliseconds.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The name of a publisher's connection in the broker's list.
pub(crate) const CONNECTION_NAME: &str = "sluicegate";

/// The state of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    Open,
    /// The broker blocks publishers for this reason, which it reports after the first published message.
    Blocked(String),
    /// Closed by [`Connection::kill`].
    Dead,
}

/// One AMQP connection.
pub struct Connection {
    connection: lapin::Connection,
    socket: Arc<SocketHandle>,
    state: watch::Sender<ConnectionState>,
    heard: Mutex<Moment>,
    heartbeat: Duration,
}

/// Returns a TLS connector on ring with the system's root certificates, or those of `SSL_CERT_FILE`. Reading them takes
/// milliseconds, so one connector serves all connections; a new connection can then resume the last TLS session.
pub(crate) fn tls() -> io::Result<RustlsConnector> {
    RustlsConnectorConfig::new_with_native_certs()?.connector_with_no_client_auth()
}

impl Connection {
    /// Connects and logs in, within `limit`.
    pub(crate) async fn connect(
        config: &BrokerConfig,
        credentials: Credentials,
        tls: Option<RustlsConnector>,
        name: &str,
        limit: Duration,
    ) -> Result<Self, lapin::Error> {
        let socket = Arc::new(SocketHandle::default());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let uri = uri(config, credentials);
        #[cfg(feature = "in-process")]
        if let Some(dialer) = &config.dialer {
            let connecting = dialer.dial(uri, properties, &socket);
            return Self::log_in(&config.address, socket, connecting, limit).await;
        }
        let held = Arc::clone(&socket);
        let connecting = lapin::Connection::connector(
            uri,
            lapin::runtime::default_runtime()?,
            async move |uri: AMQPUri, reactor| {
                silence();
                let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
                let dialled = timeout(limit, async {
                    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&reactor, addresses).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        let socket = TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?);
                        // Fails only if the connection has ended already.
                        held.hold(move || drop(socket.shutdown(Shutdown::Both)));
                    }
                    match &tls {
                        Some(tls) => stream.into_rustls(tls, host).await,
                        None => Ok(stream),
                    }
                });
                let dialled = dialled.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
                dialled.map_err(lapin::Error::from)
            },
            properties,
        );
        Self::log_in(&config.address, socket, connecting, limit).await
    }

    /// Waits until the broker has answered the login, within `limit`.
    async fn log_in(
        address: &BrokerUrl,
        socket: Arc<SocketHandle>,
        connecting: impl Future<Output = Result<lapin::Connection, lapin::Error>>,
        limit: Duration,
    ) -> Result<Self, lapin::Error> {
        // Closes the socket of a handshake that timed out.
        let mut guard = ShutdownGuard(Some(Arc::clone(&socket)));
        let connection = match timeout(limit, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to the login").into()),
        };
        guard.0 = None;
        let connection = Self {
            socket,
            state: watch::Sender::new(ConnectionState::Open),
            heard: Mutex::new(Moment::now()),
            heartbeat: Duration::from_secs(address.heartbeat_s.into()),
            connection,
        };
        connection.watch();
        Ok(connection)
    }

    /// Opens a channel.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.connection.create_channel().await
    }

    /// Subscribes to the connection's state.
    pub(crate) fn state(&self) -> watch::Receiver<ConnectionState> {
        self.state.subscribe()
    }

    /// Returns whether the connection looks open.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected() && *self.state.borrow() != ConnectionState::Dead
    }

    /// Returns whether the broker was silent for longer than a heartbeat: the connection may have died during a freeze.
    pub(crate) fn is_suspect(&self) -> bool {
        self.heard().age() > self.heartbeat
    }

    /// Returns how long the broker has been silent, by the monotonic clock.
    pub(crate) fn idle_for(&self) -> Duration {
        self.heard().monotonic().elapsed()
    }

    /// Records that the broker answered.
    pub(crate) fn mark_alive(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Moment::now();
    }

    fn heard(&self) -> Moment {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connection at the socket: nothing more is sent, and pending publishes are reported as lost.
    pub(crate) fn kill(&self) {
        self.socket.shut_down();
        self.state.send_replace(ConnectionState::Dead);
    }

    /// Updates `state` until the connection ends.
    fn watch(&self) {
        let (mut events, state) = (self.connection.events_listener(), self.state.clone());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let now = match event {
                    Event::ConnectionBlocked(reason) => ConnectionState::Blocked(reason),
                    Event::ConnectionUnblocked => ConnectionState::Open,
                    _ => continue,
                };
                state.send_if_modified(|state| {
                    let alive = *state != ConnectionState::Dead;
                    if alive {
                        *state = now;
                    }
                    alive
                });
            }
        });
    }
}

/// A second handle on the connection's socket: what shuts it down in both directions.
#[derive(Default)]
pub(super) struct SocketHandle(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl SocketHandle {
    pub(super) fn hold(&self, shut_down: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(shut_down));
    }

    fn shut_down(&self) {
        if let Some(shut_down) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            shut_down();
        }
    }
}

/// Shuts the socket down when dropped, unless emptied.
struct ShutdownGuard(Option<Arc<SocketHandle>>);

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.shut_down();
        }
    }
}

/// Disables logging on the calling thread, which is lapin's own: it logs whole returned messages, payload included, at
/// level WARN (lapin 4.12.3, `returned_messages.rs`). Its failures arrive as errors.
fn silence() {
    mem::forget(dispatcher::set_default(&Dispatch::none()));
}

fn uri(config: &BrokerConfig, credentials: Credentials) -> AMQPUri {
    let BrokerConfig { address, frame_bytes, .. } = config;
    let userinfo = AMQPUserInfo { username: credentials.username, password: credentials.password };
    AMQPUri {
        scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority { userinfo, host: address.host.clone(), port: address.port },
        vhost: address.vhost.clone(),
        query: AMQPQueryString {
            heartbeat: Some(address.heartbeat_s),
            frame_max: Some(*frame_bytes),
            ..AMQPQueryString::default()
        },
    }
}
