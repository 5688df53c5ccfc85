//! The OpenAPI document as routing table, validator, authentication policy and documentation.
//!
//! [`Contract::parse`] (feature `parse`, for builds and tools) reads OpenAPI 3.1 YAML and reports *every* [`Fault`]
//! with file, line, JSON pointer and reason; the ingress can serve every contract that it accepts. At run time, the
//! [`Contract`] that it returns is plain data, serialized as JSON. It routes requests and renders templates without a
//! YAML reader or a schema compiler.
//!
//! Not part of this crate: validating payloads against the schemas (the ingress compiles them on first use) and
//! checking credentials (the contract only names the required ones).

#[cfg(feature = "parse")]
mod build;
mod content;
mod cors;
mod drift;
mod embedded;
mod model;
#[cfg(feature = "parse")]
mod parse;
mod rate_limit;
mod route;
pub mod secret_entry;
mod template;

#[cfg(feature = "parse")]
pub use build::build;
pub use content::{
    BATCH_ITEMS_MAX, CLOUDEVENT_MEDIA_TYPE, CLOUDEVENTS_BATCH_MEDIA_TYPE, ContentCoding, LINES_MEDIA_TYPES, Mode,
};
pub use cors::{CORS_EXPOSED, Cors};
pub use drift::Drift;
pub use embedded::EmbeddedContract;
pub use model::{
    Body, BodySchema, CUSTOM, Contract, Enqueue, GatewayIdentity, Idempotency, IdempotencyStore, KeyPlace, Location,
    OnStoreFailure, Operation, Parameter, QueueCondition, Requirement, SchemaText, SecurityScheme, is_json,
};
pub use rate_limit::{RATE_LIMIT_REQUESTS_MAX, RATE_LIMIT_WINDOW_S_MAX, RateLimit, RateLimitBy, STORED_RATE_MAX};
pub use route::{Match, RouteError, decode_segment};
pub use sluicegate_yaml::pointer;
#[cfg(feature = "parse")]
pub use sluicegate_yaml::{Fault, Faults};
pub use template::{Missing, TemplateError, ValueSource, ValueTemplate};

/// The path at which the ingress serves [`Contract::public_document`]; no operation may use it.
pub const DOCUMENT_PATH: &str = "/openapi.json";

/// The path at which the ingress serves the status of messages, if an operation has [`Enqueue::status`]; then no
/// operation may use it.
pub const STATUS_PATH: &str = "/messages/{id}";

/// Returns the environment variable that binds a logical queue: `QUEUE_WEB_HOOKS` for `web-hooks`. A contract has no
/// two queues with the same variable.
#[must_use]
pub fn binding_variable(queue: &str) -> String {
    format!("QUEUE_{}", queue.replace(['-', '.'], "_").to_ascii_uppercase())
}

/// The largest payload of a route without `payloadBytes`: 256 KiB.
pub const PAYLOAD_BYTES_DEFAULT: usize = 256 * 1024;

/// The largest `payloadBytes` of a route: 6 MiB, the limit of Lambda for one synchronous invocation.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>. The event around the payload counts too,
/// and the broker has its own limit (SQS: 1 MiB), so less may fit.
pub const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;

/// The largest message that SQS accepts, in bytes: 1 MiB.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>
pub const SQS_MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The logical queue of the archive: every message of a route with `archive: true` goes to it too.
pub const ARCHIVE_QUEUE: &str = "archive";

/// What the keys of the archive's objects start with, for templates and their checks.
pub const ARCHIVE_PREFIX: &str = "archive/";

/// The largest JSON payload that always fits into an SQS message: 24 KiB are left for the envelope. A payload with
/// white space around the JSON value counts as another media type, because it is sent in base64.
pub const SQS_JSON_BYTES_MAX: usize = SQS_MESSAGE_BYTES_MAX - 24 * 1024;

/// The largest payload of another media type that always fits into an SQS message: base64 makes it a third longer.
pub const SQS_OTHER_BYTES_MAX: usize = SQS_JSON_BYTES_MAX / 4 * 3;

/// The longest `delay`: SQS delays a message by 900 s at most.
///
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html>
pub const DELAY_S_MAX: u16 = 900;

/// How long an idempotency key is remembered without `ttlDays`.
pub const IDEMPOTENCY_TTL_DAYS_DEFAULT: u16 = 7;

/// The highest `idempotency.ttlDays`. Chosen here: a client that repeats a request after a year is a new client.
pub const IDEMPOTENCY_TTL_DAYS_MAX: u16 = 365;
