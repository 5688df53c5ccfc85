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

/// The value of `KAFKA_SASL_MECHANISM` for the login of Amazon MSK by IAM.
const MSK_IAM: &str = "AWS_MSK_IAM";

/// The addresses of a cluster's brokers, and how to connect to them.
#[derive(Clone)]
pub struct ClusterConfig {
    /// At least one.
    pub(super) bootstrap: Vec<Address>,
    pub(super) tls: bool,
    pub(super) login: Option<(Mechanism, Login)>,
    /// The role that logs in at Amazon MSK by IAM, in place of a user.
    pub(super) role: Option<Box<AwsEnvironment>>,
    /// The secret with the certificate of the client, for brokers that require one.
    pub(super) certificate: Option<CertificateSecret>,
    /// Whose TLS configuration is used too.
    pub(super) shared: Option<AwsEnvironment>,
}

/// Where the certificate of the client is.
#[derive(Clone)]
pub(super) struct CertificateSecret {
    pub(super) arn: String,
    pub(super) environment: Box<AwsEnvironment>,
}

impl fmt::Debug for ClusterConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mechanism = self.login.as_ref().map(|(mechanism, _)| mechanism.name());
        let mechanism = mechanism.or(self.role.as_ref().map(|_| MSK_IAM));
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
    #[error("KAFKA_SASL_MECHANISM is {0:?}: it is SCRAM-SHA-512, SCRAM-SHA-256, PLAIN or AWS_MSK_IAM")]
    Mechanism(String),
    /// The protocol requires a login, and no secret is configured.
    #[error("KAFKA_SECRET_ARN is not set; it names the secret with the user of KAFKA_SECURITY_PROTOCOL={0}")]
    NoCredentials(&'static str),
    /// A secret is configured, and the protocol has no login.
    #[error("KAFKA_SECRET_ARN is set, and KAFKA_SECURITY_PROTOCOL={0} has no login; use SASL_SSL")]
    UnusedCredentials(&'static str),
    /// A secret is configured, and the role logs in.
    #[error(
        "KAFKA_SECRET_ARN is set, and KAFKA_SASL_MECHANISM=AWS_MSK_IAM logs in with the function's role: remove one"
    )]
    UnusedSecret,
    /// The mechanism is set, and the protocol has no login.
    #[error("KAFKA_SASL_MECHANISM is AWS_MSK_IAM, and KAFKA_SECURITY_PROTOCOL={0} has no login; use SASL_SSL")]
    UnusedRole(&'static str),
    /// A certificate is configured, and the protocol has no TLS.
    #[error(
        "KAFKA_CLIENT_CERTIFICATE_SECRET_ARN is set, and KAFKA_SECURITY_PROTOCOL={0} has no TLS; use SSL or SASL_SSL"
    )]
    UnusedCertificate(&'static str),
    /// The login would not be encrypted.
    #[error("KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT is for loopback hosts: the login is not encrypted; use SASL_SSL")]
    LoginInTheClear,
    /// The environment lacks the AWS settings for a secret or for the role.
    #[error("for the login at Kafka: {0}")]
    Aws(#[from] AwsConfigError),
}

impl ClusterConfig {
    /// Reads `KAFKA_BOOTSTRAP_SERVERS`, `KAFKA_SECURITY_PROTOCOL`, `KAFKA_SASL_MECHANISM`, `KAFKA_SECRET_ARN` and
    /// `KAFKA_CLIENT_CERTIFICATE_SECRET_ARN` through `lookup`; `None` if the first is not set.
    ///
    /// The protocol is Kafka's `security.protocol`: by default `SASL_SSL` with a login and `SSL` without. The secret
    /// contains `{"username": …, "password": …}`, as Amazon MSK requires it; it is read for the first connection, and
    /// again when a broker refuses the login. The mechanism is `SCRAM-SHA-512` by default, which is MSK's for users;
    /// `AWS_MSK_IAM` logs in with the role of the function and without a secret.
    ///
    /// # Errors
    /// The first mistake.
    pub fn from_env(lookup: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ClusterConfigError> {
        Self::from_env_with(&lookup, || AwsEnvironment::read(&lookup))
    }

    /// Reads the variables as [`from_env`](Self::from_env) does, and what is AWS's from `environment`.
    ///
    /// # Errors
    /// The first mistake.
    pub fn from_env_with(
        lookup: impl Fn(&str) -> Option<String>,
        environment: impl Fn() -> Result<AwsEnvironment, AwsConfigError>,
    ) -> Result<Option<Self>, ClusterConfigError> {
        let get = |name: &str| lookup(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let Some(servers) = get("KAFKA_BOOTSTRAP_SERVERS") else { return Ok(None) };
        let bootstrap: Option<Vec<_>> = servers.split(',').map(address).collect();
        let bootstrap = bootstrap.ok_or(ClusterConfigError::Servers)?;
        let (secret, mechanism) = (get("KAFKA_SECRET_ARN"), get("KAFKA_SASL_MECHANISM"));
        let is_role = mechanism.as_deref() == Some(MSK_IAM);
        let default = if secret.is_some() || is_role { "SASL_SSL" } else { "SSL" };
        let protocol = get("KAFKA_SECURITY_PROTOCOL").unwrap_or_else(|| default.to_owned());
        let (protocol, tls, has_login) = match protocol.as_str() {
            "PLAINTEXT" => ("PLAINTEXT", false, false),
            "SSL" => ("SSL", true, false),
            "SASL_PLAINTEXT" => ("SASL_PLAINTEXT", false, true),
            "SASL_SSL" => ("SASL_SSL", true, true),
            _ => return Err(ClusterConfigError::Protocol(protocol)),
        };
        if has_login && !tls && !bootstrap.iter().all(|address| is_loopback(&address.host)) {
            return Err(ClusterConfigError::LoginInTheClear);
        }
        let environment = || environment().map(Box::new);
        let (mut login, mut role) = (None, None);
        match secret {
            Some(_) if is_role => return Err(ClusterConfigError::UnusedSecret),
            Some(_) if !has_login => return Err(ClusterConfigError::UnusedCredentials(protocol)),
            Some(arn) => {
                let mechanism = match mechanism {
                    None => Mechanism::ScramSha512,
                    Some(name) => Mechanism::parse(&name).ok_or(ClusterConfigError::Mechanism(name))?,
                };
                login = Some((mechanism, Login::Secret { arn, environment: environment()? }));
            }
            None if is_role && !has_login => return Err(ClusterConfigError::UnusedRole(protocol)),
            None if is_role => role = Some(environment()?),
            None if has_login => return Err(ClusterConfigError::NoCredentials(protocol)),
            None => {}
        }
        let certificate = match get("KAFKA_CLIENT_CERTIFICATE_SECRET_ARN") {
            Some(_) if !tls => return Err(ClusterConfigError::UnusedCertificate(protocol)),
            Some(arn) => Some(CertificateSecret { arn, environment: environment()? }),
            None => None,
        };
        Ok(Some(Self { bootstrap, tls, login, role, certificate, shared: None }))
    }

    /// Shares the TLS configuration of `shared`, which avoids reading every root certificate a second time.
    #[must_use]
    pub fn with_environment(mut self, shared: &AwsEnvironment) -> Self {
        if let Some((_, Login::Secret { environment, .. })) = &mut self.login {
            **environment = shared.clone();
        }
        if let Some(certificate) = &mut self.certificate {
            *certificate.environment = shared.clone();
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

    const CERTIFICATE: (&str, &str) = ("KAFKA_CLIENT_CERTIFICATE_SECRET_ARN", "arn");

    #[test]
    fn the_protocol_follows_from_the_login_unless_it_is_set() {
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
            (&[mechanism("AWS_MSK_IAM")], true, None),
            (&[mechanism("AWS_MSK_IAM"), CERTIFICATE], true, None),
        ] {
            let config = read(&[&[SERVERS], variables].concat()).unwrap().unwrap();
            assert_eq!(config.bootstrap.iter().map(|at| at.host.as_str()).collect::<Vec<_>>(), ["b-1.example", "::1"]);
            assert_eq!(config.bootstrap.iter().map(|at| at.port).collect::<Vec<_>>(), [9096, 9094]);
            let has = |variable| variables.contains(&variable);
            assert_eq!(config.role.is_some(), has(mechanism("AWS_MSK_IAM")), "{variables:?}");
            assert_eq!(config.certificate.is_some(), has(CERTIFICATE), "{variables:?}");
            assert_eq!((config.tls, config.login.map(|(mechanism, _)| mechanism)), (tls, expected), "{variables:?}");
        }
    }

    #[test]
    fn a_mistake_is_refused() {
        const SECRET: (&str, &str) = ("KAFKA_SECRET_ARN", "arn");
        const IAM: (&str, &str) = ("KAFKA_SASL_MECHANISM", "AWS_MSK_IAM");
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
            ("a:1", &[SECRET, IAM], ClusterConfigError::UnusedSecret),
            ("a:1", &[protocol("SSL"), IAM], ClusterConfigError::UnusedRole("SSL")),
            ("a:1", &[protocol("SASL_PLAINTEXT"), IAM], ClusterConfigError::LoginInTheClear),
            ("a:1", &[protocol("PLAINTEXT"), CERTIFICATE], ClusterConfigError::UnusedCertificate("PLAINTEXT")),
            ("a:1", &[SECRET, ("KAFKA_SASL_MECHANISM", "GSSAPI")], ClusterConfigError::Mechanism("GSSAPI".to_owned())),
        ] {
            let read = read(&[&[("KAFKA_BOOTSTRAP_SERVERS", servers)], variables].concat());
            assert_eq!(read.map(drop), Err(error), "{servers} {variables:?}");
        }
    }
}
