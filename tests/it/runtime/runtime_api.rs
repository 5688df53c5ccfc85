//! A Runtime API that gives events to a runtime with several loops, in any order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::timeout;

use super::PATIENCE;

/// The server, on a free loopback port.
pub(super) struct RuntimeApi {
    pub(super) address: String,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Value>,
    answers: mpsc::UnboundedReceiver<Value>,
}

struct Shared {
    events: Mutex<mpsc::UnboundedReceiver<Value>>,
    answers: mpsc::UnboundedSender<Value>,
    /// The calls of `next` without an event.
    waiting: watch::Sender<usize>,
    asked: AtomicUsize,
}

impl RuntimeApi {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let address = listener.local_addr().expect("an address").to_string();
        let ((events, given), (answered, answers)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let waiting = watch::Sender::new(0);
        let shared = Shared { events: Mutex::new(given), answers: answered, waiting, asked: AtomicUsize::new(0) };
        let shared = Arc::new(shared);
        let (asking, answering) = (Arc::clone(&shared), Arc::clone(&shared));
        let api =
            Router::new().route("/2018-06-01/runtime/invocation/next", get(async move || next(&asking).await)).route(
                "/2018-06-01/runtime/invocation/{id}/{outcome}",
                post(async move |Path((_, outcome)): Path<(String, String)>, body: Bytes| {
                    assert_eq!(outcome, "response", "{body:?}");
                    // The receiver ends with the test.
                    let _ = answering.answers.send(serde_json::from_slice(&body).expect("JSON"));
                    http::StatusCode::ACCEPTED
                }),
            );
        tokio::spawn(async { axum::serve(listener, api).await });
        Self { address, shared, events, answers }
    }

    /// Waits until this many loops wait for an event.
    pub(super) async fn until_waiting(&self, count: usize) {
        let mut waiting = self.shared.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting == count);
        timeout(PATIENCE, reached).await.expect("the loops wait for events").expect("the server runs");
    }

    /// Returns how often an invocation was asked for.
    pub(super) fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::Relaxed)
    }

    /// Gives an event to one of the loops.
    pub(super) fn give(&self, event: Value) {
        self.events.send(event).expect("the server runs");
    }

    /// Waits for the next answer to an event.
    pub(super) async fn answer(&mut self) -> Value {
        timeout(PATIENCE, self.answers.recv()).await.expect("an answer in time").expect("the server runs")
    }
}

async fn next(shared: &Shared) -> impl IntoResponse + use<> {
    let number = shared.asked.fetch_add(1, Ordering::Relaxed);
    shared.waiting.send_modify(|waiting| *waiting += 1);
    let event = shared.events.lock().await.recv().await.expect("the test runs");
    shared.waiting.send_modify(|waiting| *waiting -= 1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let headers = [
        ("lambda-runtime-aws-request-id", format!("request-{number}")),
        ("lambda-runtime-deadline-ms", (now + PATIENCE).as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:000000000000:function:f".to_owned()),
    ];
    (headers, event.to_string())
}
