//! Ingress's no: every refusal as an RFC 9457 problem with a stable `code`.
//!
//! The caller is told what it can act on: the status, the code, a sentence about its own request, and for schema errors
//! the JSON pointer of each fault. What only the operator may know (broker and secret-store errors) goes to `log` and never
//! into the answer.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

/// Faults told in one answer; a document with more is wrong enough (keeps the answer small).
pub(crate) const FAULTS_MAX: usize = 32;

/// Seconds a caller should wait when the queue or the secret store does not answer.
pub(crate) const UNAVAILABLE_RETRY_AFTER_S: u64 = 5;

/// Why a request was not admitted. The `code` strings are part of the API and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 400: the path is not valid percent-encoded UTF-8.
    PathInvalid,
    /// 404: no route has this path.
    RouteUnknown,
    /// 405: the route exists, the method does not; `Allow` names those that do.
    MethodNotAllowed,
    /// 413: the body is larger than the route takes.
    PayloadTooLarge,
    /// 401: no credentials of a kind the route takes.
    CredentialsMissing,
    /// 401: credentials were sent and are not valid.
    CredentialsInvalid,
    /// 403: the principal lacks a scope the route asks for.
    ScopeMissing,
    /// 429: the route's rate limit for this caller is used up.
    RateLimited,
    /// 415: the media type is not one the route takes.
    MediaTypeUnsupported,
    /// 400: the body is not what its transport encoding says (base64).
    BodyEncodingInvalid,
    /// 400: a body is required and none was sent.
    BodyMissing,
    /// 400: the body is not JSON (syntax, UTF-8, or nested too deeply).
    JsonInvalid,
    /// 400: a parameter is missing or not of its declared form.
    ParameterInvalid,
    /// 400: a required idempotency key is missing, or not usable.
    IdempotencyKeyInvalid,
    /// 422: the body is JSON and breaks the schema.
    SchemaViolated,
    /// 503: the broker did not confirm; the request may be repeated with the same idempotency key. With an `id`, the
    /// message of that id may be stored; without one it is not.
    QueueUnavailable,
    /// 503: the broker has no queue to put the message on, until an operator binds one.
    Unroutable,
    /// 503: the secrets that decide who may pass could not be read.
    SecretsUnavailable,
    /// 500: a fault of ours; nothing was stored.
    Internal,
}

impl Code {
    /// The HTTP status, the stable code and the title.
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::PathInvalid => (S::BAD_REQUEST, "path_invalid", "The path is not valid"),
            Self::RouteUnknown => (S::NOT_FOUND, "route_unknown", "There is no such route"),
            Self::MethodNotAllowed => {
                (S::METHOD_NOT_ALLOWED, "method_not_allowed", "The route does not take this method")
            }
            Self::PayloadTooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large", "The body is too large"),
            Self::CredentialsMissing => (S::UNAUTHORIZED, "credentials_missing", "Credentials are required"),
            Self::CredentialsInvalid => (S::UNAUTHORIZED, "credentials_invalid", "The credentials are not valid"),
            Self::ScopeMissing => (S::FORBIDDEN, "scope_missing", "The credentials do not allow this"),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited", "Too many requests"),
            Self::MediaTypeUnsupported => {
                (S::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported", "The media type is not supported")
            }
            Self::BodyEncodingInvalid => (S::BAD_REQUEST, "body_encoding_invalid", "The body's encoding is not valid"),
            Self::BodyMissing => (S::BAD_REQUEST, "body_missing", "A body is required"),
            Self::JsonInvalid => (S::BAD_REQUEST, "json_invalid", "The body is not valid JSON"),
            Self::ParameterInvalid => (S::BAD_REQUEST, "parameter_invalid", "A parameter is missing or not valid"),
            Self::IdempotencyKeyInvalid => {
                (S::BAD_REQUEST, "idempotency_key_invalid", "The idempotency key is missing or not valid")
            }
            Self::SchemaViolated => (S::UNPROCESSABLE_ENTITY, "schema_violated", "The body breaks the schema"),
            Self::QueueUnavailable => (S::SERVICE_UNAVAILABLE, "queue_unavailable", "The request was not stored"),
            Self::Unroutable => (S::SERVICE_UNAVAILABLE, "unroutable", "The request was not stored"),
            Self::SecretsUnavailable => {
                (S::SERVICE_UNAVAILABLE, "secrets_unavailable", "Credentials cannot be checked now")
            }
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side"),
        }
    }

    /// The HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// The stable code of the answer and the log line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }
}

/// One thing wrong with the body: where, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// JSON pointer (RFC 6901) into the body.
    pub pointer: String,
    /// What is expected there; never quotes the value.
    pub detail: String,
}

/// A refusal, with what the caller is told and what only the log is told.
#[derive(Debug)]
pub struct Rejection {
    /// Which refusal.
    pub code: Code,
    /// One sentence for the caller about its own request.
    pub detail: Cow<'static, str>,
    /// For schema errors: each fault, [`FAULTS_MAX`] at most.
    pub faults: Vec<Fault>,
    /// Answer headers beside the content type, `Allow` or `Retry-After` for example.
    pub headers: Vec<(&'static str, String)>,
    /// The id of the message, when it may be stored although it is refused here.
    pub id: Option<Box<str>>,
    /// What only the operator may read.
    pub log: Option<String>,
}

impl Rejection {
    /// A refusal with nothing but its code and a sentence.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), faults: Vec::new(), headers: Vec::new(), id: None, log: None }
    }

    /// Adds an answer header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Adds the operator's side of the story.
    #[must_use]
    pub fn log(mut self, text: impl ToString) -> Self {
        self.log = Some(text.to_string());
        self
    }

    /// The `application/problem+json` body (RFC 9457, `type` about:blank is left out as its default).
    #[must_use]
    pub fn body(&self) -> String {
        #[derive(Serialize)]
        struct Problem<'a> {
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [Fault],
        }
        let (status, code, title) = self.code.parts();
        let problem = Problem {
            title,
            status: status.as_u16(),
            code,
            detail: &self.detail,
            id: self.id.as_deref(),
            errors: &self.faults,
        };
        serde_json::to_string(&problem).unwrap_or_default()
    }
}
