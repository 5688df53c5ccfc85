//! Rejections as RFC 9457 problem documents, each with a stable `code`.
//!
//! The answer has the facts the caller can act on: the status, the code, a sentence about the request, and for schema
//! errors the JSON pointer of each fault. Details for the operator (broker and secret-store errors) go to `log` and
//! never into the answer.

use std::borrow::Cow;

use http::StatusCode;
use serde::Serialize;
use sluicegate_contract::RateLimitBy;

use crate::pointer::Pointer;

/// The limit of faults in one answer, which keeps it small.
pub(crate) const FAULTS_MAX: usize = 32;

/// The largest problem document, in bytes. Names and texts from a request or a schema must not make an answer large.
pub const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// The longest detail of one fault, in bytes.
const FAULT_DETAIL_BYTES_MAX: usize = 256;

/// The longest detail of a problem, in bytes. JSON escapes a byte to at most six.
const DETAIL_BYTES_MAX: usize = 2 * 1024;

/// The detail of [`Code::SchemaViolated`].
pub(crate) const SCHEMA_VIOLATED: &str = "The body is JSON but does not match the schema of this route; see errors.";

/// The problem type of a rate limit that is exceeded, and its title (draft-ietf-httpapi-ratelimit-headers-11, section
/// 5.1).
const QUOTA_EXCEEDED: (&str, &str) = (
    "https://iana.org/assignments/http-problem-types#quota-exceeded",
    "Request cannot be satisfied as assigned quota has been exceeded",
);

/// Seconds a caller should wait when the queue or the secret store does not answer.
pub(crate) const UNAVAILABLE_RETRY_AFTER_S: u64 = 5;

/// The reason of a rejection. The `code` strings are part of the API and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 400: the path is not valid percent-encoded UTF-8, or too long for an event.
    PathInvalid,
    /// 404: no route has this path.
    RouteUnknown,
    /// 404: the caller has no message of this id, or it has no status.
    MessageUnknown,
    /// 405: the path exists, but not with this method; `Allow` lists its methods.
    MethodNotAllowed,
    /// 413: the body is larger than the limit of the route.
    PayloadTooLarge,
    /// 401: the route requires credentials, and none were sent.
    CredentialsMissing,
    /// 401: the credentials are not valid.
    CredentialsInvalid,
    /// 403: the principal lacks a scope that the route requires.
    ScopeMissing,
    /// 403: a claim of the token that the route needs is missing, or not usable.
    ClaimInvalid,
    /// 403: the verify token of a provider's handshake is not one of the route.
    VerifyTokenInvalid,
    /// 429: a rate limit of the route is used up, for this caller or for all.
    RateLimited,
    /// 415: the route does not accept the media type or its charset.
    MediaTypeUnsupported,
    /// 415: the body has a content coding, such as gzip; `Accept-Encoding` lists the accepted ones.
    ContentEncodingUnsupported,
    /// 400: the body is not in the content coding that its header names.
    ContentEncodingInvalid,
    /// 400: a CloudEvent lacks an attribute, or has one that is not valid.
    CloudEventInvalid,
    /// 422: no item of a batch was stored, each because of what was sent; `items` has the reasons.
    ItemsRefused,
    /// 400: the body is marked as base64 but is not.
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
    /// 422: the idempotency key belongs to another request.
    IdempotencyKeyReused,
    /// 409: a request with the same idempotency key is in progress.
    RequestInProgress,
    /// 422: the body is JSON but does not match the schema.
    SchemaViolated,
    /// 503: the broker did not confirm; the request may be repeated with the same idempotency key. If the answer has an
    /// `id`, the message of that id may be stored; otherwise it is not.
    QueueUnavailable,
    /// 503: the broker failed or was slow several times, and the request was refused without a send. Nothing is stored.
    BrokerUnavailable,
    /// 503: the broker has no queue for the message until an operator binds one.
    Unroutable,
    /// 503: the secrets could not be read.
    SecretsUnavailable,
    /// 503: the secret has no list for this route's credentials until an operator adds one.
    SecretsMissing,
    /// 503: the key that the provider publishes, and signs with, could not be fetched.
    KeyUnavailable,
    /// 503: the store of idempotency keys, rate limits and statuses did not answer.
    StoreUnavailable,
    /// 500: an internal error. The API document says that the message may be stored, as for a function that is stopped.
    Internal,
}

