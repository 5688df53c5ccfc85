//! An HTTP proxy before SQS that loses requests and answers. The test selects the fate of each call.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

/// The fate of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// The call takes effect; the answer is a server error.
    Lost,
    /// The call has no effect; the answer is a server error.
    Refused,
    /// The call has no effect; the answer is RequestThrottled.
    Throttled,
    /// The call has no effect; the answer is UnknownOperationException.
    Unknown,
}

/// The running proxy.
pub(super) struct Faults {
    pub(super) url: String,
    server: tokio::task::JoinHandle<()>,
}

impl Faults {
    /// Starts the proxy. `fate` gets the operation and the number of its earlier calls.
    pub(super) async fn start(upstream: &str, fate: impl Fn(&str, usize) -> Fate + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let upstream = upstream.to_owned();
        let counts = Arc::<Mutex<HashMap<String, usize>>>::default();
        let http = reqwest::Client::new();
        let fate = Arc::new(fate);
        let app = axum::Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let (http, upstream, counts, fate) = (http.clone(), upstream.clone(), counts.clone(), fate.clone());
            async move {
                let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
                let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
                let count = {
                    let mut counts = counts.lock().expect("no panic");
                    let count = counts.entry(operation.clone()).or_default();
                    *count += 1;
                    *count - 1
                };
                let fate = fate(&operation, count);
                match fate {
                    Fate::Fine => forward(&http, &upstream, headers, body).await,
                    Fate::Lost => {
                        forward(&http, &upstream, headers, body).await;
                        error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError")
                    }
                    Fate::Refused => error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
                    Fate::Throttled => error(StatusCode::BAD_REQUEST, "RequestThrottled"),
                    Fate::Unknown => error(StatusCode::BAD_REQUEST, "UnknownOperationException"),
                }
            }
        });
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
        Self { url, server }
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(http: &reqwest::Client, upstream: &str, mut headers: HeaderMap, body: Bytes) -> Response {
    for name in ["host", "content-length"] {
        headers.remove(name);
    }
    let answer = http.post(upstream).headers(headers).body(body).send().await.expect("the service answers");
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    for name in ["content-length", "transfer-encoding", "connection"] {
        headers.remove(name);
    }
    (status, headers, answer.bytes().await.expect("a body")).into_response()
}

fn error(status: StatusCode, code: &str) -> Response {
    let body = format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"injected"}}"#);
    (status, [("content-type", "application/x-amz-json-1.0")], body).into_response()
}
