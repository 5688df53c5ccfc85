//! The HTTP server behind `FORWARD_URL`: records events and answers with a status that the test selects.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::Bytes;
use http::StatusCode;

/// A received POST.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    pub(crate) at: Instant,
    pub(crate) body: Bytes,
}

/// The server, on a free loopback port.
pub(crate) struct ForwardServer {
    pub(crate) url: String,
    received: Arc<Mutex<Vec<Forwarded>>>,
}

impl ForwardServer {
    /// Starts the server. `answer` returns the status for each POST.
    pub(crate) async fn start(answer: impl Fn(&Forwarded) -> StatusCode + Clone + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free loopback port");
        let url = format!("http://{}/events", listener.local_addr().expect("an address"));
        let received = Arc::<Mutex<Vec<Forwarded>>>::default();
        let remembered = received.clone();
        let service = Router::new().fallback(async move |body: Bytes| {
            let forwarded = Forwarded { at: Instant::now(), body };
            let status = answer(&forwarded);
            remembered.lock().expect("no panic").push(forwarded);
            status
        });
        tokio::spawn(async { axum::serve(listener, service).await });
        Self { url, received }
    }

    /// Starts a server that answers with `status` to events with this text, and with 200 to others.
    pub(crate) async fn refusing(text: &'static str, status: StatusCode) -> Self {
        Self::start(move |event| if event.says(text) { status } else { StatusCode::OK }).await
    }

    /// Returns the POSTs received so far that match `wanted`.
    pub(crate) fn received(&self, wanted: impl Fn(&Forwarded) -> bool) -> Vec<Forwarded> {
        self.received.lock().expect("no panic").iter().filter(|each| wanted(each)).cloned().collect()
    }
}

impl Forwarded {
    /// Returns whether the body contains this text.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}