impl Code {
    /// Returns the HTTP status and the stable code.
    fn parts(self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            Self::PathInvalid => (S::BAD_REQUEST, "path_invalid"),
            Self::RouteUnknown => (S::NOT_FOUND, "route_unknown"),
            Self::MessageUnknown => (S::NOT_FOUND, "message_unknown"),
            Self::MethodNotAllowed => (S::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::PayloadTooLarge => (S::PAYLOAD_TOO_LARGE, "payload_too_large"),
            Self::CredentialsMissing => (S::UNAUTHORIZED, "credentials_missing"),
            Self::CredentialsInvalid => (S::UNAUTHORIZED, "credentials_invalid"),
            Self::ScopeMissing => (S::FORBIDDEN, "scope_missing"),
            Self::ClaimInvalid => (S::FORBIDDEN, "claim_invalid"),
            Self::VerifyTokenInvalid => (S::FORBIDDEN, "verify_token_invalid"),
            Self::RateLimited => (S::TOO_MANY_REQUESTS, "rate_limited"),
            Self::MediaTypeUnsupported => (S::UNSUPPORTED_MEDIA_TYPE, "media_type_unsupported"),
            Self::ContentEncodingUnsupported => (S::UNSUPPORTED_MEDIA_TYPE, "content_encoding_unsupported"),
            Self::ContentEncodingInvalid => (S::BAD_REQUEST, "content_encoding_invalid"),
            Self::CloudEventInvalid => (S::BAD_REQUEST, "cloudevent_invalid"),
            Self::ItemsRefused => (S::UNPROCESSABLE_ENTITY, "items_refused"),
            Self::BodyEncodingInvalid => (S::BAD_REQUEST, "body_encoding_invalid"),
            Self::BodyMissing => (S::BAD_REQUEST, "body_missing"),
            Self::BodyUnexpected => (S::BAD_REQUEST, "body_unexpected"),
            Self::JsonInvalid => (S::BAD_REQUEST, "json_invalid"),
            Self::ParameterInvalid => (S::BAD_REQUEST, "parameter_invalid"),
            Self::IdempotencyKeyInvalid => (S::BAD_REQUEST, "idempotency_key_invalid"),
            Self::IdempotencyKeyReused => (S::UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
            Self::RequestInProgress => (S::CONFLICT, "request_in_progress"),
            Self::SchemaViolated => (S::UNPROCESSABLE_ENTITY, "schema_violated"),
            Self::QueueUnavailable => (S::SERVICE_UNAVAILABLE, "queue_unavailable"),
            Self::BrokerUnavailable => (S::SERVICE_UNAVAILABLE, "broker_unavailable"),
            Self::Unroutable => (S::SERVICE_UNAVAILABLE, "unroutable"),
            Self::SecretsUnavailable => (S::SERVICE_UNAVAILABLE, "secrets_unavailable"),
            Self::SecretsMissing => (S::SERVICE_UNAVAILABLE, "secrets_missing"),
            Self::KeyUnavailable => (S::SERVICE_UNAVAILABLE, "key_unavailable"),
            Self::StoreUnavailable => (S::SERVICE_UNAVAILABLE, "store_unavailable"),
            Self::Internal => (S::INTERNAL_SERVER_ERROR, "internal"),
        }
    }

    /// Returns the HTTP status of the answer.
    #[must_use]
    pub fn status(self) -> StatusCode {
        self.parts().0
    }

    /// Returns the stable code of the answer and the log line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }
}

/// A fault of the body: its pointer and a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BodyFault {
    /// JSON pointer (RFC 6901) into the body, 256 bytes at most. A longer one is cut to an ancestor, and `detail` says
    /// so.
    pub pointer: String,
    /// The expectation, 256 bytes at most, without the value.
    pub detail: String,
}

