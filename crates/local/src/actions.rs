//! The state-changing calls of the admin port, and the listings of what they change.
//!
//! | call | effect |
//! |---|---|
//! | `POST /queues/{queue}/purge` | deletes the messages of a queue; the body names it again: `{"confirm": "orders"}` |
//! | `POST /queues/{queue}/redrive` | redrives dead letters (`ids`, `types`, `reason`, `to`, `limit`, `dry_run`) |
//! | `GET /queues/{queue}/history` | lists the counts of the last minutes, one for each second |
//! | `GET /queues/{queue}/dead-letters/{id}` | shows a dead letter with its body |
//! | `POST /queues/{queue}/dead-letters/{id}/redrive` | corrects a dead letter (`set` or `body`) and redrives it |
//! | `GET /mappings`, `POST /mappings/{function}/{queue}/pause`, `…/resume` | pauses and resumes a mapping |
//! | `GET /functions`, `POST /functions/{name}/freeze`, `…/thaw` | freezes its processes between invocations |
//! | `GET /faults`, `POST /faults/sqs`, `POST /faults/rabbitmq` | sets or ends a fault of the broker |
//!
//! Bodies are JSON objects and may be empty. Errors are RFC 9457 problems.

mod answer;
mod dead_letters;
mod faults;
mod functions;
mod mappings;
mod queues;
#[cfg(test)]
mod tests;

use axum::{
    Router,
    routing::{get, post},
};

use crate::{
    admin::Health, broker_faults::BrokerFaults, mappings::Mappings, queue_history::QueueHistory, queues::Queues,
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
}

/// Returns the routes that change something.
pub(crate) fn actions(actions: Actions) -> Router {
    Router::new()
        .route("/queues/{queue}/purge", post(queues::purge))
        .route("/queues/{queue}/redrive", post(dead_letters::redrive))
        .route("/queues/{queue}/dead-letters/{id}/redrive", post(dead_letters::edit))
        .route("/mappings/{function}/{queue}/pause", post(mappings::pause))
        .route("/mappings/{function}/{queue}/resume", post(mappings::resume))
        .route("/functions/{name}/freeze", post(functions::freeze))
        .route("/functions/{name}/thaw", post(functions::thaw))
        .route("/faults/sqs", post(faults::set_sqs))
        .route("/faults/rabbitmq", post(faults::set_rabbitmq))
        .with_state(actions)
}

/// Returns the routes that list what the others change.
pub(crate) fn listings(actions: Actions) -> Router {
    Router::new()
        .route("/queues/{queue}/history", get(queues::history))
        .route("/queues/{queue}/dead-letters/{id}", get(dead_letters::show))
        .route("/mappings", get(mappings::list))
        .route("/functions", get(functions::list))
        .route("/functions/{name}", get(functions::show))
        .route("/faults", get(faults::list))
        .with_state(actions)
}
