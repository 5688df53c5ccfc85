//! The admin port: the console and its API.
//!
//! Each address answers HTML to a browser and JSON to every other client; [`api`] has the answers in JSON, which
//! `openapi.yaml` describes, and [`page`] the pages. `GET /events` streams changes. [`security`] refuses requests of
//! other sites. A request with the `Host` of a development issuer gets its documents, such as its key set.

mod actions;
mod api;
mod assets;
mod events;
mod health;
mod json_lines;
mod message;
mod page;
mod problem;
mod published;
mod security;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{Router, middleware::from_fn_with_state, routing::get};
use tokio::net::TcpListener;

use crate::{contract_facts::ContractFacts, function_lines::FunctionLines, journal::Journal, metrics::Metrics};
pub(crate) use actions::Actions;
pub(crate) use health::Health;
pub use published::PublishedDocument;
use security::Token;

/// The sources of the admin port.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The state of the functions.
    pub health: Health,
    /// The message logs.
    pub journal: Journal,
    /// What the actions act on.
    pub actions: Actions,
    /// The metrics of the functions.
    pub metrics: Metrics,
    /// The latest lines of the functions' logs.
    pub lines: FunctionLines,
    /// The documents of development issuers.
    pub published: Arc<[PublishedDocument]>,
    /// The facts of the contract.
    pub contract: ContractFacts,
}

/// The state of the handlers.
#[derive(Clone)]
struct Console {
    admin: Admin,
    token: Token,
}

/// Serves until the future is dropped.
///
/// # Errors
/// The error of accepting connections; the operating system has no random numbers.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    axum::serve(listener, router(admin, Token::random()?)).await
}

fn router(admin: Admin, token: Token) -> Router {
    let published = Arc::clone(&admin.published);
    let act = actions::actions(admin.actions.clone(), admin.journal.clone());
    let listings = actions::listings(admin.actions.clone());
    Router::new()
        .route("/", get(page::home))
        .route("/healthz", get(api::healthz))
        .route("/messages", get(api::messages))
        .route("/messages/{id}", get(api::message))
        .route("/messages/{id}/logs", get(api::logs))
        .route("/messages/{id}/payload", get(api::payload))
        .route("/events", get(events::events))
        .route("/queues", get(api::queues))
        .route("/functions", get(api::functions))
        .route("/contract", get(api::contract))
        .route("/metrics", get(api::metrics))
        .route("/token", get(api::token))
        .route("/openapi.yaml", get(assets::openapi))
        .route("/assets/{name}", get(assets::asset))
        .fallback(problem::not_found)
        .with_state(Console { admin, token: token.clone() })
        .merge(listings)
        .merge(act)
        .layer(from_fn_with_state(token, security::check))
        .layer(from_fn_with_state(published, published::answer))
}
