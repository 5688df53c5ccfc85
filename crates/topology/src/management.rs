//! A client of RabbitMQ's management API, over HTTP or HTTPS, with JSON answers.
//!
//! A failed request is an error with a reason. No text contains the password.
//! <https://www.rabbitmq.com/docs/management#http-api>

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluicegate_queue::broker_url::{Credentials, is_loopback};
use ureq::Agent;
use ureq::http::{Method, Request, StatusCode, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use crate::address::{Address, AddressError, ManagementEndpoint};

/// Longest wait for one answer: lists of thousands of queues take seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for a connection. A private broker's port is often dropped silently.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The management API refused, or did not answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the management API at {url}: {reason}")]
pub struct ManagementError {
    /// The requested URL, without credentials.
    pub url: String,
    /// The status of the answer; `None` if there was none.
    pub status: Option<u16>,
    /// The reason of the failure.
    pub reason: String,
}

impl Address {
    /// Returns a client of the management API; `None` if it is disabled, or has no derivable URL.
    ///
    /// # Errors
    /// There are no credentials.
    pub fn management(&self) -> Result<Option<Management>, AddressError> {
        let (ManagementEndpoint::Given(url) | ManagementEndpoint::Derived(url)) = &self.management else {
            return Ok(None);
        };
        let Credentials { username, password } = self.credentials()?;
        Ok(Some(Management::at(url, &username, &password)))
    }
}

/// A client. Clones share its connections.
#[derive(Clone)]
pub struct Management {
    agent: Agent,
    url: String,
    authorization: String,
}

impl Management {
    /// Returns the API at this `http://` or `https://` URL; nothing is connected yet. With TLS, the certificate
    /// authorities are those of the machine, or of `SSL_CERT_FILE`, as for AMQP.
    #[must_use]
    pub fn at(url: &str, user: &str, password: &str) -> Self {
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            // A redirect would send the password to another address.
            .max_redirects(0)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(ANSWER_TIMEOUT));
        if url.parse::<Uri>().is_ok_and(|uri| uri.host().is_some_and(is_loopback)) {
            // A proxy from the environment cannot reach a loopback host.
            config = config.proxy(None);
        }
        if url.starts_with("https://") {
            let found = rustls_native_certs::load_native_certs().certs;
            let certificates = found.iter().map(|certificate| Certificate::from_der(certificate).to_owned());
            let roots = RootCerts::Specific(Arc::new(certificates.collect()));
            config = config.tls_config(TlsConfig::builder().root_certs(roots).build());
        }
        Self {
            agent: config.build().new_agent(),
            url: url.trim_end_matches('/').to_owned(),
            authorization: format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))),
        }
    }

    /// Returns its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the resource at `path`, segments below `/api` that are encoded here. The query, such as `columns=name`,
    /// is sent as it is.
    ///
    /// # Errors
    /// No answer within 30 s, one of more than 256 MiB, one without success, or not the expected JSON.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &str) -> Result<T, ManagementError> {
        self.call(Method::GET, path, query, None).await
    }

    /// Creates or replaces the resource at `path`.
    ///
    /// # Errors
    /// See [`Management::get`].
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<(), ManagementError> {
        self.call(Method::PUT, path, "", Some(body)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &[&str],
        query: &str,
        body: Option<&Value>,
    ) -> Result<T, ManagementError> {
        let path: String = path.iter().map(|segment| format!("/{}", encode(segment))).collect();
        let url = format!("{}/api{path}", self.url);
        let request = Request::builder()
            .method(method)
            .uri(if query.is_empty() { url.clone() } else { format!("{url}?{query}") })
            .header("authorization", &self.authorization)
            .header("content-type", "application/json")
            .body(body.map(Value::to_string).unwrap_or_default());
        let agent = self.agent.clone();
        let exchange = move || {
            let mut answer = agent.run(request?)?;
            let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
            Ok::<_, ureq::Error>((answer.status(), body))
        };
        let fail = |status: Option<StatusCode>, reason| ManagementError {
            url,
            status: status.map(|status| status.as_u16()),
            reason,
        };
        let (status, body) = match tokio::task::spawn_blocking(exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(fail(None, error.to_string())),
            Err(error) => return Err(fail(None, error.to_string())),
        };
        if !status.is_success() {
            return Err(fail(Some(status), refusal(status, &body)));
        }
        // A successful PUT is answered without a body.
        let json = if body.is_empty() { b"null" } else { body.as_slice() };
        serde_json::from_slice(json)
            .map_err(|error| fail(Some(status), format!("the answer is not from the management API: {error}")))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let reason: Value = serde_json::from_slice(body).unwrap_or_default();
    let reason = reason["reason"].as_str().unwrap_or_default();
    match status {
        StatusCode::UNAUTHORIZED => format!(
            "{status} {reason}: wrong credentials, or the user lacks the tag `management` (`policymaker` for policies, \
             `administrator` for tracing)"
        ),
        _ => format!("{status} {reason}"),
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
