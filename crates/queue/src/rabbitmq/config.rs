//! Broker address and credentials, from the environment or given. `Debug` and error texts never contain the password.

use std::fmt;
use std::net::IpAddr;

use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use percent_encoding::percent_decode_str;

use crate::aws::{self, SdkConfig};
use crate::queue_names::RetryDelays;

/// Default seconds between heartbeats. A Network Load Balancer or a NAT gateway drops a connection after 350 s without
/// traffic (<https://docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html>).
pub const HEARTBEAT_S: u16 = 60;

/// Longest accepted heartbeat, in seconds: two fit into 350 s.
pub const HEARTBEAT_S_MAX: u16 = 170;

/// The address of a broker, the credentials for it and its retry delays.
#[derive(Clone)]
pub struct BrokerConfig {
    pub(crate) address: BrokerAddress,
    pub(crate) login: Login,
    pub(crate) retry_delays: RetryDelays,
}

/// The broker's URL without the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BrokerAddress {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) vhost: String,
    pub(crate) heartbeat_s: u16,
}

/// The origin of the credentials.
#[derive(Clone)]
pub(crate) enum Login {
    /// The URL contains them.
    Fixed(Credentials),
    /// A Secrets Manager secret contains them.
    Secret { arn: String, sdk: Box<SdkConfig>, endpoint: Option<String> },
}

/// A user name and a password. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) username: String,
    pub(crate) password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl fmt::Debug for BrokerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let login = match &self.login {
            Login::Fixed(_) => "in the URL",
            Login::Secret { arn, .. } => arn,
        };
        f.debug_struct("BrokerConfig").field("address", &self.address).field("login", &login).finish_non_exhaustive()
    }
}

/// An invalid broker environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerConfigError {
    /// The URL is not a broker's.
    #[error("RABBITMQ_URL {0}; expected amqps://HOST:5671/VHOST")]
    Url(&'static str),
    /// No credentials are configured.
    #[error("RABBITMQ_SECRET_ARN is not set, and RABBITMQ_URL names no user")]
    NoCredentials,
    /// The retry delays are invalid.
    #[error("RABBITMQ_RETRY_DELAYS: {0}")]
    RetryDelays(#[from] crate::queue_names::RetryDelaysError),
    /// The environment lacks the AWS settings for Secrets Manager.
    #[error("for RABBITMQ_SECRET_ARN: {0}")]
    Aws(#[from] aws::AwsConfigError),
}

impl BrokerConfig {
    /// Reads `RABBITMQ_URL`, `RABBITMQ_SECRET_ARN` and `RABBITMQ_RETRY_DELAYS` through `lookup`; `None` if the first is
    /// not set.
    ///
    /// The URL is `amqps://HOST[:5671][/VHOST][?heartbeat=SECONDS]` with a percent-encoded virtual host, `/` by
    /// default. A user and a password in the URL take precedence. Without them, the secret with the ARN
    /// `RABBITMQ_SECRET_ARN` contains `{"username": …, "password": …}`; it is read for the first connection, and again
    /// when the broker refuses the login. `amqp://`, which is not encrypted, is accepted for a loopback host, or when
    /// the URL itself contains the password: the password of a secret is never sent in the clear.
    ///
    /// # Errors
    /// The first mistake. Its text contains no part of the URL.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, BrokerConfigError> {
        let get = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let Some(url) = get("RABBITMQ_URL") else { return Ok(None) };
        let (address, user) = parse(&url).map_err(BrokerConfigError::Url)?;
        let retry_delays =
            get("RABBITMQ_RETRY_DELAYS").map(|text| RetryDelays::parse(&text)).transpose()?.unwrap_or_default();
        let login = match (user, get("RABBITMQ_SECRET_ARN")) {
            (Some(credentials), _) => Login::Fixed(credentials),
            (None, None) => return Err(BrokerConfigError::NoCredentials),
            (None, Some(_)) if !address.tls && !is_loopback(&address.host) => {
                return Err(BrokerConfigError::Url("would send the secret's password in the clear"));
            }
            (None, Some(arn)) => {
                let endpoint = get("AWS_ENDPOINT_URL_SECRETS_MANAGER").or_else(|| get("AWS_ENDPOINT_URL"));
                Login::Secret { arn, sdk: Box::new(aws::sdk_config(&lookup)?), endpoint }
            }
        };
        Ok(Some(Self { address, login, retry_delays }))
    }

    /// Returns the configuration for the broker at this address, with the credentials in it and the default retry
    /// delays.
    #[must_use]
    pub fn at(uri: AMQPUri) -> Self {
        let AMQPUri { scheme, authority, vhost, query } = uri;
        let AMQPAuthority { userinfo: user, host, port } = authority;
        let heartbeat_s = query.heartbeat.filter(|heartbeat| *heartbeat > 0).unwrap_or(HEARTBEAT_S);
        let tls = scheme == AMQPScheme::AMQPS;
        Self {
            address: BrokerAddress { tls, host, port, vhost, heartbeat_s: heartbeat_s.min(HEARTBEAT_S_MAX) },
            login: Login::Fixed(Credentials { username: user.username, password: user.password }),
            retry_delays: RetryDelays::default(),
        }
    }

    /// Shares the connections of `shared` for Secrets Manager, which avoids reading every root certificate a second
    /// time.
    #[must_use]
    pub fn with_sdk_config(mut self, shared: &SdkConfig) -> Self {
        if let Login::Secret { sdk, .. } = &mut self.login {
            **sdk = shared.clone();
        }
        self
    }

    /// Returns the virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.address.vhost
    }

    /// Returns the delays that have a queue.
    #[must_use]
    pub fn retry_delays(&self) -> &RetryDelays {
        &self.retry_delays
    }
}

