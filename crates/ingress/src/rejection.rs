//! Ingress's no: every refusal as an RFC 9457 problem with a stable `code`.
//!
//! The caller is told what it can act on: the status, the code, a sentence about its own request, and for schema errors
//! the JSON pointer of each fault. What only the operator may know (broker and secret-store errors) goes to `log` and never
//! into the answer.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;

use crate::pointer::Pointer;

/// Faults in one answer; a document with more is wrong enough (keeps the answer small).
pub(crate) const FAULTS_MAX: usize = 32;

/// The largest problem document, in bytes. Ours: what names and schemas others have chosen must not make an answer large.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The longest detail of one fault, in bytes.
const FAULT_DETAIL_BYTES_MAX: usize = 256;

/// The longest detail of a problem, in bytes. JSON writes a byte with six at most.
const DETAIL_BYTES_MAX: usize = 2 * 1024;

/// The detail of [`Code::SchemaViolated`].
pub(crate) const SCHEMA_VIOLATED: &str = "The body is JSON, and not what this route takes; see errors.";

/// Seconds a caller should wait when the queue or the secret store does not answer.
pub(crate) const UNAVAILABLE_RETRY_AFTER_S: u64 = 5;

/// Why a request was not admitted. The `code` strings are part of the API and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 400: the path is not valid percent-encoded UTF-8, or too long for an event.
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
    /// 415: the media type, or its charset, is not one the route takes.
    MediaTypeUnsupported,
    /// 415: the body has a content coding, such as gzip; `Accept-Encoding` names what is taken.
    ContentEncodingUnsupported,
    /// 400: the body is not what its transport encoding says (base64).
    BodyEncodingInvalid,
    /// 400: a body is required and none was sent.
    BodyMissing,
    /// 400: a body was sent to a route that declares none.
    BodyUnexpected,
    /// 400: the body is not JSON (syntax, UTF-8, nested too deeply, or a duplicate member, which `errors` names).
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
    /// The HTTP status and the stable code.
    fn parts(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::PathInvalid => (S::BAD_REQUEST, "path_invalid"),
            Self::RouteUnknown => (S::NOT_FOUND, "route_unknown"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::PayloadTooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::CredentialsMissing => (S::UNAUTHORIZED, "credentials_missing"),
            Self::CredentialsInvalid => (S::UNAUTHORIZED, "credentials_invalid"),
            Self::ScopeMissing => (S::FORBIDDEN, "scope_missing"),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited"),
            Self::MediaTypeUnsupported => (S::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported"),
            Self::ContentEncodingUnsupported => (S::UNSUPPORTED_MEDIA_TYPE, "content_encoding_unsupported"),
            Self::BodyEncodingInvalid => (S::BAD_REQUEST, "body_encoding_invalid"),
            Self::BodyMissing => (S::BAD_REQUEST, "body_missing"),
            Self::BodyUnexpected => (S::BAD_REQUEST, "body_unexpected"),
            Self::JsonInvalid => (S::BAD_REQUEST, "json_invalid"),
            Self::ParameterInvalid => (S::BAD_REQUEST, "parameter_invalid"),
            Self::IdempotencyKeyInvalid => (S::BAD_REQUEST, "idempotency_key_invalid"),
            Self::SchemaViolated => (S::UNPROCESSABLE_ENTITY, "schema_violated"),
            Self::QueueUnavailable => (S::SERVICE_UNAVAILABLE, "queue_unavailable"),
            Self::Unroutable => (S::SERVICE_UNAVAILABLE, "unroutable"),
            Self::SecretsUnavailable => (S::SERVICE_UNAVAILABLE, "secrets_unavailable"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal"),
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
    /// JSON pointer (RFC 6901) into the body, 256 bytes at most: a longer one is cut to a place around the fault, and
    /// `detail` says so.
    pub pointer: String,
    /// What is expected there, 256 bytes at most; never quotes the value.
    pub detail: String,
}

impl Fault {
    /// A fault of the document as a whole.
    pub(crate) fn at_root(detail: &str) -> Self {
        Self { pointer: String::new(), detail: detail.to_owned() }
    }

    pub(crate) fn new(pointer: Pointer, mut detail: String) -> Self {
        if pointer.is_cut {
            detail.insert_str(0, "in a place below, whose pointer is too long: ");
        }
        cut(&mut detail, FAULT_DETAIL_BYTES_MAX);
        Self { pointer: pointer.text, detail }
    }
}

/// Shortens `text` to at most `bytes_max` bytes, the ellipsis included.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
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

    /// The `application/problem+json` body (RFC 9457), of at most [`ANSWER_BYTES_MAX`] bytes. `type` is left out as its
    /// default, about:blank, whose `title` is the phrase of the status.
    #[must_use]
    pub fn body(&self) -> String {
        let mut faults = self.faults.as_slice();
        let mut detail = self.detail.clone();
        if detail.len() > DETAIL_BYTES_MAX {
            cut(detail.to_mut(), DETAIL_BYTES_MAX);
        }
        loop {
            let body = self.problem(&detail, faults);
            match faults.split_last() {
                // Names full of control characters are six times as long in JSON.
                Some((_, fewer)) if body.len() > ANSWER_BYTES_MAX => faults = fewer,
                _ => return body,
            }
        }
    }

    fn problem(&self, detail: &str, errors: &[Fault]) -> String {
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
        let (status, code) = self.code.parts();
        let title = status.canonical_reason().unwrap_or_default();
        let id = self.id.as_deref();
        serde_json::to_string(&Problem { title, status: status.as_u16(), code, detail, id, errors }).unwrap_or_default()
    }
}
