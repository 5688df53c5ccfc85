//! The SQS endpoint of the ingress: HTTP/1.1 on streams in memory, as its own client speaks it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use sluicegate_aws_client::http_client::Dialer;
use tokio::io::DuplexStream;

use crate::sqs_service::{self, Caller};
use crate::world::World;

/// Bytes that a connection holds in each direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection that ends without an answer.
#[derive(Debug)]
struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection was cut")
    }
}

impl std::error::Error for Cut {}

/// Returns what opens the connections of a caller.
pub(crate) fn dialer(world: &Arc<World>, caller: Caller) -> Dialer {
    let world = Arc::clone(world);
    Dialer::new(move || {
        let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
        tokio::spawn(serve(ours, Arc::clone(&world), caller.clone()));
        Ok(theirs)
    })
}

async fn serve(stream: DuplexStream, world: Arc<World>, caller: Caller) {
    let service = service_fn(|request| answer(&world, &caller, request));
    let mut http = http1::Builder::new();
    // A fault cuts a connection, and the client closes others.
    let _ = http.auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(world: &Arc<World>, caller: &Caller, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Cut> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let reply = sqs_service::call(world, caller, target, body).await.ok_or(Cut)?;
    let mut response = Response::builder().status(reply.status).header("content-type", "application/x-amz-json-1.0");
    if let Some(error) = reply.error {
        response = response.header("x-amzn-query-error", error);
    }
    response.body(Full::from(reply.body)).map_err(|_| Cut)
}
