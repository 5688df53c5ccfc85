//! The SQS, DynamoDB and S3 endpoints of the functions: HTTP/1.1 on streams in memory, as its own client speaks it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluicegate_aws_client::http_client::Dialer;
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc2822};
use tokio::io::DuplexStream;

use crate::aws_service::{self, Caller, Operation};
use crate::world::World;

/// Bytes that a connection holds in each direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// How far the date of a signature may be from the clock of the service.
///
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
pub(crate) const SIGNED_WITHIN: Duration = Duration::from_secs(5 * 60);

/// A connection that ends without an answer.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was cut")
    }
}

impl std::error::Error for Cut {}

/// Returns what opens the connections of a caller.
pub(crate) fn dialer(world: &Arc<World>, caller: Caller) -> Dialer {
    let world = Arc::clone(world);
    dialer_to(move |request| answer(Arc::clone(&world), caller.clone(), request))
}

/// Returns what opens connections to a server that answers so.
pub(crate) fn dialer_to<F>(answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static) -> Dialer
where
    F: Future<Output = Result<Response<Full<Bytes>>, Cut>> + Send + 'static,
{
    Dialer::new(move || {
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        tokio::spawn(serve(ours, answer.clone()));
        Ok(theirs)
    })
}

async fn serve<F>(stream: DuplexStream, answer: impl Fn(Request<Incoming>) -> F)
where
    F: Future<Output = Result<Response<Full<Bytes>>, Cut>>,
{
    let mut http = http1::Builder::new();
    // A fault cuts a connection, and the client closes others.
    let _ = http.auto_date_header(false).serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(world: Arc<World>, caller: Caller, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let signed_at = head.headers.get("x-amz-date").and_then(|date| date.to_str().ok()).unwrap_or_default();
    let reply = if target.is_empty() {
        // S3 accepts the signature of a clock that is wrong by up to 15 minutes, more than any here is.
        // https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        let operation = Operation::S3 { method: head.method.to_string(), path: head.uri.path().to_owned() };
        aws_service::call(&world, &caller, operation, body).await.ok_or(Cut)?
    } else if is_signed_in_time(signed_at) {
        aws_service::call(&world, &caller, Operation::of_target(target), body).await.ok_or(Cut)?
    } else {
        aws_service::refused(403, "InvalidSignatureException", "Sender")
    };
    let now = OffsetDateTime::from(SystemTime::now()).format(&Rfc2822).unwrap_or_default().replace("+0000", "GMT");
    let mut response = Response::builder().status(reply.status).header("content-type", "application/x-amz-json-1.0");
    response = response.header("date", now);
    if let Some(error) = reply.error {
        response = response.header("x-amzn-query-error", error);
    }
    response.body(Full::from(reply.body)).map_err(|_| Cut)
}

/// Returns whether a date such as 20260101T000000Z is within what a service accepts.
fn is_signed_in_time(date: &str) -> bool {
    let signed_at = OffsetDateTime::parse(date, &Iso8601::PARSING).ok().map(SystemTime::from);
    let now = SystemTime::now();
    signed_at.is_some_and(|at| at + SIGNED_WITHIN >= now && now + SIGNED_WITHIN >= at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_signature_is_accepted_five_minutes_before_and_after_its_date() {
        let _clock = crate::clock::VirtualClock::start();
        for (date, is_in_time) in [
            ("20260101T000000Z", true),
            ("20260101T000500Z", true),
            ("20260101T000501Z", false),
            ("20251231T235500Z", true),
            ("20251231T235459Z", false),
            ("", false),
        ] {
            assert_eq!(is_signed_in_time(date), is_in_time, "{date}");
        }
    }
}
