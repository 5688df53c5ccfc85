//! GET over https.
//!
//! The callers have checked the URL. A redirect is not followed, an answer other than 200 is an error, the body has a
//! limit and the whole exchange a time limit. TLS is configured for the first GET, so a function without one does not
//! pay for it. No connection is kept: GETs are hours apart, and a kept one could be dead after a freeze.

use std::{
    sync::{Arc, OnceLock, atomic::AtomicBool},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Uri, header::HOST};
use http_body_util::{BodyExt, Full, Limited};
use sluicegate_aws_client::http_client::{ClientConfig, ConnectionError, Connections, TlsError, tls_config};
use sluicegate_queue::chain;

/// A client for rare GETs.
#[derive(Default)]
pub(crate) struct HttpsGet {
    tls: OnceLock<Arc<ClientConfig>>,
    /// For tests: the server that answers in place of every host.
    endpoint: Option<String>,
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
    /// Returns a client that sends every request to this server, without TLS.
    pub(crate) fn to(endpoint: String) -> Self {
        Self { tls: OnceLock::new(), endpoint: Some(endpoint) }
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
        let url = match (&self.endpoint, url.strip_prefix("https://")) {
            (None, Some(_)) => url.to_owned(),
            (Some(endpoint), Some(rest)) => format!("{endpoint}{}", rest.find('/').map_or("", |at| &rest[at..])),
            (_, None) => return Err(refused("not an https URL".to_owned())),
        };
        let url: Uri = url.parse().map_err(|error: http::uri::InvalidUri| refused(chain(&error)))?;
        let connections = Connections::new(&url, || self.tls()).map_err(|error| unavailable(&error))?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let host = url.authority().map_or("", |authority| authority.as_str());
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
