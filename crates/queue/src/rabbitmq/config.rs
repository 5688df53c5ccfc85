//! Broker address and credentials, from the environment or an `AMQPUri`. `Debug` and error texts never contain the
//! password.

use std::fmt;

use lapin::uri::{AMQPAuthority, AMQPScheme, AMQPUri};
use sluicegate_aws_client::{AwsConfigError, AwsEnvironment};

use crate::broker_url::{BrokerUrl, Credentials, HEARTBEAT_S, HEARTBEAT_S_MAX, is_loopback};
use crate::login::Login;
use crate::queue_names::RetryDelays;
use crate::rabbitmq::properties::EVENT_FRAME_BYTES;

/// The frames of a connection, in bytes, unless the broker has shorter ones: RabbitMQ's default. The headers of a
/// message must fit into one. Asking for it also limits the memory of a connection, because lapin has buffers of 64
/// frames.
///
/// <https://www.rabbitmq.com/docs/configure#config-items>
const FRAME_BYTES: u32 = 131_072;

/// The address of a broker, the credentials for it and its retry delays.
#[derive(Clone)]
pub struct BrokerConfig {
    /// Its `credentials` are moved to `login`.
    pub(crate) address: BrokerUrl,
    pub(crate) login: Login,
    pub(crate) retry_delays: RetryDelays,
    /// The longest frame, in bytes.
    pub(crate) frame_bytes: u32,
    #[cfg(feature = "in-process")]
    pub(crate) dialer: Option<super::Dialer>,
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
    Aws(#[from] AwsConfigError),
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
        let mut address = BrokerUrl::parse(&url).map_err(BrokerConfigError::Url)?;
        let user = address.credentials.take();
        if user.is_none() && !address.tls && !is_loopback(&address.host) {
            return Err(BrokerConfigError::Url(
                "is not encrypted: use amqps:// unless the host is loopback or the URL contains the password",
            ));
        }
        let retry_delays =
            get("RABBITMQ_RETRY_DELAYS").map(|text| RetryDelays::parse(&text)).transpose()?.unwrap_or_default();
        let login = match (user, get("RABBITMQ_SECRET_ARN")) {
            (Some(credentials), _) => Login::Fixed(credentials),
            (None, None) => return Err(BrokerConfigError::NoCredentials),
            (None, Some(arn)) => Login::Secret { arn, environment: Box::new(AwsEnvironment::read(&lookup)?) },
        };
        Ok(Some(Self {
            address,
            login,
            retry_delays,
            frame_bytes: FRAME_BYTES,
            #[cfg(feature = "in-process")]
            dialer: None,
        }))
    }

    /// Returns the configuration for the broker at this address, with the credentials in it and the default retry
    /// delays.
    #[must_use]
    pub fn at(uri: AMQPUri) -> Self {
        let AMQPUri { scheme, authority, vhost, query } = uri;
        let AMQPAuthority { userinfo: user, host, port } = authority;
        let heartbeat_s = query.heartbeat.filter(|heartbeat| *heartbeat > 0).unwrap_or(HEARTBEAT_S);
        let tls = scheme == AMQPScheme::AMQPS;
        let heartbeat_s = heartbeat_s.min(HEARTBEAT_S_MAX);
        Self {
            address: BrokerUrl { tls, host, port, vhost, heartbeat_s, credentials: None },
            login: Login::Fixed(Credentials { username: user.username, password: user.password }),
            retry_delays: RetryDelays::default(),
            frame_bytes: FRAME_BYTES,
            #[cfg(feature = "in-process")]
            dialer: None,
        }
    }

    /// Opens connections through `dialer`, instead of a socket.
    #[cfg(feature = "in-process")]
    #[must_use]
    pub fn with_dialer(mut self, dialer: super::Dialer) -> Self {
        self.dialer = Some(dialer);
        self
    }

    /// Shares the TLS configuration of `shared` for Secrets Manager, which avoids reading every root certificate a
    /// second time.
    #[must_use]
    pub fn with_environment(mut self, shared: &AwsEnvironment) -> Self {
        if let Login::Secret { environment, .. } = &mut self.login {
            **environment = shared.clone();
        }
        self
    }

    /// Makes connections for events only, whose headers are bounded: with shorter frames they need an eighth of the
    /// memory, 1 MiB.
    #[must_use]
    pub fn for_events(mut self) -> Self {
        self.frame_bytes = EVENT_FRAME_BYTES;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_heartbeat_of_an_address_is_used_and_limited() {
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
        let reason = "is not encrypted: use amqps:// unless the host is loopback or the URL contains the password";
        for arn in ["", "arn"] {
            let lookup = |name: &str| match name {
                "RABBITMQ_URL" => Some("amqp://rabbit".to_owned()),
                "RABBITMQ_SECRET_ARN" => Some(arn.to_owned()),
                _ => None,
            };
            assert_eq!(BrokerConfig::from_env(lookup).map(drop), Err(BrokerConfigError::Url(reason)));
        }
        assert_eq!(
            with(&[("RABBITMQ_URL", "amqps://u:p@h"), ("RABBITMQ_RETRY_DELAYS", "5,1")]),
            Err(BrokerConfigError::RetryDelays(crate::queue_names::RetryDelaysError))
        );
        let missing = with(&[("RABBITMQ_URL", "amqps://h"), ("RABBITMQ_SECRET_ARN", "arn")]).unwrap_err();
        assert!(missing.to_string().starts_with("for RABBITMQ_SECRET_ARN: not set: AWS_REGION"), "{missing}");
    }
}
