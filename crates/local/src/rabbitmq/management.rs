//! The management API of a RabbitMQ broker, as far as the local stack and the tests need it.
//!
//! Plain HTTP with user and password; answers are JSON. What cannot be had is an error with a reason, never a guess.
//! <https://www.rabbitmq.com/docs/management#http-api>

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

/// How long an answer may take.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);
/// A list of some thousand connections stays below this.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Everything but what never needs encoding in a URL.
pub(super) const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The management API refused, or did not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the management API at {url}: {reason}")]
pub struct ManagementError {
    /// What was asked, without credentials.
    pub url: String,
    /// The status of an answer that is an error.
    pub status: Option<u16>,
    /// What came of it.
    pub reason: String,
}

/// A client. Clones share its connections.
#[derive(Clone)]
pub struct Management {
    base_url: String,
    authorization: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Management {
    /// The API below `base_url`, such as `http://127.0.0.1:15672`; it connects to nothing yet.
    #[must_use]
    pub fn new(base_url: &str, user: &str, password: &str) -> Self {
        Self {
            base_url: base_url.trim_end_matches('/').to_owned(),
            authorization: format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))),
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.base_url
    }

    /// What is at `path`, a list of segments below `/api` that are encoded here.
    ///
    /// # Errors
    /// No answer, one that is no success, or one that is not JSON.
    pub async fn get(&self, path: &[&str]) -> Result<Value, ManagementError> {
        self.call(Method::GET, path, None).await
    }

    /// Creates or replaces what is at `path`.
    ///
    /// # Errors
    /// See [`Management::get`].
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        self.call(Method::PUT, path, Some(body)).await.map(drop)
    }

    /// Posts `body` and gives the answer.
    ///
    /// # Errors
    /// See [`Management::get`].
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value, ManagementError> {
        self.call(Method::POST, path, Some(body)).await
    }

    /// Deletes what is at `path`; fine if it is not there.
    ///
    /// # Errors
    /// See [`Management::get`].
    pub async fn delete(&self, path: &[&str]) -> Result<(), ManagementError> {
        match self.call(Method::DELETE, path, None).await {
            Err(error) if error.status == Some(404) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn call(&self, method: Method, path: &[&str], body: Option<&Value>) -> Result<Value, ManagementError> {
        let path: String = path.iter().map(|segment| format!("/{}", utf8_percent_encode(segment, ENCODED))).collect();
        let url = format!("{}/api{path}", self.base_url);
        let fail = |status: Option<StatusCode>, reason: String| ManagementError {
            url: url.clone(),
            status: status.map(|status| status.as_u16()),
            reason,
        };
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header(header::AUTHORIZATION, &self.authorization)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::<Bytes>::from(body.map(Value::to_string).unwrap_or_default()))
            .map_err(|error| fail(None, error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| fail(None, chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| fail(Some(status), error.to_string()))?.to_bytes();
            if !status.is_success() {
                return Err(fail(Some(status), format!("{status}: {}", String::from_utf8_lossy(&body))));
            }
            if body.is_empty() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&body).map_err(|error| fail(Some(status), format!("not JSON: {error}")))
        };
        let answer = tokio::time::timeout(CALL_TIME_MAX, exchange).await;
        answer.unwrap_or_else(|_| Err(fail(None, format!("no answer within {} s", CALL_TIME_MAX.as_secs()))))
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
