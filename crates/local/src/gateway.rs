//! The HTTP API, as API Gateway implements it: each request is one invocation of its route's function.
//!
//! Routes match as in an HTTP API, requests become payload 2.0 events, answers follow its inference rules, and its
//! limits and error answers apply, such as `{"message": "Not Found"}`. The gateway's own answers are not RFC 9457
//! problems. CORS, authorizers other than JWT authorizers, and named stages are not implemented, nor is HTTP/2, which
//! API Gateway offers over TLS only. A client that sends its request slowly is disconnected; see [`Patience`].

mod answer;
mod authorizer;
mod connection;
mod event;
mod exchange;
mod kept_event;
mod routes;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::serve::Listener;
use tokio::net::TcpListener;

pub(crate) use authorizer::Authorizer;
pub use authorizer::TokenVerifier;
use exchange::Gateway;
pub(crate) use exchange::{ExchangeObserver, HttpExchange, Integration};
pub use exchange::{HEAD_BYTES_MAX, INVOKE_BYTES_MAX, PAYLOAD_BYTES_MAX, Patience};
pub(crate) use kept_event::KeptEvent;
pub(crate) use routes::RouteTable;

/// Serves until the future is dropped; requests in progress then are still answered.
///
/// # Errors
/// The listener has no address.
pub(crate) async fn serve(
    mut listener: TcpListener,
    routes: RouteTable<Integration>,
    observer: ExchangeObserver,
    patience: Patience,
) -> std::io::Result<()> {
    let port = TcpListener::local_addr(&listener)?.port();
    let gateway = Arc::new(Gateway { routes, observer, port, patience });
    loop {
        // Waits while the system has no resources left for a connection.
        let (stream, _) = Listener::accept(&mut listener).await;
        tokio::spawn(connection::serve(stream, Arc::clone(&gateway)));
    }
}
