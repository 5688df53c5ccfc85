//! Broker address and credentials. No text made of it contains the password.

use std::fmt;

use sluicegate_queue::broker_url::{BrokerUrl, Credentials, is_loopback};

/// The offset of the management API's port from AMQP's, by convention: 5672 and 15672, 5671 and 15671
/// (<https://www.rabbitmq.com/docs/networking#ports>).
const MANAGEMENT_PORT_OFFSET: u16 = 10_000;

/// A broker's virtual host: how to reach it over AMQP and through the management API, and with what credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(crate) url: BrokerUrl,
    pub(crate) management: ManagementEndpoint,
}

/// The management API's URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManagementEndpoint {
    /// A URL derived from the broker's; the API is optional there.
    Derived(String),
    /// A URL that was given; the API must answer.
    Given(String),
    /// No management API.
    Disabled,
}

/// An address that cannot be used. The text holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AddressError(String);

fn wrong(reason: impl Into<String>) -> AddressError {
    AddressError(reason.into())
}

impl Address {
    /// Reads `amqp://` or `amqps://`, `USERNAME:PASSWORD@` if they are to be part of it, host, port, and the virtual
    /// host percent-encoded (`%2F` or nothing is `/`).
    ///
    /// The management API is expected on the same host: at port 443 of an Amazon MQ broker, else 10,000 above the AMQP
    /// port; with TLS if AMQP uses it.
    ///
    /// # Errors
    /// The URL is none of these.
    pub fn parse(url: &str) -> Result<Self, AddressError> {
        let url = BrokerUrl::parse(url).map_err(|reason| {
            wrong(format!("the broker's URL {reason}; it is amqp://HOST:PORT/VHOST or amqps://HOST:PORT/VHOST"))
        })?;
        if url.host.contains(':') {
            return Err(wrong("the broker's URL has an IPv6 address; use a host name or an IPv4 address"));
        }
        if url.credentials.as_ref().is_some_and(|user| user.password.is_empty()) {
            return Err(wrong("the broker's URL has a username without a password"));
        }
        let management = derived(&url).map_or(ManagementEndpoint::Disabled, ManagementEndpoint::Derived);
        Ok(Self { url, management })
    }

    /// Sets the credentials, unless the URL has some.
    ///
    /// # Errors
    /// They would be sent in clear text to another machine, which is allowed only for credentials in the URL itself.
    pub fn or_credentials(mut self, username: &str, password: &str) -> Result<Self, AddressError> {
        if self.url.credentials.is_none() {
            if !self.is_private() {
                return Err(wrong("amqp:// would send the password in clear text; use amqps://"));
            }
            self.url.credentials = Some(Credentials { username: username.to_owned(), password: password.to_owned() });
        }
        Ok(self)
    }

    /// Selects another virtual host of the broker.
    #[must_use]
    pub fn with_vhost(mut self, vhost: &str) -> Self {
        vhost.clone_into(&mut self.url.vhost);
        self
    }

    /// Sets the management API's URL to this `http://` or `https://` URL; the API must answer.
    ///
    /// # Errors
    /// The URL has another scheme, contains credentials, or would send them in clear text although AMQP uses TLS.
    pub fn with_management(mut self, url: &str) -> Result<Self, AddressError> {
        let url = url.trim_end_matches('/');
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let host = rest.ok_or_else(|| wrong("the management API's URL is http://HOST:PORT or https://HOST:PORT"))?;
        let authority = host.split('/').next().unwrap_or_default();
        if authority.contains('@') || url.contains(['?', '#']) {
            return Err(wrong(
                "the management API's URL has neither credentials nor a query; they come from the broker's URL",
            ));
        }
        let host = authority.split(':').next().unwrap_or_default();
        if url.starts_with("http://") && self.url.tls && !is_loopback(host) {
            return Err(wrong("http:// would send the password in clear text; use https://"));
        }
        self.management = ManagementEndpoint::Given(url.to_owned());
        Ok(self)
    }

    /// Disables the management API: operations that AMQP does not support are left out, and reported.
    #[must_use]
    pub fn without_management(mut self) -> Self {
        self.management = ManagementEndpoint::Disabled;
        self
    }

