//! The edge: what API Gateway (HTTP API and REST API), Function URLs and load balancers send, as one [`Arrival`].
//!
//! The shapes are `lambda_http`'s; the conversion is ours, because its own drops repeated REST headers, adds a stage to
//! paths, and panics on bad base64 or an odd `Host`. Nothing here panics or loses a header, and the body is the exact bytes
//! that arrived. An event of another kind is an error of the invocation, which names what is expected.

use std::borrow::Cow;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::HeaderMap;
use lambda_http::aws_lambda_events::{
    alb::AlbTargetGroupRequest,
    apigw::{ApiGatewayProxyRequest, ApiGatewayV2httpRequest},
};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::rejection::{Code, Rejection};

/// An HTTP request as it arrived, whichever service brought it.
#[derive(Debug)]
pub struct Arrival {
    /// The method, upper case.
    pub method: String,
    /// The percent-encoded path.
    pub path: String,
    /// The stage the path may begin with (API Gateway puts a named stage there, unless a custom domain hides it).
    pub stage: Option<String>,
    /// The query string without `?`, percent-encoded.
    pub query: String,
    /// Every header with every value.
    pub headers: HeaderMap,
    /// The exact bytes, or why they cannot be had.
    pub body: Result<Vec<u8>, BodyError>,
    /// The caller's address as the service saw it.
    pub source_ip: Option<String>,
    /// The service's id of this request.
    pub request_id: Option<String>,
    /// Which service brought it: decides the answer's form.
    pub origin: Origin,
}

/// The body said it was base64 and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError;

impl From<BodyError> for Rejection {
    fn from(_: BodyError) -> Self {
        Self::new(Code::BodyEncodingInvalid, "The body is marked as base64 and is not base64.")
    }
}

/// Who brought the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// API Gateway HTTP API or a Function URL: payload format 2.0.
    V2,
    /// API Gateway REST API, or an HTTP API set to payload format 1.0.
    V1,
    /// Application Load Balancer; `multi` says its target group has multi-value headers on.
    Alb {
        /// The answer must then use `multiValueHeaders`.
        multi: bool,
    },
}

/// The event is not an HTTP request.
#[derive(Debug, thiserror::Error)]
#[error("not an event of API Gateway, a Function URL or a load balancer: {0}")]
pub struct EventError(#[from] serde_json::Error);

impl Arrival {
    /// Reads an event.
    ///
    /// # Errors
    /// When the event is none of the four kinds.
    pub fn from_event(event: &RawValue) -> Result<Self, EventError> {
        #[derive(Deserialize)]
        struct Peek {
            version: Option<String>,
            #[serde(rename = "requestContext")]
            context: PeekContext,
        }
        #[derive(Deserialize)]
        struct PeekContext {
            elb: Option<IgnoredAny>,
        }
        let peek: Peek = serde_json::from_str(event.get())?;
        if peek.context.elb.is_some() {
            return Ok(Self::from_alb(serde_json::from_str(event.get())?));
        }
        match peek.version.as_deref() {
            Some("2.0") => Ok(Self::from_v2(serde_json::from_str(event.get())?)),
            _ => Ok(Self::from_v1(serde_json::from_str(event.get())?)),
        }
    }

    fn from_v2(event: ApiGatewayV2httpRequest) -> Self {
        let context = event.request_context;
        Self {
            method: context.http.method.as_str().to_owned(),
            path: encoded(event.raw_path.or(context.http.path).unwrap_or_default()),
            stage: context.stage.filter(|stage| stage != "$default"),
            query: event.raw_query_string.unwrap_or_default(),
            headers: event.headers,
            body: bytes(event.body, event.is_base64_encoded),
            source_ip: context.http.source_ip,
            request_id: context.request_id,
            origin: Origin::V2,
        }
    }

    fn from_v1(event: ApiGatewayProxyRequest) -> Self {
        let context = event.request_context;
        let query = event.multi_value_query_string_parameters;
        let query = if query.is_empty() { event.query_string_parameters } else { query };
        Self {
            method: event.http_method.as_str().to_owned(),
            path: encoded(event.path.unwrap_or_default()),
            stage: context.stage,
            query: join_query(query.iter()),
            headers: merge(event.headers, event.multi_value_headers),
            body: bytes(event.body, event.is_base64_encoded),
            source_ip: context.identity.source_ip,
            request_id: context.request_id,
            origin: Origin::V1,
        }
    }

    fn from_alb(event: AlbTargetGroupRequest) -> Self {
        let multi = !event.multi_value_headers.is_empty();
        let headers = merge(event.headers, event.multi_value_headers);
        let query = event.multi_value_query_string_parameters;
        let query = if query.is_empty() { event.query_string_parameters } else { query };
        // A load balancer passes the query as it came, percent-encoded (FACTS: "query strings are NOT url-decoded").
        let query = query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let source_ip = headers
            .get("x-forwarded-for")
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.rsplit(',').next())
            .map(|value| value.trim().to_owned());
        Self {
            method: event.http_method.as_str().to_owned(),
            path: event.path.unwrap_or_default(),
            stage: None,
            query,
            request_id: headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok()).map(str::to_owned),
            headers,
            body: bytes(event.body, event.is_base64_encoded),
            source_ip,
            origin: Origin::Alb { multi },
        }
    }

    /// The path without its stage, when it begins with it.
    #[must_use]
    pub fn unstaged_path(&self) -> Option<&str> {
        let rest = self.path.strip_prefix('/')?.strip_prefix(self.stage.as_deref()?)?;
        rest.starts_with('/').then_some(rest)
    }

    /// A header's value when it was sent once (or joined by the gateway) and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
    }

    /// The first query parameter of that name, decoded.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (form_decoded(key)? == name).then(|| form_decoded(value))?
        })
    }
}

/// API Gateway hands the path over decoded; a literal `%` must not be decoded a second time.
fn encoded(path: String) -> String {
    if path.contains('%') { path.replace('%', "%25") } else { path }
}

fn form_decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

fn join_query<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode as encode};
    pairs
        .map(|(name, value)| format!("{}={}", encode(name, NON_ALPHANUMERIC), encode(value, NON_ALPHANUMERIC)))
        .collect::<Vec<_>>()
        .join("&")
}

/// Every value of the multi-value map, and those headers that only the single-value map has.
fn merge(single: HeaderMap, mut multi: HeaderMap) -> HeaderMap {
    for (name, value) in &single {
        if !multi.contains_key(name) {
            multi.append(name, value.clone());
        }
    }
    multi
}

fn bytes(body: Option<String>, is_base64: bool) -> Result<Vec<u8>, BodyError> {
    match body {
        None => Ok(Vec::new()),
        Some(text) if is_base64 => BASE64_STANDARD.decode(text).map_err(|_| BodyError),
        Some(text) => Ok(text.into_bytes()),
    }
}
