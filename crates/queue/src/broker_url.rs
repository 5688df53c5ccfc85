//! The URL of a RabbitMQ broker. No text made of it contains the password, except the password itself.

use std::{fmt, net::IpAddr};

use percent_encoding::percent_decode_str;

/// Default seconds between heartbeats. A Network Load Balancer or a NAT gateway drops a connection after 350 s without
/// traffic (<https://docs.aws.amazon.com/elasticloadbalancing/latest/network/update-idle-timeout.html>).
pub const HEARTBEAT_S: u16 = 60;

/// Longest accepted heartbeat, in seconds: two fit into 350 s.
pub const HEARTBEAT_S_MAX: u16 = 170;

/// A broker's URL: `amqps://[USERNAME:PASSWORD@]HOST[:5671][/VHOST][?heartbeat=SECONDS]`, or `amqp://` without TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerUrl {
    /// The connection is encrypted.
    pub tls: bool,
    /// The host, an IPv6 address without its brackets.
    pub host: String,
    /// The port; 5671 with TLS and 5672 without by default.
    pub port: u16,
    /// The virtual host, decoded; `/` by default.
    pub vhost: String,
    /// The seconds between heartbeats.
    pub heartbeat_s: u16,
    /// The user, if the URL names one.
    pub credentials: Option<Credentials>,
}

/// A user name and a password. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password, empty if the URL has none.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl BrokerUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// The reason, which contains no part of the URL.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
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
        let vhost = match decode(vhost)? {
            // An endpoint that was copied with its final slash.
            empty if empty.is_empty() => "/".to_owned(),
            vhost => vhost,
        };
        let mut heartbeat_s = HEARTBEAT_S;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some(value) = pair.strip_prefix("heartbeat=") else {
                return Err("has a parameter other than heartbeat");
            };
            let within = value.parse().ok().filter(|value| (1..=HEARTBEAT_S_MAX).contains(value));
            heartbeat_s = within.ok_or("has a heartbeat that is not a number of seconds from 1 to 170")?;
        }
        Ok(Self { tls, host: host.to_owned(), port, vhost, heartbeat_s, credentials })
    }
}

fn decode(text: &str) -> Result<String, &'static str> {
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| "is not percent-encoded UTF-8")?;
    if decoded.len() > 255 { Err("has a part of more than 255 bytes") } else { Ok(decoded.into_owned()) }
}

/// Returns whether a host is the machine itself.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parsed<'a> = (&'a str, u16, &'a str, u16, Option<(&'a str, &'a str)>);

    fn check(url: &str, expected: Result<Parsed<'_>, &str>) {
        let parsed = BrokerUrl::parse(url);
        let shown = parsed.as_ref().map_err(|reason| *reason).map(|address| {
            let user = address.credentials.as_ref().map(|user| (user.username.as_str(), user.password.as_str()));
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
        ] {
            check(url, Err(reason));
        }
    }
}
