//! Answers of the actions: JSON, or an RFC 9457 problem; and the reading of their bodies.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The result of an action.
pub(super) type Answered = Result<Response, Problem>;

/// A refusal or failure of an action.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: String,
    more: Value,
}

impl Problem {
    /// The body or the request cannot be used.
    pub(super) fn invalid(detail: impl ToString) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "request_invalid", detail)
    }

    /// What the path names does not exist.
    pub(super) fn unknown(code: &'static str, detail: impl ToString) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// The stack is in a state in which the action is impossible.
    pub(super) fn conflict(code: &'static str, detail: impl ToString) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// The broker refuses, or was not reached.
    pub(super) fn broker(code: &'static str, detail: impl ToString) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, code, detail)
    }

    /// Adds the members of an object.
    pub(super) fn with(self, more: Value) -> Self {
        Self { more, ..self }
    }

    fn new(status: StatusCode, code: &'static str, detail: impl ToString) -> Self {
        Self { status, code, detail: detail.to_string(), more: json!({}) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = self.more;
        body["title"] = self.status.canonical_reason().into();
        body["status"] = self.status.as_u16().into();
        body["code"] = self.code.into();
        body["detail"] = self.detail.into();
        answer(self.status, "application/problem+json", &body)
    }
}

/// Returns a 200 with this value.
pub(super) fn done(value: impl Serialize) -> Response {
    answer(StatusCode::OK, "application/json", &json!(value))
}

/// Reads a body; an empty one is an empty object.
pub(super) fn input<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let text = if body.is_empty() { b"{}" } else { &body[..] };
    serde_json::from_slice(text).map_err(|error| Problem::invalid(format!("the body: {error}")))
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    (status, content_type, format!("{body}\n")).into_response()
}
