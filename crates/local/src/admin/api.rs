//! The answers of the admin port: JSON, or a page for a browser.
//!
//! `GET /healthz` is 200 once every function has started, else 503 with the reasons. `GET /messages` lists messages,
//! `GET /messages/{id}` has one with its steps, `GET /queues` the counts of every queue, dead-letter queues included;
//! the counts of RabbitMQ may be some seconds old. `GET /metrics` is for Prometheus (see [`crate::metrics`]).

use axum::{
    extract::{Path, RawQuery, State},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

use super::{Console, message::MessageView, page, problem::problem};
use crate::{
    journal::{Filter, time_text},
    metrics,
};

/// Returns whether the client is a browser that shows a page.
fn wants_page(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted.into_iter().any(|value| value.as_bytes().windows(9).any(|part| part == b"text/html"))
}

pub(super) async fn healthz(State(console): State<Console>) -> Response {
    let reasons = console.admin.health.reasons();
    match reasons.is_empty() {
        true => answer(StatusCode::OK, &json!({ "status": "ok" })),
        false => answer(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "not ready", "reasons": reasons })),
    }
}

pub(super) async fn messages(
    State(console): State<Console>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let filter = match Filter::parse(&query.unwrap_or_default()) {
        Ok(filter) => filter,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, "query_malformed", &detail),
    };
    let selection = console.admin.journal.select(&filter);
    match wants_page(&headers) {
        true => page::messages(&console, &filter, &selection),
        false => answer(StatusCode::OK, &selection),
    }
}

pub(super) async fn message(State(console): State<Console>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match MessageView::of(&console.admin, &id) {
        Some(view) if wants_page(&headers) => page::message(&console, &view, &view.lines(&console.admin.lines)),
        Some(view) => answer(StatusCode::OK, &view),
        None => unknown(),
    }
}

/// Returns the lines of the functions' logs about a message.
pub(super) async fn logs(State(console): State<Console>, Path(id): Path<String>) -> Response {
    let Some(view) = MessageView::of(&console.admin, &id) else { return unknown() };
    let lines = view.lines(&console.admin.lines);
    let lines: Vec<_> = lines
        .iter()
        .map(|line| json!({ "at": time_text(line.at), "function": *line.function, "text": *line.text }))
        .collect();
    answer(StatusCode::OK, &json!({ "lines": lines }))
}

/// Returns the payload as a file: the media type is not that of the payload, so that a browser does not show it.
pub(super) async fn payload(State(console): State<Console>, Path(id): Path<String>) -> Response {
    let Some(view) = MessageView::of(&console.admin, &id) else { return unknown() };
    let Some(payload) = view.payload else {
        return problem(StatusCode::NOT_FOUND, "payload_unknown", "The payload of this message was not kept.");
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"payload\"")),
    ];
    (headers, payload.content).into_response()
}

pub(super) async fn queues(State(console): State<Console>, headers: HeaderMap) -> Response {
    let actions = &console.admin.actions;
    let queues = actions.history.with_latest(actions.queues.counts().await);
    match wants_page(&headers) {
        true => page::queues(&console, &queues),
        false => answer(StatusCode::OK, &json!({ "queues": queues })),
    }
}

pub(super) async fn functions(State(console): State<Console>, headers: HeaderMap) -> Response {
    let (functions, reasons) = (&console.admin.actions.functions, console.admin.health.reasons());
    match wants_page(&headers) {
        true => page::functions(&console, &functions.list_with_logs(&reasons)),
        false => answer(StatusCode::OK, &json!({ "functions": functions.list(&reasons) })),
    }
}

pub(super) async fn contract(State(console): State<Console>, headers: HeaderMap) -> Response {
    let Some(project) = console.admin.actions.project.clone() else {
        return problem(StatusCode::NOT_FOUND, "contract_unknown", "The stack was started without a contract.");
    };
    // Reads files.
    let contract = tokio::task::spawn_blocking(move || project.describe()).await.unwrap_or_default();
    match wants_page(&headers) {
        true => page::contract(&console, &contract),
        false => answer(StatusCode::OK, &contract),
    }
}

pub(super) async fn metrics(State(console): State<Console>) -> Response {
    let page = console.admin.metrics.page(&console.admin.actions.queues.counts().await);
    ([(header::CONTENT_TYPE, HeaderValue::from_static(metrics::CONTENT_TYPE))], page).into_response()
}

/// Returns the token for requests that change something, as text. Another origin cannot read it.
pub(super) async fn token(State(console): State<Console>) -> Response {
    console.token.as_str().to_owned().into_response()
}

fn unknown() -> Response {
    let detail = "No message with this id was seen since the local stack started.";
    problem(StatusCode::NOT_FOUND, "message_unknown", detail)
}

fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    let content_type = HeaderValue::from_static("application/json");
    let text = serde_json::to_string(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, content_type), (header::VARY, HeaderValue::from_static("accept"))], text + "\n")
        .into_response()
}
