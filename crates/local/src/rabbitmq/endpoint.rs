//! The broker a stack uses: one virtual host, with the credentials to reach it.
//!
//! Functions get it as `RABBITMQ_URL`, credentials and all; people and logs see it without.

use std::fmt;

use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use percent_encoding::utf8_percent_encode;
use tokio::time::{Duration, timeout};

use super::management::{ENCODED, Management};
use super::node::MANAGEMENT_PORT_OFFSET;

/// How often both sides of a connection show that they are there, in seconds: a broker that hangs is noticed within two.
const HEARTBEAT_S: u16 = 10;
/// How long making a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Where Amazon MQ has its management API.
const AMAZON_MQ_MANAGEMENT_PORT: u16 = 443;

/// A virtual host of a broker.
#[derive(Clone)]
pub struct Endpoint {
    uri: AMQPUri,
}

impl Endpoint {
    /// Reads `amqp[s]://USER:PASSWORD@HOST:PORT/VHOST`. Without credentials it is RabbitMQ's own `guest`; without a virtual
    /// host, `/`.
    ///
    /// # Errors
    /// It is not such a URL; why, without its text, which may hold a password.
    pub fn parse(url: &str) -> Result<Self, String> {
        let mut uri: AMQPUri = url.parse().map_err(|reason| format!("the RabbitMQ URL: {reason}"))?;
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost);
        }
        Ok(Self { uri })
    }

    /// For programs: with credentials, everything percent-encoded that must be.
    #[must_use]
    pub fn url(&self) -> String {
        let user = &self.uri.authority.userinfo;
        let user_info = format!("{}:{}@", encode(&user.username), encode(&user.password));
        let heartbeat = self.uri.query.heartbeat.map_or_else(String::new, |seconds| format!("?heartbeat={seconds}"));
        format!("{}://{user_info}{}{heartbeat}", self.uri.scheme, self.host_and_vhost())
    }

    /// The virtual host's name.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.uri.vhost
    }

    /// Where its management API should be: on port 443 of an Amazon MQ broker, else 10,000 above AMQP. None with TLS: only
    /// plain HTTP is spoken here.
    #[must_use]
    pub fn management(&self) -> Option<Management> {
        let (authority, user) = (&self.uri.authority, &self.uri.authority.userinfo);
        let port = authority.port.checked_add(MANAGEMENT_PORT_OFFSET)?;
        let plain = self.uri.scheme == AMQPScheme::AMQP && authority.port != AMAZON_MQ_MANAGEMENT_PORT;
        let url = format!("http://{}:{port}", authority.host);
        plain.then(|| Management::new(&url, &user.username, &user.password))
    }

    /// A connection; `name` is what the broker shows for it.
    pub(super) async fn connect(&self, name: &str) -> Result<Connection, String> {
        let mut uri = self.uri.clone();
        uri.query.heartbeat = Some(HEARTBEAT_S);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        match timeout(CONNECT_TIME_MAX, Connection::connect_uri(uri, properties)).await {
            Ok(connection) => connection.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no connection within {} s", CONNECT_TIME_MAX.as_secs())),
        }
    }

    fn host_and_vhost(&self) -> String {
        let authority = &self.uri.authority;
        format!("{}:{}/{}", authority.host, authority.port, encode(&self.uri.vhost))
    }
}

/// Without credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.uri.scheme, self.host_and_vhost())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_and_shown_without_its_password() {
        let check = |url: &str, whole: &str, shown: &str, vhost: &str, management: Option<&str>| {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!((endpoint.url().as_str(), endpoint.to_string().as_str()), (whole, shown));
            assert_eq!(endpoint.vhost(), vhost);
            assert_eq!(endpoint.management().as_ref().map(Management::url), management);
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
        check("amqps://u:p@host:5671/v", "amqps://u:p@host:5671/v", "amqps://host:5671/v", "v", None);
        assert!(Endpoint::parse("http://secret@host").unwrap_err().starts_with("the RabbitMQ URL: "));
    }
}
