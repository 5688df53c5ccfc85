//! HTTP/1.1 connections, straight on hyper: one task for each, and nothing between hyper and the answer.

use std::io::ErrorKind;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Pause after the system refused a connection, such as for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the request gets no answer")]
struct NoAnswer;

/// Answers the requests of every connection with `answer` until the future is dropped; requests in progress then are
/// still answered. A connection whose request gets `None` is closed without an answer.
///
/// # Errors
/// None at present: a failure to accept a connection is retried.
pub async fn serve_with<A, F>(listener: TcpListener, answer: A) -> std::io::Result<()>
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output: Into<Option<Response<Full<Bytes>>>>> + Send + 'static,
{
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, answer.clone()))),
            // The client left before its connection was accepted.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection<A, F>(stream: TcpStream, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Send + 'static,
    F: Future<Output: Into<Option<Response<Full<Bytes>>>>> + Send + 'static,
{
    // Disables Nagle's algorithm: answers are small, and clients wait for each of them. Only latency depends on it.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let response = answer(request);
        async move { response.await.into().ok_or(NoAnswer) }
    });
    // Errors of a connection, such as a disconnect, concern its client only.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
