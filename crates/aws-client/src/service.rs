//! [`AwsService`]: calls of one AWS service that speaks AWS JSON, without the SDK's orchestrator.
//!
//! The SDK's orchestrator is three quarters of what a request of the ingress costs. A function that makes one kind of
//! call does not need its interceptors, its type-erased configuration and its endpoint rules. Signing is the SDK's
//! (aws-sigv4); timeouts, retries, their budget and the correction of a wrong clock follow its standard mode.
//!
//! What the SDK has and this does not: credentials from profiles, STS, SSO or containers (a function has them in its
//! environment), FIPS and dual-stack endpoints by setting (an endpoint can be set), HTTP/2, proxies, happy eyeballs,
//! `amz-sdk-*` headers and the SDK's user agent.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::Instant;

use crate::chain;
use crate::endpoint::Endpoint;
use crate::environment::{AwsEnvironment, Service};
use crate::progress::Progress;
use crate::retry::is_throttling;
use crate::signer::Signer;

/// Largest answer that is read. The longest expected is a secret of 64 KiB.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

const DATE_HEADER: HeaderName = HeaderName::from_static("x-amz-date");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");
const RETRY_AFTER: HeaderName = HeaderName::from_static("x-amz-retry-after");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TRACE: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// A client of one service.
pub struct AwsService {
    endpoint: Endpoint,
    uri: Uri,
    /// The headers of every request.
    headers: HeaderMap,
    signer: Signer,
}

/// A call without a result; the last attempt's error.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The service answered with an error.
    #[error("{}", answer_text(*.status, .code.as_deref(), .message.as_deref()))]
    Answered {
        /// The HTTP status.
        status: u16,
        /// The code, in the spelling of the query protocol if the service sends that.
        code: Option<String>,
        /// The text of the service.
        message: Option<String>,
        /// The wait that the service asks for.
        retry_after: Option<Duration>,
        /// The whole answer, because some errors have more than a text.
        body: Bytes,
        /// The signature was refused, and the clocks differ.
        is_clock_skew: bool,
    },
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The deadline of the call has passed.
    #[error("no answer before the deadline")]
    Deadline,
    /// There is no connection, or it broke.
    #[error("{0}")]
    Connection(String),
    /// The request cannot be made.
    #[error("{0}")]
    Request(String),
}

impl CallError {
    /// Returns whether the service has answered that it did not do what it was asked.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Answered { status, code, .. } => {
                (400..500).contains(status) || code.as_deref().is_some_and(is_throttling)
            }
            _ => false,
        }
    }
}

fn answer_text(status: u16, code: Option<&str>, message: Option<&str>) -> String {
    match (code, message) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => format!("the answer has the status {status} and no error code"),
    }
}

