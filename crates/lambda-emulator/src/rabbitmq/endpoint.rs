//! A broker's [`Address`] with credentials, and connections to it.
//!
//! [`BrokerEndpoint::url`] includes the credentials, for functions; `Display` leaves them out, for logs.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sluicegate_topology::{Address, AddressError, Management};
use tokio::time::{Duration, timeout};

/// AMQP heartbeat interval in seconds: a hung broker is detected within two intervals.
const HEARTBEAT_S: u16 = 10;
/// Limit for connecting.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// All characters except those that never need encoding in a URL.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

type Connecting = Pin<Box<dyn Future<Output = lapin::Result<Connection>> + Send>>;
type Connect = dyn Fn(AMQPUri, ConnectionProperties) -> Connecting + Send + Sync;

/// A failed attempt to connect.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The broker refused the connection, or was not reached.
    #[error(transparent)]
    Lapin(#[from] lapin::Error),
    /// The broker did not answer in time.
    #[error("no connection within {} s", CONNECT_TIME_MAX.as_secs())]
    Timeout,
}

/// A virtual host of a broker, with the credentials to reach it.
#[derive(Clone)]
pub struct BrokerEndpoint {
    address: Address,
    uri: AMQPUri,
    management: Option<Management>,
    connect: Option<Arc<Connect>>,
}

impl BrokerEndpoint {
    /// Parses a URL as [`Address::parse`] does.
    ///
    /// # Errors
    /// The text is not such a URL, or has no credentials for another machine. The error leaves out the text, which
    /// may hold a password.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let address = Address::parse(url)?;
        Ok(Self { uri: address.uri()?, management: address.management()?, address, connect: None })
    }

    /// Connects through `connect` instead of a socket, as to a broker in the same process.
    #[must_use]
    pub fn with_connect(
        mut self,
        connect: impl Fn(AMQPUri, ConnectionProperties) -> Connecting + Send + Sync + 'static,
    ) -> Self {
        self.connect = Some(Arc::new(connect));
        self
    }

    /// Returns the percent-encoded URL with its credentials.
    #[must_use]
    pub fn url(&self) -> String {
        self.uri.to_string()
    }

    /// Returns the address.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Returns the virtual host's name.
    #[must_use]
    pub fn vhost(&self) -> &str {
        self.address.vhost()
    }

    /// Returns its management API at the conventional port; `None` if the AMQP port leaves no room for it.
    #[must_use]
    pub fn management(&self) -> Option<&Management> {
        self.management.as_ref()
    }

    /// Connects; the broker shows the connection under `name`.
    ///
    /// # Errors
    /// The broker refused the connection, or did not answer in time.
    pub async fn connect(&self, name: &str) -> Result<Connection, ConnectError> {
        let mut uri = self.uri.clone();
        uri.query.heartbeat = Some(HEARTBEAT_S);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connecting = match &self.connect {
            Some(connect) => connect(uri, properties),
            None => Box::pin(Connection::connect_uri(uri, properties)),
        };
        match timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(connection) => connection.map_err(ConnectError::Lapin),
            Err(_) => Err(ConnectError::Timeout),
        }
    }
}

/// Writes the URL without credentials.
impl fmt::Display for BrokerEndpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AMQPUri { scheme, authority, vhost, .. } = &self.uri;
        let vhost = utf8_percent_encode(vhost, ENCODED);
        write!(out, "{scheme}://{}:{}/{vhost}", authority.host, authority.port)
    }
}

impl fmt::Debug for BrokerEndpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_its_password() {
        let check = |url: &str, whole: &str, shown: &str, vhost: &str, management: Option<&str>| {
            let endpoint = BrokerEndpoint::parse(url).unwrap();
            assert_eq!((endpoint.url().as_str(), endpoint.to_string().as_str()), (whole, shown));
            assert_eq!(endpoint.vhost(), vhost);
            assert_eq!(endpoint.management().map(Management::url), management);
        };
        check(
            "amqp://127.0.0.1:5682",
            "amqp://guest:guest@127.0.0.1:5682/%2F",
            "amqp://127.0.0.1:5682/%2F",
            "/",
            Some("http://127.0.0.1:15682"),
        );
        check(
            "amqp://me:a%40b@host/v%2Fw?heartbeat=5",
            "amqp://me:a%40b@host:5672/v%2Fw?heartbeat=5",
            "amqp://host:5672/v%2Fw",
            "v/w",
            Some("http://host:15672"),
        );
        check(
            "amqps://u:p@host/v-w",
            "amqps://u:p@host:5671/v%2Dw",
            "amqps://host:5671/v-w",
            "v-w",
            Some("https://host:15671"),
        );
        check(
            "amqp://127.0.0.1:60000/v",
            "amqp://guest:guest@127.0.0.1:60000/v",
            "amqp://127.0.0.1:60000/v",
            "v",
            None,
        );
        assert!(BrokerEndpoint::parse("amqp://host").is_err(), "the default user is for loopback hosts only");
    }
}
