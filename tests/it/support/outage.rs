//! A server before SQS that can be stopped and started again.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The server. Stopped, it ends its connections, and each new one at once. Dropping it ends all.
pub(crate) struct Outage {
    url: String,
    is_up: watch::Sender<bool>,
    refused: Arc<AtomicUsize>,
    _accepting: JoinSet<()>,
}

impl Outage {
    /// Starts the server on a loopback port, before the one at `upstream`.
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free loopback port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let (is_up, refused) = (watch::Sender::new(true), Arc::<AtomicUsize>::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, upstream, is_up.subscribe(), Arc::clone(&refused)));
        Self { url, is_up, refused, _accepting: accepting }
    }

    /// Returns the URL of the server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server.
    pub(crate) fn stop(&self) {
        self.is_up.send_replace(false);
    }

    /// Starts a stopped server.
    pub(crate) fn start_again(&self) {
        self.is_up.send_replace(true);
    }

    /// Returns how many connections were made while the server was stopped.
    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Ordering::Relaxed)
    }
}

async fn accept(listener: TcpListener, upstream: String, is_up: watch::Receiver<bool>, refused: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        if *is_up.borrow() {
            connections.spawn(forward(client, upstream.clone(), is_up.clone()));
        } else {
            refused.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Forwards a connection until one side has closed it or the server is stopped.
async fn forward(mut client: TcpStream, upstream: String, mut is_up: watch::Receiver<bool>) {
    let Ok(mut upstream) = TcpStream::connect(upstream).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut upstream) => {}
        _ = is_up.wait_for(|is_up| !is_up) => {}
    }
}