    /// Returns the virtual host.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.url.vhost
    }

    /// Returns username and password; on a loopback address RabbitMQ's `guest` by default.
    #[cfg(any(feature = "broker", test))]
    pub(crate) fn credentials(&self) -> Result<Credentials, AddressError> {
        match &self.url.credentials {
            Some(credentials) => Ok(credentials.clone()),
            None if is_loopback(&self.url.host) => {
                Ok(Credentials { username: "guest".to_owned(), password: "guest".to_owned() })
            }
            None => Err(wrong(
                "there are no credentials: write them into the URL (amqp://USERNAME:PASSWORD@HOST), or set RABBITMQ_USERNAME and \
                 RABBITMQ_PASSWORD",
            )),
        }
    }

    fn is_private(&self) -> bool {
        self.url.tls || is_loopback(&self.url.host)
    }
}

fn derived(url: &BrokerUrl) -> Option<String> {
    let host = &url.host;
    // <https://docs.aws.amazon.com/amazon-mq/latest/developer-guide/rabbitmq-basic-elements.html>: behind port 443.
    if url.tls && (host.ends_with(".amazonaws.com") || host.ends_with(".on.aws")) {
        return Some(format!("https://{host}"));
    }
    let port = url.port.checked_add(MANAGEMENT_PORT_OFFSET)?;
    Some(format!("{}://{host}:{port}", if url.tls { "https" } else { "http" }))
}

/// Without credentials.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BrokerUrl { tls, host, port, vhost, .. } = &self.url;
        write!(f, "virtual host {vhost} of {}://{host}:{port}", if *tls { "amqps" } else { "amqp" })
    }
}

/// Without credentials.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self}, {:?})", self.management)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, shown: &str, management: Option<&str>) {
        let address = Address::parse(url).unwrap();
        assert_eq!(address.to_string(), shown, "{url}");
        let derived =
            management.map_or(ManagementEndpoint::Disabled, |url| ManagementEndpoint::Derived(url.to_owned()));
        assert_eq!(address.management, derived, "{url}");
        assert!(!format!("{address} {address:?}").contains("secret"), "{address:?}");
    }

    #[test]
    fn urls_are_read_and_shown_without_credentials() {
        let local = "http://127.0.0.1:15672";
        check("amqp://127.0.0.1", "virtual host / of amqp://127.0.0.1:5672", Some(local));
        check("amqp://me:secret@127.0.0.1/", "virtual host / of amqp://127.0.0.1:5672", Some(local));
        check("amqp://127.0.0.1:5672/%2fa::b?heartbeat=5", "virtual host /a::b of amqp://127.0.0.1:5672", Some(local));
        let host = "b-1.mq.eu-west-1.on.aws";
        check(
            &format!("amqps://me:secret@{host}:5671/prod"),
            &format!("virtual host prod of amqps://{host}:5671"),
            Some(&format!("https://{host}")),
        );
        check(
            "amqps://rabbit.example",
            "virtual host / of amqps://rabbit.example:5671",
            Some("https://rabbit.example:15671"),
        );
        check("amqp://127.0.0.1:60000", "virtual host / of amqp://127.0.0.1:60000", None);
    }

    #[test]
    fn invalid_addresses_are_reported_without_credentials() {
        for url in [
            "",
            "http://h",
            "amqp:me:secret@h",
            "amqp://",
            "amqp://me:secret@",
            "amqp://me@h",
            "amqp://[::1]/",
            "amqp://me:secret@h:x",
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.is_empty(), "{url}: {error}");
        }
    }

    #[test]
    fn credentials_are_sent_in_clear_text_only_if_the_url_contains_them() {
        let parse = |url| Address::parse(url).unwrap();
        assert_eq!(parse("amqp://localhost").credentials().unwrap().username, "guest");
        assert!(parse("amqps://h").credentials().is_err());
        assert!(parse("amqp://h").or_credentials("me", "secret").is_err());
        let kept = parse("amqp://me:s%40cret@h").or_credentials("you", "other").unwrap();
        let Credentials { username, password } = kept.credentials().unwrap();
        assert_eq!((username.as_str(), password.as_str()), ("me", "s@cret"));
        #[cfg(feature = "broker")]
        assert_eq!(kept.uri().unwrap().authority.userinfo.password, "s@cret");
        assert!(kept.with_management("http://h:15672").is_ok());
        let safe = parse("amqps://h").or_credentials("me", "secret").unwrap();
        for (url, right) in [
            ("http://h:15671", false),
            ("https://h/", true),
            ("http://127.0.0.1:1", true),
            ("https://me:secret@h", false),
            ("ftp://h", false),
        ] {
            assert_eq!(safe.clone().with_management(url).is_ok(), right, "{url}");
        }
    }
}
