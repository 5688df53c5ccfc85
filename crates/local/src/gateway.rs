//! The HTTP API: a request in, one invocation of the route's function, its answer out, as API Gateway does it.
//!
//! Routes match as in an HTTP API, requests become payload 2.0 events, answers follow its inference rules, and its limits
//! and error answers are kept: `{"message": "Not Found"}` and so on. What it answers itself is never RFC 9457; only the
//! function's own answers are. CORS, authorizers and named stages are absent, and so is HTTP/2, which API Gateway speaks through
//! TLS only. A client that is slow to send its request is cut off; see [`Patience`].

mod answer;
mod connection;
mod event;
mod exchange;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::TcpListener;

use exchange::Gateway;
pub(crate) use exchange::{Exchange, Integration, Observer};
pub use exchange::{HEAD_BYTES_MAX, INVOKE_BYTES_MAX, PAYLOAD_BYTES_MAX, Patience};
pub(crate) use routes::RouteTable;

/// Serves until the future is dropped; requests that are being answered then are answered.
///
/// # Errors
/// The listener has no address.
pub(crate) async fn serve(
    mut listener: TcpListener,
    routes: RouteTable<Integration>,
    observer: Observer,
    patience: Patience,
) -> std::io::Result<()> {
    let port = TcpListener::local_addr(&listener)?.port();
    let gateway = Arc::new(Gateway { routes, observer, port, patience });
    loop {
        // Waits where the system has no resources left for a connection.
        let (stream, _) = Listener::accept(&mut listener).await;
        tokio::spawn(connection::serve(stream, Arc::clone(&gateway)));
    }
}
