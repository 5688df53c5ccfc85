//! [`Dialer`]: connections to a broker in the same process, for tests.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use lapin::ConnectionProperties;
use lapin::uri::AMQPUri;

use super::connection::SocketHandle;

type Dialling = Pin<Box<dyn Future<Output = lapin::Result<lapin::Connection>> + Send>>;
type Dial = dyn Fn(AMQPUri, ConnectionProperties) -> (Dialling, Box<dyn FnOnce() + Send>) + Send + Sync;

/// Opens connections without a socket.
#[derive(Clone)]
pub struct Dialer(Arc<Dial>);

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

impl Dialer {
    /// Creates a dialer of a function that returns the attempt to connect, and what shuts its stream down.
    pub fn new(
        dial: impl Fn(AMQPUri, ConnectionProperties) -> (Dialling, Box<dyn FnOnce() + Send>) + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(dial))
    }

    pub(super) fn dial(&self, uri: AMQPUri, properties: ConnectionProperties, socket: &SocketHandle) -> Dialling {
        let (dialling, shut_down) = (self.0)(uri, properties);
        socket.hold(shut_down);
        dialling
    }
}