impl AwsService {
    /// Creates a client without calling the service. For an https endpoint it reads the root certificates, unless a
    /// client of the same environment has: create it at init, where Lambda provides a full CPU.
    #[must_use]
    pub fn new(environment: &AwsEnvironment, service: Service) -> Self {
        let endpoint = Endpoint::new(environment.endpoint_url(service), environment, environment.attempt_timeout);
        let (host, path) = (endpoint.host.clone(), endpoint.path.as_str());
        let mut headers = HeaderMap::with_capacity(16);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(service.content_type()));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("sluicegate/", env!("CARGO_PKG_VERSION"))));
        headers.extend(HeaderValue::try_from(&host).map(|host| (HOST, host)));
        let (credentials, region) = (environment.credentials().clone(), environment.region().to_owned());
        let signer = Signer::new(credentials, region, service.name(), service.content_type(), host, path);
        headers.extend(secret(signer.session_token()).map(|token| (SECURITY_TOKEN, token)));
        Self { uri: path.parse().unwrap_or_default(), endpoint, headers, signer }
    }

    /// Opens a connection for the first call, which otherwise waits for TCP and TLS. Connect at init, where Lambda
    /// provides a full CPU. Waits for at most [`CONNECT_TIMEOUT`](crate::http_client::CONNECT_TIMEOUT).
    ///
    /// # Errors
    /// There is no connection.
    pub async fn connect(&self) -> Result<(), CallError> {
        self.endpoint.connect().await
    }

    /// Calls an operation with a JSON document and returns that of the answer, retrying what may pass, but not past
    /// `deadline`.
    ///
    /// # Errors
    /// That of the last attempt, or that the deadline has passed. `progress` says whether any attempt can have been
    /// carried out.
    pub async fn call(
        &self,
        target: &'static str,
        body: impl Into<Bytes>,
        trace_header: Option<&str>,
        deadline: Instant,
        progress: &Progress,
    ) -> Result<Bytes, CallError> {
        let body = body.into();
        self.endpoint.call(deadline, progress, || self.attempt(target, &body, trace_header, progress)).await
    }

    /// Calls an operation once, for a write that must not be carried out twice. It is not tried again after any error.
    ///
    /// # Errors
    /// That of the attempt, or that the deadline has passed.
    pub async fn call_once(
        &self,
        target: &'static str,
        body: impl Into<Bytes>,
        deadline: Instant,
    ) -> Result<Bytes, CallError> {
        let (body, progress) = (body.into(), Progress::default());
        self.endpoint.call_once(deadline, self.attempt(target, &body, None, &progress)).await
    }

    async fn attempt(
        &self,
        target: &'static str,
        body: &Bytes,
        trace_header: Option<&str>,
        progress: &Progress,
    ) -> Result<Bytes, CallError> {
        let sent = SystemTime::now();
        let request = self.request(target, body, trace_header, sent)?;
        let (answer, lease) = self.endpoint.send(request, progress).await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| CallError::Connection(chain(error.as_ref())))?.to_bytes();
        lease.release();
        if head.status.is_success() {
            Ok(body)
        } else {
            Err(self.error(head.status.as_u16(), &head.headers, body, sent))
        }
    }

    fn request(
        &self,
        target: &'static str,
        body: &Bytes,
        trace_header: Option<&str>,
        now: SystemTime,
    ) -> Result<Request<Full<Bytes>>, CallError> {
        let signed = self.signer.sign(target, body, self.endpoint.clock.of_service(now));
        let unfit = |error: http::header::InvalidHeaderValue| CallError::Request(chain(&error));
        let mut request = Request::new(Full::new(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(TARGET, HeaderValue::from_static(target));
        headers.insert(DATE_HEADER, HeaderValue::try_from(signed.date).map_err(unfit)?);
        headers.insert(AUTHORIZATION, HeaderValue::try_from(signed.authorization).map_err(unfit)?);
        // As the SDK does on Lambda, so that X-Ray and the detection of recursive calls see the chain.
        headers.extend(trace_header.and_then(|trace| HeaderValue::from_str(trace).ok()).map(|trace| (TRACE, trace)));
        Ok(request)
    }

    /// Reads the error of an answer. Corrects the clock if that explains it.
    fn error(&self, status: u16, headers: &HeaderMap, body: Bytes, sent: SystemTime) -> CallError {
        #[derive(serde::Deserialize)]
        struct Document {
            code: Option<String>,
            #[serde(rename = "__type")]
            kind: Option<String>,
            #[serde(alias = "Message", alias = "errorMessage")]
            message: Option<String>,
        }
        let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let (written, message) = match serde_json::from_slice::<Document>(&body) {
            Ok(document) => (document.code.or(document.kind), document.message),
            Err(_) => (None, None),
        };
        let code = match text(&QUERY_ERROR).and_then(|error| error.split_once(';')) {
            Some((code, _)) => Some(code.to_owned()),
            None => text(&ERROR_TYPE).or(written.as_deref()).map(|code| bare(code).to_owned()),
        };
        let retry_after = text(&RETRY_AFTER).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let is_clock_skew = self.endpoint.clock.explains(code.as_deref(), text(&DATE), sent);
        CallError::Answered { status, code, message, retry_after, body, is_clock_skew }
    }
}

/// Returns a code without its namespace and URL: `com.amazonaws.sqs#Name:http://…` is `Name`.
fn bare(code: &str) -> &str {
    let code = code.split_once(':').map_or(code, |(code, _)| code);
    code.split_once('#').map_or(code, |(_, name)| name)
}

/// Returns a header value that is not shown by `Debug`.
pub(crate) fn secret(text: Option<&str>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text?).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl std::fmt::Debug for AwsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsService").field("uri", &self.uri).finish_non_exhaustive()
    }
}
