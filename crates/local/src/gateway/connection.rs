//! Client connections: HTTP/1.1 with limits, and a refusal of HTTP/2 with prior knowledge.

use std::{convert::Infallible, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::exchange::{Gateway, HEAD_BYTES_MAX};

/// The shortest header is `a:` and a line end, so more of them never fit into [`HEAD_BYTES_MAX`].
const HEADERS_MAX: usize = HEAD_BYTES_MAX / 4;
/// The first bytes of an HTTP/2 client with prior knowledge. <https://www.rfc-editor.org/rfc/rfc9113#section-3.4>
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";
const HTTP2_REFUSAL: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\n\
    content-type: application/json\r\ncontent-length: 56\r\nconnection: close\r\n\r\n\
    {\"message\":\"HTTP/2 is not supported here: use HTTP/1.1\"}";
/// Limits for reading after a refusal: closing a connection with unread bytes resets it, and the client may not receive
/// the answer.
const REFUSED_BYTES_MAX: u64 = 64 * 1024;
const REFUSED_TIME_MAX: Duration = Duration::from_secs(1);

/// Answers the requests of a connection until it ends. Its errors, such as a disconnect or a malformed request, are
/// dropped.
pub(super) async fn serve(mut stream: TcpStream, gateway: Arc<Gateway>) {
    let patience = gateway.patience;
    // Best effort: only latency depends on it.
    let _ = stream.set_nodelay(true);
    let mut start = [0; HTTP2_PREFACE.len()];
    let Ok(Ok(1..)) = timeout(patience.head, stream.peek(&mut start)).await else { return };
    if start == HTTP2_PREFACE {
        refuse_http2(&mut stream).await;
        return;
    }
    let service = service_fn(move |request: http::Request<Incoming>| {
        let gateway = Arc::clone(&gateway);
        async move { Ok::<http::Response<Full<bytes::Bytes>>, Infallible>(gateway.exchange(request).await) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head).max_headers(HEADERS_MAX);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn refuse_http2(stream: &mut TcpStream) {
    let answered = stream.write_all(HTTP2_REFUSAL).await.is_ok() && stream.shutdown().await.is_ok();
    if answered {
        let mut rest = stream.take(REFUSED_BYTES_MAX);
        let _ = timeout(REFUSED_TIME_MAX, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}