/// Parses the URL of a broker. The reason for a refusal contains no part of it.
fn parse(url: &str) -> Result<(BrokerAddress, Option<Credentials>), &'static str> {
    let (tls, rest) = match (url.strip_prefix("amqps://"), url.strip_prefix("amqp://")) {
        (Some(rest), _) => (true, rest),
        (None, Some(rest)) => (false, rest),
        (None, None) => return Err("is neither amqps:// nor amqp://"),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let credentials = match user.map(|user| user.split_once(':').unwrap_or((user, ""))) {
        Some((username, password)) => {
            let credentials = Credentials { username: decode(username)?, password: decode(password)? };
            if credentials.username.is_empty() {
                return Err("has an empty user name");
            }
            Some(credentials)
        }
        None => None,
    };
    let (host, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err("names no host");
    }
    let port = match port {
        Some(port) => {
            port.parse().ok().filter(|port| *port > 0).ok_or("has a port that is not a number from 1 to 65535")?
        }
        None if tls => 5671,
        None => 5672,
    };
    if !tls && credentials.is_none() && !is_loopback(host) {
        return Err("is not encrypted, which is for a loopback host, or a URL that holds the password itself");
    }
    let vhost = match decode(vhost)? {
        // An endpoint that was copied with its final slash.
        empty if empty.is_empty() => "/".to_owned(),
        vhost => vhost,
    };
    let mut heartbeat_s = HEARTBEAT_S;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some(value) = pair.strip_prefix("heartbeat=") else { return Err("has a parameter other than heartbeat") };
        let within = value.parse().ok().filter(|value| (1..=HEARTBEAT_S_MAX).contains(value));
        heartbeat_s = within.ok_or("has a heartbeat that is not a number of seconds from 1 to 170")?;
    }
    Ok((BrokerAddress { tls, host: host.to_owned(), port, vhost, heartbeat_s }, credentials))
}