impl BodyFault {
    /// Returns a fault of the whole document.
    pub(crate) fn at_root(detail: &str) -> Self {
        Self { pointer: String::new(), detail: detail.to_owned() }
    }

    pub(crate) fn new(pointer: Pointer, mut detail: String) -> Self {
        if pointer.is_cut {
            detail.insert_str(0, "below this pointer, at one that is too long to show: ");
        }
        cut(&mut detail, FAULT_DETAIL_BYTES_MAX);
        Self { pointer: pointer.text, detail }
    }
}

/// The queues of a message that is for several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Destinations(pub Vec<Destination>);

/// A queue of a message that is for several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Destination {
    /// Its logical name in the contract.
    pub queue: String,
    /// Whether the message is on it.
    pub stored: IsStored,
}

/// What is known of a message on a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum IsStored {
    /// The broker confirmed it.
    Yes,
    /// It is not there.
    No,
    /// It may be there.
    Unknown,
}

/// Shortens `text` to at most `bytes_max` bytes, the ellipsis included.
fn cut(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
}

/// A rejection, with a text for the caller and a text for the log.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The reason.
    pub code: Code,
    /// A sentence for the caller about the request.
    pub detail: Cow<'static, str>,
    /// For schema errors: each fault, 32 at most.
    pub faults: Vec<BodyFault>,
    /// Answer headers beside the content type, `Allow` or `Retry-After` for example.
    pub headers: Vec<(&'static str, String)>,
    /// The id of the message, if it may be stored although the request is rejected.
    pub id: Option<Box<str>>,
    /// Of a message for several queues that is not known to be on each: what is known of each.
    pub destinations: Option<Box<Destinations>>,
    /// The rate limit that is exceeded.
    pub exceeded: Option<RateLimitBy>,
    /// The text for the operator.
    pub log: Option<Box<str>>,
}

impl Rejection {
    /// Returns a rejection with only a code and a sentence.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            faults: Vec::new(),
            headers: Vec::new(),
            id: None,
            destinations: None,
            exceeded: None,
            log: None,
        }
    }

    /// Returns whether the message may be stored: a rejection has its id then.
    pub fn may_be_stored(&self) -> bool {
        self.id.is_some()
    }

    /// Adds an answer header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    /// Sets the text for the operator.
    #[must_use]
    pub fn log(mut self, text: impl ToString) -> Self {
        self.log = Some(text.to_string().into());
        self
    }

    /// Returns the `application/problem+json` body (RFC 9457), of at most [`ANSWER_BYTES_MAX`] bytes. Except for an
    /// exceeded rate limit, `type` is omitted, which means `about:blank`; `title` is then the reason phrase of the
    /// status.
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
                // Escaped control characters can make a fault six times as long.
                Some((_, fewer)) if body.len() > ANSWER_BYTES_MAX => faults = fewer,
                _ => return body,
            }
        }
    }

    fn problem(&self, detail: &str, errors: &[BodyFault]) -> String {
        #[derive(Serialize)]
        struct Problem<'a> {
            #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
            kind: Option<&'a str>,
            title: &'a str,
            status: u16,
            code: &'a str,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            destinations: Option<&'a Destinations>,
            #[serde(rename = "violated-policies", skip_serializing_if = "Option::is_none")]
            violated: Option<[&'a str; 1]>,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [BodyFault],
        }
        let (status, code) = self.code.parts();
        let (kind, title) = match self.exceeded {
            Some(_) => (Some(QUOTA_EXCEEDED.0), QUOTA_EXCEEDED.1),
            None => (None, status.canonical_reason().unwrap_or_default()),
        };
        let violated = self.exceeded.map(|by| [by.name()]);
        let id = self.id.as_deref();
        let (status, destinations) = (status.as_u16(), self.destinations.as_deref());
        serde_json::to_string(&Problem { kind, title, status, code, detail, id, destinations, violated, errors })
            .unwrap_or_default()
    }
}
