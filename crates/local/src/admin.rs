//! The admin port: health, message logs, queue counts, metrics, and [actions](crate::actions). JSON, except for the
//! metrics.
//!
//! `GET /healthz` is 200 once every function has started, else 503 with the reasons. `GET /messages/{id}` is the log of
//! a message, `GET /messages` the latest messages, `GET /queues` the counts of every queue, dead-letter queues
//! included; the counts of RabbitMQ may be some seconds old. `GET /metrics` is for Prometheus (see [`crate::metrics`]).
//! A request with the `Host` of a development issuer gets its documents, such as its key set.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    actions::{self, Actions},
    journal::Journal,
    metrics::{self, Metrics},
};

/// Largest number of messages that `GET /messages` lists.
const LATEST_MAX: usize = 100;

/// The parts that are not running, with the reasons. Clones share the state.
#[derive(Clone, Default)]
pub(crate) struct Health {
    waiting: Arc<Mutex<BTreeMap<String, String>>>,
}

impl Health {
    /// Marks a part as not running, for this reason.
    pub(crate) fn down(&self, part: &str, reason: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(part.to_owned(), reason.to_owned());
    }

    /// Marks a part as running.
    pub(crate) fn up(&self, part: &str) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(part);
    }

    /// Returns the parts that are not running, with the reasons.
    pub(crate) fn reasons(&self) -> BTreeMap<String, String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A document that stands in for one of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedDocument {
    /// The host, and its port if it is not 443.
    pub host: String,
    /// The path and query.
    pub path: String,
    /// The JSON text.
    pub body: String,
}

/// The sources of the admin port.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The message logs.
    pub journal: Journal,
    /// What the actions act on.
    pub actions: Actions,
    /// The metrics of the functions.
    pub metrics: Metrics,
    /// The documents of development issuers.
    pub published: Arc<[PublishedDocument]>,
}

/// Serves until the future is dropped.
///
/// # Errors
/// The error of accepting connections.
pub(crate) async fn serve(listener: TcpListener, admin: Admin) -> std::io::Result<()> {
    let app = Router::new()
        .route("/healthz", get(healthz))
        .route("/messages", get(messages))
        .route("/messages/{id}", get(message))
        .route("/queues", get(queues))
        .route("/metrics", get(metrics))
        .fallback(async |uri: Uri| problem("not_found", &format!("{} does not exist.", uri.path())))
        .with_state(admin.clone())
        .merge(actions::listings(admin.actions.clone()))
        .merge(actions::actions(admin.actions.clone()))
        .layer(from_fn_with_state(Arc::clone(&admin.published), published));
    axum::serve(listener, app).await
}

/// Answers a request for a document of a development issuer, and passes on any other.
async fn published(State(documents): State<Arc<[PublishedDocument]>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    match documents.iter().find(|document| document.host == host && document.path == path) {
        Some(document) => {
            ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document.body.clone())
                .into_response()
        }
        None => next.run(request).await,
    }
}

async fn healthz(State(admin): State<Admin>) -> Response {
    let reasons = admin.actions.health.reasons();
    match reasons.is_empty() {
        true => answer(StatusCode::OK, "application/json", &json!({ "status": "ok" })),
        false => {
            let body = json!({ "status": "not ready", "reasons": reasons });
            answer(StatusCode::SERVICE_UNAVAILABLE, "application/json", &body)
        }
    }
}

async fn messages(State(admin): State<Admin>) -> Response {
    answer(StatusCode::OK, "application/json", &json!({ "messages": admin.journal.latest(LATEST_MAX) }))
}

async fn message(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    match admin.journal.log_of(&id) {
        Some(log) => answer(StatusCode::OK, "application/json", &log),
        None => problem("message_unknown", "No message with this id was seen since the local stack started."),
    }
}

async fn queues(State(admin): State<Admin>) -> Response {
    answer(
        StatusCode::OK,
        "application/json",
        &json!({ "queues": admin.actions.history.with_latest(admin.actions.queues.counts().await) }),
    )
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let page = admin.metrics.page(&admin.actions.queues.counts().await);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], page).into_response()
}

/// Returns a 404 as an RFC 9457 problem.
fn problem(code: &str, detail: &str) -> Response {
    let body = json!({ "title": "Not Found", "status": 404, "code": code, "detail": detail });
    answer(StatusCode::NOT_FOUND, "application/problem+json", &body)
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    (status, content_type, format!("{body}\n")).into_response()
}
