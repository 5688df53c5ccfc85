//! [`Dialer`]: opens streams to a peer in the same process, in place of TCP.

use std::fmt;
use std::sync::Arc;

use tokio::io::DuplexStream;

/// Opens the stream of a connection. Clones share the peer.
#[derive(Clone)]
pub struct Dialer(Arc<dyn Fn() -> std::io::Result<DuplexStream> + Send + Sync>);

impl Dialer {
    /// Returns a dialer whose connections have the streams that `open` returns, or fail with its errors.
    pub fn new(open: impl Fn() -> std::io::Result<DuplexStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(open))
    }

    pub(super) fn dial(&self) -> std::io::Result<DuplexStream> {
        (self.0)()
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}
