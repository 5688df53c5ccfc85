//! One exchange with a client: request, invocation of the route's function, answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, StatusCode, Version, header, request::Parts, uri::Authority};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use sluicegate_lambda_emulator::{Function, Invocation};
use time::OffsetDateTime;
use tokio::time::{Instant, timeout};

use super::{
    answer::answer,
    authorizer::Authorizer,
    event::{self, GatewayContext, event},
    routes::{RouteMatch, RouteTable},
};

/// Largest request line and headers together, in bytes.
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
pub const HEAD_BYTES_MAX: usize = 10_240;
/// Largest body of a request, in bytes. Same page.
pub const PAYLOAD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Largest event as JSON, and largest answer, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const INVOKE_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Limits for receiving a request; the connection is closed after them.
///
/// API Gateway publishes neither. The defaults are its longest integration timeout, which limits the whole exchange
/// there.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the request line and the headers, and for the next request of a kept-alive connection.
    pub head: Duration,
    /// For the body; a slower client gets a 408.
    pub body: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), body: Duration::from_secs(30) }
    }
}

/// The target of a route.
#[derive(Clone)]
pub(crate) struct Integration {
    /// The function to invoke.
    pub function: Function,
    /// Limit for the invocation, besides the function's timeout.
    pub timeout: Duration,
    /// What checks the token of a request.
    pub authorizer: Option<Authorizer>,
}

/// A request and its answer.
#[derive(Debug)]
pub struct HttpExchange<'a> {
    /// The method, as sent.
    pub method: &'a Method,
    /// The path, as sent, without the query.
    pub path: &'a str,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body.
    pub body: &'a Bytes,
    /// The time of arrival.
    pub at: OffsetDateTime,
    /// The time from the request's head to the answer.
    pub took: Duration,
    /// The request's id.
    pub request_id: &'a str,
    /// The event that the request became; of one that the gateway refused, without the body.
    pub event: &'a Bytes,
}

/// Receives every answered request.
pub(crate) type ExchangeObserver = Arc<dyn Fn(&HttpExchange<'_>) + Send + Sync>;

pub(super) struct Gateway {
    pub(super) routes: RouteTable<Integration>,
    pub(super) observer: ExchangeObserver,
    pub(super) port: u16,
    pub(super) patience: Patience,
}

impl Gateway {
    pub(super) async fn exchange(&self, request: http::Request<Incoming>) -> http::Response<Full<Bytes>> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let arrival = GatewayContext::now(self.port, &parts.headers);
        let mut sent = None;
        let mut answer = match self.invoke(&parts, body, &arrival, &mut sent).await {
            Ok(answer) | Err(answer) => answer,
        };
        let event = sent.unwrap_or_else(|| event_without_body(&parts, &arrival));
        if let Ok(id) = http::HeaderValue::from_str(&arrival.request_id) {
            answer.headers_mut().insert("apigw-requestid", id);
        }
        (self.observer)(&HttpExchange {
            method: &parts.method,
            path: parts.uri.path(),
            status: answer.status(),
            body: answer.body(),
            at: arrival.time,
            took: started.elapsed(),
            request_id: &arrival.request_id,
            event: &event,
        });
        answer.map(Full::new)
    }

    /// Returns the answer, and the event in `sent` if the function is invoked.
    async fn invoke(
        &self,
        parts: &Parts,
        body: Incoming,
        arrival: &GatewayContext,
        sent: &mut Option<Bytes>,
    ) -> Result<http::Response<Bytes>, http::Response<Bytes>> {
        if head_bytes(parts) > HEAD_BYTES_MAX {
            return Err(refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request Header Fields Too Large"));
        }
        let bad_request = || refusal(StatusCode::BAD_REQUEST, "Bad Request");
        if !has_valid_host(parts) {
            return Err(bad_request());
        }
        let path = event::decoded_path(parts.uri.path()).ok_or_else(bad_request)?;
        let found = self.routes.find(parts.method.as_str(), &path);
        let Some(RouteMatch { key, parameters, target }) = found else {
            return Err(refusal(StatusCode::NOT_FOUND, "Not Found"));
        };
        let authorizer = match &target.authorizer {
            Some(authorizer) => Some(authorizer.authorize(&parts.headers).map_err(|answer| *answer)?),
            None => None,
        };
        let body = timeout(self.patience.body, Limited::new(body, PAYLOAD_BYTES_MAX).collect());
        let body = body.await.map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "Request Timeout"))?;
        let body = body.map_err(|error| {
            if error.downcast_ref::<LengthLimitError>().is_some() {
                refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
            } else {
                bad_request()
            }
        })?;
        let body = body.to_bytes();
        let event = event(parts, &path, &body, key, parameters, arrival, authorizer);
        let event = serde_json::to_vec(&event).map_err(|_| bad_request())?;
        if event.len() > INVOKE_BYTES_MAX {
            return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"));
        }
        let event = Bytes::from(event.into_boxed_slice());
        *sent = Some(event.clone());
        let trace = arrival.function_trace();
        let invocation = target.function.invoke(event, Some(&trace));
        let unavailable = || refusal(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
        let failed = || refusal(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
        match timeout(target.timeout, invocation).await {
            Err(_) | Ok(Invocation::Throttled) => Err(unavailable()),
            Ok(Invocation::FunctionError { .. } | Invocation::TimedOut) => Err(failed()),
            Ok(Invocation::Response(payload)) if payload.len() > INVOKE_BYTES_MAX => Err(failed()),
            Ok(Invocation::Response(payload)) => answer(&payload, &parts.method).map_err(|_| failed()),
        }
    }
}

/// Returns the event of a request that has no route or is refused before its function is invoked.
fn event_without_body(parts: &Parts, arrival: &GatewayContext) -> Bytes {
    let (path, body) = (parts.uri.path(), Bytes::new());
    let event = event(parts, path, &body, "", BTreeMap::new(), arrival, None);
    serde_json::to_vec(&event).map(Bytes::from).unwrap_or_default()
}

/// Returns an error answer of the gateway.
pub(super) fn refusal(status: StatusCode, message: &str) -> http::Response<Bytes> {
    let mut answer = http::Response::new(serde_json::json!({ "message": message }).to_string().into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}

/// Returns whether the request names exactly one host, without user information; HTTP/1.0 needs none.
/// <https://www.rfc-editor.org/rfc/rfc9112#section-3.2>
fn has_valid_host(parts: &Parts) -> bool {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => parts.version == Version::HTTP_10,
        (Some(host), None) => {
            let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
            host.is_some_and(|host| !host.as_str().contains('@'))
        }
        (Some(_), Some(_)) => false,
    }
}

/// Returns the size of the request line and the header lines, with their line ends.
fn head_bytes(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(1, |target| target.as_str().len());
    let line = parts.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    line + parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum::<usize>()
}
