//! The state-changing calls of the admin port. `openapi.yaml` describes them.
//!
//! Bodies are JSON objects or forms, and may be empty. An action answers JSON, and an RFC 9457 problem if it is not
//! done; a button of a page gets what the page needs instead. [`security`](super::security) asks for the token.

mod answer;
mod dead_letters;
mod faults;
mod functions;
mod mappings;
mod queues;
mod requests;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    middleware::from_fn,
    routing::{get, post},
};

use super::Health;
use crate::{
    broker_faults::BrokerFaults,
    journal::Journal,
    mappings::Mappings,
    project::{ApiClient, WatchedProject},
    queue_history::QueueHistory,
    queues::Queues,
    running_functions::RunningFunctions,
};

/// What the calls act on.
#[derive(Clone)]
pub(crate) struct Actions {
    /// The queues.
    pub queues: Queues,
    /// The counts of the last minutes.
    pub history: QueueHistory,
    /// The event source mappings.
    pub mappings: Mappings,
    /// The functions.
    pub functions: RunningFunctions,
    /// The state of the functions.
    pub health: Health,
    /// The faults of the broker.
    pub faults: BrokerFaults,
    /// The client of the API.
    pub api: ApiClient,
    /// The contract and the template.
    pub project: Option<WatchedProject>,
}

/// Returns the routes that change something.
pub(super) fn actions(actions: Actions, journal: Journal) -> Router {
    Router::new()
        .route("/queues/{queue}/purge", post(queues::purge))
        .route("/queues/{queue}/redrive", post(dead_letters::redrive))
        .route("/mappings/{function}/{queue}/pause", post(mappings::pause))
        .route("/mappings/{function}/{queue}/resume", post(mappings::resume))
        .route("/functions/{function}/freeze", post(functions::freeze))
        .route("/functions/{function}/thaw", post(functions::thaw))
        .route("/faults/sqs", post(faults::set_sqs))
        .route("/faults/rabbitmq", post(faults::set_rabbitmq))
        .route("/samples", post(requests::sample))
        .with_state(actions.clone())
        .route("/messages/{id}/replay", post(requests::replay))
        .route("/queues/{queue}/dead-letters/{id}/redrive", post(dead_letters::edit))
        .with_state((actions, journal))
        .layer(from_fn(answer::for_pages))
}

/// Returns the routes that only read.
pub(super) fn listings(actions: Actions) -> Router {
    Router::new()
        .route("/queues/{queue}/history", get(queues::history))
        .route("/queues/{queue}/dead-letters/{id}", get(dead_letters::show))
        .route("/mappings", get(mappings::list))
        .route("/functions/{function}", get(functions::show))
        .route("/faults", get(faults::list))
        .with_state(actions)
}
