//! Answers of the actions: JSON, or an RFC 9457 problem; what a page makes of them; and the reading of bodies.

use axum::{
    extract::Request,
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use maud::html;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::super::page::segment;

/// The header that htmx sends with each request.
const HTMX: &str = "hx-request";
/// What htmx does after an action. <https://four.htmx.org/reference/headers>
const REDIRECT: HeaderName = HeaderName::from_static("hx-redirect");
const REFRESH: HeaderName = HeaderName::from_static("hx-refresh");

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

    /// The broker or the API refuses, or was not reached.
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

/// Reads a body, JSON or a form; an empty one is an empty object.
pub(super) fn input<T: DeserializeOwned>(body: &Bytes) -> Result<T, Problem> {
    let value = if body.trim_ascii_start().starts_with(b"{") {
        serde_json::from_slice(body)
    } else {
        // A form cannot start with a brace, which is escaped there.
        let fields = form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned().into()));
        Ok(Value::Object(fields.collect::<Map<_, _>>()))
    };
    value.and_then(serde_json::from_value).map_err(|error| Problem::invalid(format!("the body: {error}")))
}

/// Reads a number, which is a text in a form.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Number(u64),
        Text(String),
    }
    match Number::deserialize(deserializer)? {
        Number::Number(number) => Ok(number),
        Number::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

/// Answers a button of a page: after an action the page is loaded again, or that of the message which the action made;
/// a problem is a text.
pub(super) async fn for_pages(request: Request, next: Next) -> Response {
    let is_button = request.headers().contains_key(HTMX);
    let response = next.run(request).await;
    if !is_button {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    head.headers.remove(header::CONTENT_LENGTH);
    if !head.status.is_success() {
        let detail = body["detail"].as_str().unwrap_or("The action failed.");
        let failures = body["failures"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let text = html! { p.bad role="alert" { (detail) @for failure in failures { br; (failure) } } };
        return (head.status, Html(text.into_string())).into_response();
    }
    let message = body["message"].as_str().map(|id| format!("/messages/{}", segment(id)));
    let (name, value) = match message.and_then(|path| HeaderValue::try_from(path).ok()) {
        Some(path) => (REDIRECT, path),
        None => (REFRESH, HeaderValue::from_static("true")),
    };
    (head.status, [(name, value)]).into_response()
}

fn answer(status: StatusCode, content_type: &'static str, body: &Value) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))];
    (status, content_type, format!("{body}\n")).into_response()
}
