//! GET over https with the HTTP client of the AWS SDK, which a function has anyway.
//!
//! The callers have checked the URL. A redirect is not followed, an answer other than 200 is an error, the body has a
//! limit and the whole exchange a time limit. The client is made for the first GET, so a function without one does not
//! pay for it. No connection is kept: GETs are hours apart, and a kept one could be dead after a freeze.

use std::{sync::OnceLock, time::Duration};

use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{http::HttpConnector, orchestrator::HttpRequest};
use aws_smithy_types::byte_stream::ByteStream;

/// A client for rare GETs.
#[derive(Default)]
pub(crate) struct HttpsGet {
    connector: OnceLock<Connector>,
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
        Self { connector: OnceLock::new(), endpoint: Some(endpoint) }
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
        let unavailable = |error: &dyn std::error::Error| GetError::Unavailable(causes(error));
        let refused = |reason: String| GetError::Refused(reason);
        let url = match (&self.endpoint, url.strip_prefix("https://")) {
            (None, Some(_)) => url.to_owned(),
            (Some(endpoint), Some(rest)) => format!("{endpoint}{}", rest.find('/').map_or("", |at| &rest[at..])),
            (_, None) => return Err(refused("not an https URL".to_owned())),
        };
        let request = HttpRequest::get(&url).map_err(|error| refused(causes(&error)))?;
        let connector = self.connector.get_or_init(|| {
            Connector::builder().tls_provider(Provider::Rustls(CryptoMode::Ring)).pool_max_idle_per_host(0).build()
        });
        let mut answer = connector.call(request).await.map_err(|error| unavailable(&error))?;
        match answer.status().as_u16() {
            200 => {}
            status @ (429 | 500..) => return Err(GetError::Unavailable(format!("status {status}"))),
            status => return Err(refused(format!("status {status}"))),
        }
        let (mut body, mut bytes) = (ByteStream::new(answer.take_body()), Vec::new());
        while let Some(part) = body.try_next().await.map_err(|error| unavailable(&error))? {
            if bytes.len() + part.len() > bytes_max {
                return Err(refused(format!("more than {bytes_max} bytes")));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes)
    }
}

/// Returns an error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}
