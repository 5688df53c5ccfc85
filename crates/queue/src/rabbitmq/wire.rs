//! [`Wire`]: one AMQP connection that can be given up at once, and that knows when it was last heard.
//!
//! A connection whose peer is gone without a word looks open until the heartbeats have been missed, and a process that was
//! frozen does not even miss them. So whoever holds a wire asks [`Wire::is_suspect`] first, and [`Wire::kill`] ends it at the
//! socket, which also ends the library's thread and drops what it had not sent yet.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use std::{io, mem};

use futures_util::StreamExt;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::dispatcher::{self, Dispatch};

use super::config::{Address, Credentials};

/// Longest wait for one connection: name, TCP, TLS and AMQP handshakes. Within a Region they take milliseconds.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// What the broker's operator sees in the list of connections.
const CONNECTION_NAME: &str = "sluicegate";

/// What is known of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    /// The broker takes no messages, for this reason; it says so after the first one that was published.
    Blocked(String),
    /// Given up.
    Dead,
}

/// One connection.
pub(crate) struct Wire {
    connection: Connection,
    plug: Arc<Plug>,
    state: watch::Sender<State>,
    heard: Mutex<(Instant, SystemTime)>,
    heartbeat: Duration,
}

/// TLS with the system's root certificates (or those of `SSL_CERT_FILE`), on ring. Reading them takes milliseconds, so one is
/// kept for all connections, which also lets a new one resume the session of the last.
pub(crate) fn tls() -> io::Result<RustlsConnector> {
    RustlsConnectorConfig::new_with_native_certs()?.connector_with_no_client_auth()
}

impl Wire {
    /// Connects and logs in, within [`CONNECT_TIMEOUT`].
    pub(crate) async fn connect(
        address: &Address,
        credentials: Credentials,
        tls: Option<RustlsConnector>,
    ) -> Result<Self, lapin::Error> {
        let plug = Arc::new(Plug::default());
        let properties = ConnectionProperties::default().with_connection_name(CONNECTION_NAME.into());
        let held = Arc::clone(&plug);
        let connecting = Connection::connector(
            uri(address, credentials),
            lapin::runtime::default_runtime()?,
            async move |uri: AMQPUri, reactor| {
                silence();
                let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
                let dialled = timeout(CONNECT_TIMEOUT, async {
                    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&reactor, addresses).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        held.hold(TcpStream::from(plain.get_ref().as_fd().try_clone_to_owned()?));
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
        // Unplugs what a handshake that is given up leaves behind.
        let mut guard = Unplug(Some(Arc::clone(&plug)));
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "no answer to the login").into()),
        };
        guard.0 = None;
        let wire = Self {
            plug,
            state: watch::Sender::new(State::Open),
            heard: Mutex::new((Instant::now(), SystemTime::now())),
            heartbeat: Duration::from_secs(address.heartbeat_s.into()),
            connection,
        };
        wire.watch();
        Ok(wire)
    }

    /// A channel of its own.
    pub(crate) async fn channel(&self) -> Result<Channel, lapin::Error> {
        self.connection.create_channel().await
    }

    /// What is known of it, and whatever becomes known.
    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Whether it is connected, as far as anyone knows.
    pub(crate) fn is_up(&self) -> bool {
        self.connection.status().connected() && *self.state.borrow() != State::Dead
    }

    /// Whether nothing was heard for longer than a heartbeat: it may have died during a freeze. Both clocks are asked, because
    /// the monotonic one may stand still while a function is frozen, and the other may be set back.
    pub(crate) fn is_suspect(&self) -> bool {
        let (monotonic, wall) = *self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        monotonic.elapsed() > self.heartbeat || wall.elapsed().is_ok_and(|age| age > self.heartbeat)
    }

    /// How long nothing was heard, by the monotonic clock.
    pub(crate) fn quiet(&self) -> Duration {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).0.elapsed()
    }

    /// The broker has answered something.
    pub(crate) fn hear(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), SystemTime::now());
    }

    /// Gives it up: nothing more goes out, and whoever waits on it is told.
    pub(crate) fn kill(&self) {
        self.plug.pull();
        self.state.send_replace(State::Dead);
    }

    /// Keeps `state` up to date until the connection ends.
    fn watch(&self) {
        let (mut events, state) = (self.connection.events_listener(), self.state.clone());
        tokio::spawn(async move {
            while let Some(event) = events.next().await {
                let now = match event {
                    Event::ConnectionBlocked(reason) => State::Blocked(reason),
                    Event::ConnectionUnblocked => State::Open,
                    _ => continue,
                };
                state.send_if_modified(|state| {
                    let alive = *state != State::Dead;
                    if alive {
                        *state = now;
                    }
                    alive
                });
            }
        });
    }
}

/// A second handle on the connection's socket.
#[derive(Default)]
struct Plug(Mutex<Option<TcpStream>>);

impl Plug {
    fn hold(&self, socket: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket);
    }

    /// Ends the connection for both sides; the library sees its end.
    fn pull(&self) {
        if let Some(socket) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It fails only when the connection has ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

struct Unplug(Option<Arc<Plug>>);

impl Drop for Unplug {
    fn drop(&mut self) {
        if let Some(plug) = &self.0 {
            plug.pull();
        }
    }
}

/// Silences the calling thread for good: the library's own, on which it logs whole returned messages, payload included, at
/// level WARN (lapin 4.12.3, `returned_messages.rs`). What it has to say reaches us as errors.
fn silence() {
    mem::forget(dispatcher::set_default(&Dispatch::none()));
}

fn uri(address: &Address, credentials: Credentials) -> AMQPUri {
    let userinfo = AMQPUserInfo { username: credentials.username, password: credentials.password };
    AMQPUri {
        scheme: if address.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
        authority: AMQPAuthority { userinfo, host: address.host.clone(), port: address.port },
        vhost: address.vhost.clone(),
        query: AMQPQueryString { heartbeat: Some(address.heartbeat_s), ..AMQPQueryString::default() },
    }
}
