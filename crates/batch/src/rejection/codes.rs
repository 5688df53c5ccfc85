//! Codes of the rejections that are decided here and not by a handler. `docs/operate.md` explains each.

/// The message is not an event.
pub(crate) const UNDECODABLE: &str = "undecodable";
/// No handler is registered for its type.
pub(crate) const NO_HANDLER: &str = "no_handler";
/// The payload does not fit the type that the handler takes.
pub(crate) const PAYLOAD_INVALID: &str = "payload_invalid";
/// The payload in S3 cannot be read.
#[cfg(feature = "s3")]
pub(crate) const PAYLOAD_UNAVAILABLE: &str = "payload_unavailable";
/// The payload has no value for the idempotency key of its type.
pub(crate) const IDEMPOTENCY_KEY_MISSING: &str = "idempotency_key_missing";
/// The idempotency key belongs to a message with another type or payload.
pub(crate) const IDEMPOTENCY_KEY_REUSED: &str = "idempotency_key_reused";
/// Another delivery of the message was being handled in the last receive.
pub(crate) const IN_PROGRESS: &str = "in_progress";
/// The handler was not called in the last receive: no time was left, or an earlier message of the group was returned.
pub(crate) const NOT_STARTED: &str = "not_started";
/// The handler failed in the last receive.
pub(crate) const RECEIVES_EXHAUSTED: &str = "receives_exhausted";
/// The handler panicked in the last receive.
pub(crate) const HANDLER_PANICKED: &str = "handler_panicked";
/// The handler was cancelled at the deadline in the last receive.
pub(crate) const HANDLER_CANCELLED: &str = "handler_cancelled";
/// The endpoint that events are forwarded to refused this one.
#[cfg(feature = "forward")]
pub(crate) const ENDPOINT_REFUSED: &str = "endpoint_refused";
/// The retry queue of RabbitMQ is missing.
#[cfg(feature = "rabbitmq")]
pub(crate) const RETRY_QUEUE_MISSING: &str = "retry_queue_missing";
