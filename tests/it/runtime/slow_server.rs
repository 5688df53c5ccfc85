//! A server that answers when a test lets it: a handler's service, or one before SQS.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::PATIENCE;

/// The server, on a free loopback port.
pub(super) struct SlowServer {
    pub(super) url: String,
    arrived: watch::Sender<usize>,
    takes: watch::Sender<Option<Duration>>,
    targets: Arc<Mutex<Vec<String>>>,
}

impl SlowServer {
    /// Starts a server that forwards each request to `upstream`, or else answers it with 200, as soon as
    /// [`SlowServer::answer_after`] says how long that takes. Requests for secrets take no time.
    pub(super) async fn start(upstream: Option<&str>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (arrived, takes) = (watch::Sender::new(0), watch::Sender::new(None));
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let (upstream, http) = (upstream.map(str::to_owned), reqwest::Client::new());
        let handle = {
            let (arrived, takes, targets) = (arrived.clone(), takes.clone(), Arc::clone(&targets));
            async move |headers: HeaderMap, body: Bytes| {
                let target = headers.get("x-amz-target").map_or("", |target| target.to_str().expect("ASCII"));
                if !target.starts_with("secretsmanager.") {
                    targets.lock().expect("no panic").push(target.to_owned());
                    arrived.send_modify(|arrived| *arrived += 1);
                    let after = takes.subscribe().wait_for(Option::is_some).await.map(|takes| *takes);
                    sleep(after.expect("the test runs").unwrap_or_default()).await;
                }
                let Some(upstream) = upstream else { return (StatusCode::OK, Bytes::new()) };
                let answer = http.post(upstream).headers(headers).body(body).send().await.expect("upstream answers");
                (answer.status(), answer.bytes().await.expect("a body"))
            }
        };
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(handle)).await });
        Self { url, arrived, takes, targets }
    }

    /// Answers every request that has come, and those that come, after this time.
    pub(super) fn answer_after(&self, takes: Duration) {
        self.takes.send_replace(Some(takes));
    }

    /// Waits until this many requests have come.
    pub(super) async fn until_arrived(&self, count: usize) {
        let mut arrived = self.arrived.subscribe();
        let reached = arrived.wait_for(|arrived| *arrived >= count);
        timeout(PATIENCE, reached).await.expect("the requests come").expect("the server runs");
    }

    /// Returns the actions of SQS that came, and forgets them.
    pub(super) fn actions(&self) -> Vec<String> {
        let targets = std::mem::take(&mut *self.targets.lock().expect("no panic"));
        targets.iter().map(|target| target.trim_start_matches("AmazonSQS.").to_owned()).collect()
    }
}
