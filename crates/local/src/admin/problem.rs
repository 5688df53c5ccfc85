//! Refusals of the admin port as RFC 9457 problems.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, Uri, header};
use serde_json::json;

/// Returns a problem document.
pub(super) fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "code": code, "detail": detail });
    let content_type = HeaderValue::from_static("application/problem+json");
    (status, [(header::CONTENT_TYPE, content_type)], format!("{body}\n")).into_response()
}

/// Answers a request without a route.
pub(super) async fn not_found(uri: Uri) -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", &format!("{} does not exist.", uri.path()))
}
