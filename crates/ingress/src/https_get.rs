//! GET over https.
//!
//! The callers have checked the URL. A redirect is not followed, an answer other than 200 is an error, the body has a
//! limit and the whole exchange a time limit. TLS is configured for the first GET, so a function without one does not
//! pay for it. No connection is kept: GETs are hours apart, and a kept one could be dead after a freeze.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
#[cfg(feature = "in-process")]
use sluicegate_aws_client::http_client::Dialer;
use sluicegate_aws_client::http_client::{ClientConfig, ConnectionError, Connections, TlsError, tls_config};
use sluicegate_queue::chain;

/// A client for rare GETs.
#[derive(Default)]
pub(crate) struct HttpsGet {
    tls: OnceLock<Arc<ClientConfig>>,
    /// The servers that answer in place of hosts, without TLS.
    endpoints: Endpoints,
    /// Opens the streams, in place of TCP.
    #[cfg(feature = "in-process")]
    dialer: Option<Dialer>,
}

/// The servers that answer in place of hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Endpoints {
    /// Each host answers itself.
    #[default]
    None,
    /// For tests: this server answers in place of every host.
    All(String),
    /// For a local stack: the servers of these hosts.
    Of(BTreeMap<String, String>),
}

impl Endpoints {
    /// Parses `host=http://127.0.0.1:3001` for each host, with spaces between them. Only a server on this machine is
    /// accepted, because there is no TLS.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parse = |entry: &str| {
            let (host, url) = entry.split_once('=')?;
            let is_local = url.strip_prefix("http://127.0.0.1:").is_some_and(|port| port.parse::<u16>().is_ok());
            is_local.then(|| (host.to_owned(), url.to_owned()))
        };
        text.split_ascii_whitespace().map(parse).collect::<Option<_>>().map(Self::Of)
    }

    /// Returns the server of a host, if it is another.
    fn of(&self, host: &str) -> Option<&str> {
        match self {
            Self::None => None,
            Self::All(endpoint) => Some(endpoint),
            Self::Of(hosts) => hosts.get(host).map(String::as_str),
        }
    }
}

/// The reason why a URL cannot be read; the text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GetError {
    /// The server did not answer, or not now: another attempt may succeed.
    #[error("{0}")]
    Unavailable(String),
    /// The server has no such file, or one that is not accepted.
    #[error("{0}")]
    Refused(String),
}

impl HttpsGet {
    /// Returns a client that sends the requests for some hosts to other servers, without TLS.
    pub(crate) fn to(endpoints: Endpoints) -> Self {
        Self { endpoints, ..Self::default() }
    }

    /// Returns a client of a peer in this process, which answers in place of every host, without TLS.
    #[cfg(feature = "in-process")]
    pub(crate) fn in_process(dialer: Dialer) -> Self {
        Self { dialer: Some(dialer), ..Self::to(Endpoints::All("http://in-process".to_owned())) }
    }

    /// Returns the body of a URL.
    ///
    /// # Errors
    /// [`GetError`]: no answer in time, a status other than 200, or more than `bytes_max` bytes.
    pub(crate) async fn get(&self, url: &str, bytes_max: usize, timeout: Duration) -> Result<Vec<u8>, GetError> {
        let unavailable = |reason: &dyn std::fmt::Display| GetError::Unavailable(reason.to_string());
        let answer = tokio::time::timeout(timeout, self.exchange(url, bytes_max)).await;
        answer.unwrap_or_else(|_| Err(unavailable(&format_args!("no answer within {} ms", timeout.as_millis()))))
    }

    async fn exchange(&self, url: &str, bytes_max: usize) -> Result<Vec<u8>, GetError> {
        let unavailable = |error: &ConnectionError| GetError::Unavailable(chain(error));
        let refused = |reason: String| GetError::Refused(reason);
        let Some(rest) = url.strip_prefix("https://") else { return Err(refused("not an https URL".to_owned())) };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let url = match self.endpoints.of(host) {
            None => url.to_owned(),
            Some(endpoint) => format!("{endpoint}{path}"),
        };
        let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| refused(chain(&error)))?;
        let connections = Connections::new(&url, || self.tls()).map_err(|error| unavailable(&error))?;
        #[cfg(feature = "in-process")]
        let connections = connections.with_dialer(self.dialer.clone());
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request = Request::get(path).header(HOST, host).body(Full::<Bytes>::default());
        let request = request.map_err(|error| refused(chain(&error)))?;
        let sent = connections.send(request, &AtomicBool::default()).await;
        // Dropped at the end, which closes the connection.
        let (answer, _connection) = sent.map_err(|error| unavailable(&error))?;
        match answer.status().as_u16() {
            200 => {}
            status @ (429 | 500..) => return Err(GetError::Unavailable(format!("status {status}"))),
            status => return Err(refused(format!("status {status}"))),
        }
        match Limited::new(answer.into_body(), bytes_max).collect().await {
            Ok(body) => Ok(body.to_bytes().into()),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                Err(refused(format!("more than {bytes_max} bytes")))
            }
            Err(error) => Err(GetError::Unavailable(chain(error.as_ref()))),
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(tls) = self.tls.get() {
            return Ok(Arc::clone(tls));
        }
        let tls = tls_config()?;
        Ok(Arc::clone(self.tls.get_or_init(|| tls)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_on_this_machine_stands_in_for_a_host() {
        let hosts = Endpoints::parse("a.example.com=http://127.0.0.1:3001 b=http://127.0.0.1:1").unwrap();
        assert_eq!(hosts.of("a.example.com"), Some("http://127.0.0.1:3001"));
        assert_eq!((hosts.of("b"), hosts.of("c")), (Some("http://127.0.0.1:1"), None));
        for text in [
            "a",
            "a=https://127.0.0.1:1",
            "a=http://127.0.0.1",
            "a=http://127.0.0.1:1/keys",
            "a=http://127.0.0.1:1@evil.example.com",
            "a=http://evil.example.com:1",
            "a=http://127.0.0.1:1 b",
        ] {
            assert_eq!(Endpoints::parse(text), None, "{text}");
        }
    }
}
