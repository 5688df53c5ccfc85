//! [`Forward`]: a ready-made handler that posts events to an HTTP endpoint, as CloudEvents in structured mode. The body
//! is the envelope byte for byte as it was on the queue, for every payload.
//!
//! | answer | outcome |
//! |---|---|
//! | 2xx | done |
//! | 408, 429, 5xx | retry, after the time in `Retry-After` if the answer has one |
//! | 3xx | reject: redirects are not followed, because most turn a POST into a GET |
//! | other 4xx | reject, with the status as reason |
//! | no answer in time, or no connection | retry |

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::rejection::codes;
use crate::{Delivery, Envelope, Outcome, chain};

/// Longest time for a request, connection and answer included. It is well below the function's timeout, so an endpoint
/// that does not answer delays only its own message.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was idle for longer is not reused: the peer may have dropped it while the function was frozen.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer body that is read and discarded so that the connection can be reused. After a larger body the
/// connection is closed.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#32-structured-content-mode>
const STRUCTURED: HeaderValue = HeaderValue::from_static("application/cloudevents+json; charset=utf-8");

const AGENT: HeaderValue = HeaderValue::from_static(concat!("sluicegate/", env!("CARGO_PKG_VERSION")));

type HttpClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Posts events to one URL over kept-alive connections.
pub struct Forward {
    url: Uri,
    timeout: Duration,
    /// Created on first use, because it reads the system's root certificates.
    client: OnceLock<HttpClient>,
}

/// The URL is not an absolute http(s) URL. The text does not contain the URL, because it may contain a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("FORWARD_URL is not an http:// or https:// URL")]
pub struct UrlError;

/// An event that was not delivered. It is retried; the text and its sources are for the log.
#[derive(Debug, thiserror::Error)]
enum PostError {
    #[error("the system's root certificates cannot be read")]
    Roots(#[source] std::io::Error),
    #[error("the request failed")]
    Request(#[source] hyper_util::client::legacy::Error),
    #[error("no answer in time")]
    Timeout,
}

impl Forward {
    /// Returns a handler that forwards to `url`.
    ///
    /// # Errors
    /// It is not an absolute http(s) URL.
    pub fn to(url: &str) -> Result<Self, UrlError> {
        let url: Uri = url.parse().map_err(|_| UrlError)?;
        match (url.scheme_str(), url.host()) {
            (Some("http" | "https"), Some(host)) if !host.is_empty() => {
                Ok(Self { url, timeout: REQUEST_TIMEOUT, client: OnceLock::new() })
            }
            _ => Err(UrlError),
        }
    }

    /// Turns into a handler for [`ConsumerBuilder::otherwise`](crate::ConsumerBuilder::otherwise) or
    /// [`ConsumerBuilder::on`](crate::ConsumerBuilder::on).
    pub fn into_handler(
        self,
    ) -> impl Fn(Arc<Delivery>) -> Pin<Box<dyn Future<Output = Outcome> + Send>> + Send + Sync + 'static {
        let forward = Arc::new(self);
        move |delivery| {
            let forward = Arc::clone(&forward);
            Box::pin(async move { forward.handle(delivery.envelope()).await })
        }
    }

    /// Posts the event and derives the outcome from the answer.
    pub async fn handle(&self, envelope: &Envelope) -> Outcome {
        let posted = tokio::time::timeout(self.timeout, self.post(envelope)).await;
        match posted.unwrap_or(Err(PostError::Timeout)) {
            Ok(answer) => outcome(answer.status(), answer.headers(), SystemTime::now()),
            Err(error) => {
                tracing::warn!(message_id = envelope.id(), reason = %chain(&error), "not forwarded");
                Outcome::Retry
            }
        }
    }

    async fn post(&self, envelope: &Envelope) -> Result<Response<()>, PostError> {
        let mut request = Request::new(Full::new(Bytes::from(envelope.encode())));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, STRUCTURED);
        headers.insert(USER_AGENT, AGENT);
        for (name, value) in [("traceparent", envelope.traceparent()), ("tracestate", envelope.tracestate())] {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(value).ok()) {
                headers.insert(name, value);
            }
        }
        let (head, body) = self.client()?.request(request).await.map_err(PostError::Request)?.into_parts();
        // The status decides; an error while the body is read does not matter.
        let _ = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        Ok(Response::from_parts(head, ()))
    }

    fn client(&self) -> Result<&HttpClient, PostError> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // The crypto provider is explicit, because rustls panics if two providers are linked and none is chosen.
        let tls = hyper_rustls::HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(PostError::Roots)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .build(tls.https_or_http().enable_http1().build());
        Ok(self.client.get_or_init(|| client))
    }
}

fn outcome(status: StatusCode, headers: &HeaderMap, now: SystemTime) -> Outcome {
    match status.as_u16() {
        200..=299 => Outcome::Done,
        408 | 429 | 500..=599 => match headers.get(RETRY_AFTER).and_then(|value| retry_after(value, now)) {
            Some(delay) => Outcome::RetryAfter(delay),
            None => Outcome::Retry,
        },
        code => Outcome::reject(codes::ENDPOINT_REFUSED, format!("the endpoint answered {code}")),
    }
}

/// Reads seconds, or a date in HTTP's format; a date in the past means at once.
///
/// <https://www.rfc-editor.org/rfc/rfc9110.html#name-retry-after>
fn retry_after(value: &HeaderValue, now: SystemTime) -> Option<Duration> {
    let text = value.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date: SystemTime = OffsetDateTime::parse(text, &Rfc2822).ok()?.into();
    Some(date.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests;