fn decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "is not percent-encoded UTF-8")?;
    if decoded.len() > 255 { Err("has a part of more than 255 bytes") } else { Ok(decoded.into_owned()) }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed<'a> = (&'a str, u16, &'a str, u16, Option<(&'a str, &'a str)>);

    fn check(url: &str, expected: Result<Parsed<'_>, &str>) {
        let parsed = parse(url);
        let shown = parsed.as_ref().map_err(|reason| *reason).map(|(address, user)| {
            let user = user.as_ref().map(|user| (user.username.as_str(), user.password.as_str()));
            (address.host.as_str(), address.port, address.vhost.as_str(), address.heartbeat_s, user)
        });
        assert_eq!(shown, expected, "{url}");
    }

    #[test]
    fn a_url_is_read() {
        let host = "b-1.mq.eu-west-1.on.aws";
        check("amqps://b-1.mq.eu-west-1.on.aws:5671", Ok((host, 5671, "/", 60, None)));
        check("amqps://b-1.mq.eu-west-1.on.aws/", Ok((host, 5671, "/", 60, None)));
        check("amqps://b-1.mq.eu-west-1.on.aws/orders?heartbeat=30", Ok((host, 5671, "orders", 30, None)));
        check("amqp://localhost/%2Fa%20b", Ok(("localhost", 5672, "/a b", 60, None)));
        check("amqp://[::1]:5000/v", Ok(("::1", 5000, "v", 60, None)));
        check("amqp://a%40b:p%3A%2Fw@rabbit/v", Ok(("rabbit", 5672, "v", 60, Some(("a@b", "p:/w")))));
    }

    #[test]
    fn a_mistake_is_reported_without_the_url() {
        for (url, reason) in [
            ("https://h", "is neither amqps:// nor amqp://"),
            ("amqps://", "names no host"),
            ("amqps://:5671/", "names no host"),
            ("amqps://u:secret@/", "names no host"),
            ("amqps://h:x", "has a port that is not a number from 1 to 65535"),
            ("amqps://h:0", "has a port that is not a number from 1 to 65535"),
            ("amqps://:secret@h", "has an empty user name"),
            ("amqps://h/%FF", "is not percent-encoded UTF-8"),
            ("amqps://h?heartbeat=0", "has a heartbeat that is not a number of seconds from 1 to 170"),
            ("amqps://h?heartbeat=600", "has a heartbeat that is not a number of seconds from 1 to 170"),
            ("amqps://h?channel_max=1", "has a parameter other than heartbeat"),
            (
                "amqp://rabbit",
                "is not encrypted, which is for a loopback host, or a URL that holds the password itself",
            ),
        ] {
            check(url, Err(reason));
        }
    }

    #[test]
    fn an_address_is_taken_with_a_heartbeat_that_keeps_it_alive() {
        for (url, tls, vhost, heartbeat_s) in [
            ("amqps://u:p@h:5671/v", true, "v", 60),
            ("amqp://u:p@h:5672/v?heartbeat=0", false, "v", 60),
            ("amqp://u:p@h:5672/%2f?heartbeat=600", false, "/", 170),
        ] {
            let config = BrokerConfig::at(url.parse().unwrap());
            let address = config.address;
            assert_eq!((address.tls, address.vhost.as_str(), address.heartbeat_s), (tls, vhost, heartbeat_s), "{url}");
            let Login::Fixed(user) = config.login else { panic!("{url}") };
            assert_eq!((user.username.as_str(), user.password.as_str()), ("u", "p"));
        }
    }

    #[test]
    fn the_environment_is_read_and_the_password_never_shown() {
        let with = |variables: &'static [(&str, &str)]| {
            let lookup = |wanted: &str| {
                let found = variables.iter().find(|(name, _)| *name == wanted);
                found.map(|(_, value)| (*value).to_owned())
            };
            BrokerConfig::from_env(lookup).map(|config| config.map(|config| format!("{config:?}")))
        };
        assert_eq!(with(&[("RABBITMQ_URL", "")]), Ok(None));
        let shown = with(&[("RABBITMQ_URL", "amqps://me:pass-word@h/v"), ("RABBITMQ_SECRET_ARN", "arn")]);
        let shown = shown.unwrap().unwrap();
        assert!(shown.contains("in the URL") && !shown.contains("pass-word") && !shown.contains("me\""), "{shown}");
        assert_eq!(with(&[("RABBITMQ_URL", "amqps://h")]), Err(BrokerConfigError::NoCredentials));
        assert_eq!(
            with(&[("RABBITMQ_URL", "amqps://u:p@h"), ("RABBITMQ_RETRY_DELAYS", "5,1")]),
            Err(BrokerConfigError::RetryDelays(crate::queue_names::RetryDelaysError))
        );
        let missing = with(&[("RABBITMQ_URL", "amqps://h"), ("RABBITMQ_SECRET_ARN", "arn")]).unwrap_err();
        assert!(missing.to_string().starts_with("for RABBITMQ_SECRET_ARN: not set: AWS_REGION"), "{missing}");
    }
}
