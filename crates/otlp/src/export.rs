//! [`Exporter`]: posts spans to a receiver.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use sluicegate_aws_client::http_client::{ConnectionError, Connections, tls_config};
use sluicegate_queue::breaker::{Breaker, BreakerLimits};
use tokio::time::{Instant, timeout_at};

use crate::{Span, json};

/// The most spans of one request: what the batch processor of the specification sends
/// (`OTEL_BSP_MAX_EXPORT_BATCH_SIZE`). With 128 links each it has about 8 MB.
///
/// <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/#batch-span-processor>
const SPANS_MAX: usize = 512;

/// A receiver that does not answer costs three invocations its timeout, and then one in half a minute at most.
pub(crate) const LIMITS: BreakerLimits =
    BreakerLimits { failures_max: 3, open_initial: Duration::from_secs(2), open_max: Duration::from_secs(30) };

/// Largest answer that is read. An `ExportTraceServiceResponse` has one number and one text.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The connections to a receiver, and what every request has.
pub(crate) struct Exporter {
    connections: Connections,
    path: Uri,
    headers: HeaderMap,
    timeout: Duration,
    resource: Vec<(String, String)>,
    breaker: Breaker,
}

/// The reason why spans were not accepted.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("no answer in time")]
    Timeout,
    #[error("the answer has the status {0}")]
    Status(u16),
    #[error("the answer cannot be read: {0}")]
    Answer(Box<dyn std::error::Error + Send + Sync>),
}

impl Exporter {
    pub(crate) fn new(
        endpoint: Uri,
        set: Vec<(HeaderName, HeaderValue)>,
        timeout: Duration,
        resource: Vec<(String, String)>,
    ) -> Result<Self, ConnectionError> {
        let connections = Connections::new(&endpoint, tls_config)?;
        let path = endpoint.path_and_query().map_or_else(Uri::default, |path| Uri::from(path.clone()));
        let mut headers = HeaderMap::from_iter(set);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluicegate/", env!("CARGO_PKG_VERSION"))));
        let authority = endpoint.authority().map(|authority| HeaderValue::from_str(authority.as_str()));
        headers.extend(authority.and_then(Result::ok).map(|host| (HOST, host)));
        Ok(Self { connections, path, headers, timeout, resource, breaker: Breaker::new(LIMITS) })
    }

    pub(crate) async fn export(&self, mut spans: Vec<Span>, deadline: Instant) {
        spans.retain(Span::is_sampled);
        if spans.is_empty() {
            return;
        }
        let Ok(permit) = self.breaker.permit() else { return };
        let deadline = deadline.min(Instant::now() + self.timeout);
        let posted = timeout_at(deadline, async {
            for some in spans.chunks(SPANS_MAX) {
                self.post(some).await?;
            }
            Ok(())
        });
        match posted.await.unwrap_or(Err(ExportError::Timeout)) {
            Ok(()) => {
                if permit.succeeded() {
                    tracing::info!("spans are exported again");
                }
            }
            Err(error) => {
                tracing::warn!(reason = %error, spans = spans.len(), "spans are not exported");
                if permit.failed() {
                    tracing::warn!("no spans are exported until the endpoint of OTLP answers again");
                }
            }
        }
    }

    /// Returns whether exports go on.
    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.breaker.permit().is_ok()
    }

    async fn post(&self, spans: &[Span]) -> Result<(), ExportError> {
        let mut request = Request::new(Full::new(Bytes::from(json::request(&self.resource, spans))));
        *request.method_mut() = Method::POST;
        request.uri_mut().clone_from(&self.path);
        request.headers_mut().clone_from(&self.headers);
        let (answer, lease) = self.connections.send(request, &AtomicBool::default()).await?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(ExportError::Answer)?.to_bytes();
        lease.release();
        if !status.is_success() {
            return Err(ExportError::Status(status.as_u16()));
        }
        if let Some(rejected) = rejected(&body) {
            tracing::warn!(rejected, spans = spans.len(), "the receiver accepted not all spans");
        }
        Ok(())
    }
}

/// Returns how many spans an answer rejects, if any.
///
/// <https://opentelemetry.io/docs/specs/otlp/#partial-success-1>
fn rejected(answer: &[u8]) -> Option<String> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    // A 64-bit integer, which the encoding writes as text.
    let spans = &answer["partialSuccess"]["rejectedSpans"];
    let spans = spans.as_str().map_or_else(|| spans.to_string(), str::to_owned);
    (spans != "0" && spans != "null").then_some(spans)
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("path", &self.path).finish_non_exhaustive()
    }
}
