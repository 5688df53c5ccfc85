//! Addresses of a cluster, encryption and login, from the environment. `Debug` and error texts never contain the
//! password.

use std::fmt;

use sluicegate_aws_client::{AwsConfigError, AwsEnvironment};

use super::sasl::Mechanism;
use crate::broker_url::is_loopback;
use crate::login::Login;

/// The host and port of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The addresses of a cluster's brokers, and how to connect to them.
#[derive(Clone)]
pub struct ClusterConfig {
    /// At least one.
    pub(super) bootstrap: Vec<Address>,
    pub(super) tls: bool,
    pub(super) login: Option<(Mechanism, Login)>,
    /// Whose TLS configuration is used too.
    pub(super) shared: Option<AwsEnvironment>,
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = self.login.as_ref().map(|(mechanism, _)| mechanism);
        let Self { bootstrap, tls, .. } = self;
        f.debug_struct("ClusterConfig")
            .field("bootstrap", bootstrap)
            .field("tls", tls)
            .field("mechanism", &mechanism)
            .finish_non_exhaustive()
    }
}

/// An invalid environment for a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClusterConfigError {
    /// An address is not one.
    #[error("KAFKA_BOOTSTRAP_SERVERS is not a list of HOST:PORT with commas between them")]
    Servers,
    /// The security protocol is unknown.
    #[error("KAFKA_SECURITY_PROTOCOL is {0:?}: it is PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")]
    Protocol(String),
    /// The mechanism is unknown.
    #[error("KAFKA_SASL_MECHANISM is {0:?}: it is SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN")]
    Mechanism(String),
    /// The protocol requires a login, and no secret is configured.
    #[error("KAFKA_SECRET_ARN is not set; it names the secret with the user of KAFKA_SECURITY_PROTOCOL={0}")]
    NoCredentials(&'static str),
    /// A secret is configured, and the protocol has no login.
    #[error("KAFKA_SECRET_ARN is set, and KAFKA_SECURITY_PROTOCOL={0} has no login; use SASL_SSL")]
    UnusedCredentials(&'static str),
    /// The login would not be encrypted.
    #[error("KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT is for loopback hosts: the login is not encrypted; use SASL_SSL")]
    LoginInTheClear,
    /// The environment lacks the AWS settings for Secrets Manager.
    #[error("for KAFKA_SECRET_ARN: {0}")]
    Aws(#[from] AwsConfigError),
}

impl ClusterConfig {
    /// Reads `KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_MECHANISM` and `KAFKA_SECRET_ARN`
    /// through `lookup`; `None` if the first is not set.
    ///
    /// The protocol is Kafka's `security.protocol`: by default `SASL_SSL` with a secret and `SSL` without. The secret
    /// contains `{"username": …, "password": …}`, as Amazon MSK requires it; it is read for the first connection, and
    /// again when a broker refuses the login. The mechanism is `SCRAM-SHA-512` by default, which is MSK's.
    ///
    /// # Errors
    /// The first mistake.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ClusterConfigError> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let Some(servers) = get("KAFKA_BOOTSTRAP_SERVERS") else { return Ok(None) };
        let bootstrap: Option<Vec<_>> = servers.split(',').map(address).collect();
        let bootstrap = bootstrap.ok_or(ClusterConfigError::Servers)?;
        let secret = get("KAFKA_SECRET_ARN");
        let default = if secret.is_some() { "SASL_SSL" } else { "SSL" };
        let protocol = get("KAFKA_SECURITY_PROTOCOL").unwrap_or_else(|| default.to_owned());
        let (protocol, tls, has_login) = match protocol.as_str() {
            "PLAINTEXT" => ("PLAINTEXT", false, false),
            "SSL" => ("SSL", true, false),
            "SASL_PLAINTEXT" => ("SASL_PLAINTEXT", false, true),
            "SASL_SSL" => ("SASL_SSL", true, true),
            _ => return Err(ClusterConfigError::Protocol(protocol)),
        };
        let login = match secret {
            Some(_) if !has_login => return Err(ClusterConfigError::UnusedCredentials(protocol)),
            None if has_login => return Err(ClusterConfigError::NoCredentials(protocol)),
            None => None,
            Some(arn) => {
                if !tls && !bootstrap.iter().all(|address| is_loopback(&address.host)) {
                    return Err(ClusterConfigError::LoginInTheClear);
                }
                let mechanism = match get("KAFKA_SASL_MECHANISM") {
                    None => Mechanism::ScramSha512,
                    Some(name) => Mechanism::parse(&name).ok_or(ClusterConfigError::Mechanism(name))?,
                };
                Some((mechanism, Login::Secret { arn, environment: Box::new(AwsEnvironment::read(&lookup)?) }))
            }
        };
        Ok(Some(Self { bootstrap, tls, login, shared: None }))
    }

    /// Shares the TLS configuration of `shared`, which avoids reading every root certificate a second time.
    #[must_use]
    pub fn with_environment(mut self, shared: &AwsEnvironment) -> Self {
        if let Some((_, Login::Secret { environment, .. })) = &mut self.login {
            **environment = shared.clone();
        }
        self.shared = Some(shared.clone());
        self
    }
}

fn address(text: &str) -> Option<Address> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    let port = port.parse().ok().filter(|port| *port > 0)?;
    is_host.then(|| Address { host: host.to_owned(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<ClusterConfig>, ClusterConfigError> {
        const AWS: [(&str, &str); 3] =
            [("AWS_REGION", "r"), ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
        ClusterConfig::from_env(|wanted| {
            let found = AWS.iter().chain(variables).find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_protocol_follows_from_the_secret_unless_it_is_set() {
        const SERVERS: (&str, &str) = ("KAFKA_BOOTSTRAP_SERVERS", "b-1.example:9096, [::1]:9094");
        const SECRET: (&str, &str) = ("KAFKA_SECRET_ARN", "arn");
        assert!(read(&[SECRET]).unwrap().is_none());
        let protocol = |name| ("KAFKA_SECURITY_PROTOCOL", name);
        let mechanism = |name| ("KAFKA_SASL_MECHANISM", name);
        for (variables, tls, expected) in [
            (&[][..], true, None),
            (&[protocol("SSL")], true, None),
            (&[protocol("PLAINTEXT")], false, None),
            (&[SECRET], true, Some(Mechanism::ScramSha512)),
            (&[SECRET, protocol("SASL_SSL"), mechanism("SCRAM-SHA-256")], true, Some(Mechanism::ScramSha256)),
            (&[SECRET, mechanism("PLAIN")], true, Some(Mechanism::Plain)),
        ] {
            let config = read(&[&[SERVERS], variables].concat()).unwrap().unwrap();
            assert_eq!(config.bootstrap.iter().map(|at| at.host.as_str()).collect::<Vec<_>>(), ["b-1.example", "::1"]);
            assert_eq!(config.bootstrap.iter().map(|at| at.port).collect::<Vec<_>>(), [9096, 9094]);
            assert_eq!((config.tls, config.login.map(|(mechanism, _)| mechanism)), (tls, expected), "{variables:?}");
        }
    }

    #[test]
    fn a_mistake_is_refused() {
        const SECRET: (&str, &str) = ("KAFKA_SECRET_ARN", "arn");
        let protocol = |name| ("KAFKA_SECURITY_PROTOCOL", name);
        for (servers, variables, error) in [
            ("broker", &[][..], ClusterConfigError::Servers),
            ("broker:0", &[], ClusterConfigError::Servers),
            ("a:1,,b:2", &[], ClusterConfigError::Servers),
            ("kafka://a:1", &[], ClusterConfigError::Servers),
            ("a:1", &[protocol("ssl")], ClusterConfigError::Protocol("ssl".to_owned())),
            ("a:1", &[protocol("SASL_SSL")], ClusterConfigError::NoCredentials("SASL_SSL")),
            ("a:1", &[protocol("PLAINTEXT"), SECRET], ClusterConfigError::UnusedCredentials("PLAINTEXT")),
            ("127.0.0.1:1,a:1", &[protocol("SASL_PLAINTEXT"), SECRET], ClusterConfigError::LoginInTheClear),
            ("a:1", &[SECRET, ("KAFKA_SASL_MECHANISM", "GSSAPI")], ClusterConfigError::Mechanism("GSSAPI".to_owned())),
        ] {
            let read = read(&[&[("KAFKA_BOOTSTRAP_SERVERS", servers)], variables].concat());
            assert_eq!(read.map(drop), Err(error), "{servers} {variables:?}");
        }
    }
}
