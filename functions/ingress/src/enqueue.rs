//! Stages 4 and 5: the [`Envelope`], and the broker's [`Receipt`] for it.
//!
//! The same request, repeated by the same principal with the same idempotency key, gives the same message id, without a store.
//! Another request under the same key is another message, except where the contract says `fingerprint: none`.
//! Only a receipt is a yes; whatever else the broker says, or does not say in time, is a 503 that may be repeated.

use std::borrow::Cow;

use serde_json::Value;
use sluicegate_contract::{Source, Template};
use sluicegate_envelope::{Envelope, deterministic_id, fresh_id};
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    rejection::{Code, Rejection},
    validate::Validated,
};

/// Longest idempotency key, in characters. The draft leaves the length to the server.
pub(crate) const IDEMPOTENCY_KEY_CHARS_MAX: usize = 255;

/// Makes the envelope of a validated request.
///
/// # Errors
/// When a template names something the request does not have, or an attribute is not one CloudEvents allows.
pub(crate) fn envelope(request: &Validated<'_>, received_at: OffsetDateTime) -> Result<Envelope, Rejection> {
    let authenticated = request.authenticated();
    let routed = authenticated.routed();
    let (operation, arrival) = (routed.operation(), routed.arrival());
    let enqueue = &operation.enqueue;

    let key = idempotency_key(request)?;
    let event_type = render(request, &enqueue.event_type)?;
    let subject = enqueue.subject.as_ref().map(|subject| render(request, subject)).transpose()?;
    let group = enqueue.group.as_ref().map(|group| render(request, group)).transpose()?;
    let fingerprint = || {
        let said = [&*event_type, subject.as_deref().unwrap_or_default(), group.as_deref().unwrap_or_default()];
        let sent = std::iter::once(arrival.query.as_str()).chain(routed.path_params());
        said.into_iter().chain(sent).map(str::as_bytes).chain([routed.body()])
    };
    let id = match (&key, &enqueue.idempotency) {
        (Some(key), Some(idempotency)) => {
            let named = [authenticated.principal_domain(), authenticated.principal(), &operation.id, key];
            let fingerprint = idempotency.fingerprint.then(fingerprint);
            deterministic_id(named.into_iter().map(str::as_bytes).chain(fingerprint.into_iter().flatten()))
        }
        _ => fresh_id(),
    };
    let mut builder = Envelope::builder(id, arrival.path.as_str(), event_type)
        .time(received_at)
        .principal(authenticated.principal())
        .operation(&operation.id)
        .payload(arrival.header("content-type"), routed.body());
    if let Some(subject) = subject {
        builder = builder.subject(subject);
    }
    if let Some(group) = group {
        builder = builder.group(group);
    }
    if let Some(key) = key {
        builder = builder.idempotency_key(key);
    }
    if let Some(traceparent) = arrival.header("traceparent").filter(|value| is_traceparent(value)) {
        builder = builder.traceparent(traceparent);
        if let Some(tracestate) = arrival.header("tracestate").filter(|value| is_tracestate(value)) {
            builder = builder.tracestate(tracestate);
        }
    }
    builder.build().map_err(|error| Rejection::new(Code::ParameterInvalid, format!("{error}.")))
}

/// Sends the envelope and waits until the broker has said that it holds it.
///
/// # Errors
/// 503 with Retry-After when it did not, or 413 when the message is larger than the queue takes.
pub(crate) async fn send<P: Producer>(
    producer: &P,
    request: &Validated<'_>,
    envelope: &Envelope,
    trace_header: Option<&str>,
    deadline: Instant,
) -> Result<Receipt, Rejection> {
    let delay = request.authenticated().routed().operation().enqueue.delay_s;
    let message = Message {
        envelope,
        group: envelope.group(),
        delay: std::time::Duration::from_secs(u64::from(delay)),
        trace_header,
    };
    producer.send(&message, deadline).await.map_err(rejection)
}

fn rejection(error: SendError) -> Rejection {
    let code = match error {
        // The route let it pass, and with its envelope it is more than the broker carries.
        SendError::Refused { message_at_fault: true, .. } => Code::PayloadTooLarge,
        SendError::Unroutable { .. } => Code::Unroutable,
        _ => Code::QueueUnavailable,
    };
    let rejection = Rejection::new(code, error.client_text()).log(&error);
    match code {
        Code::PayloadTooLarge => rejection,
        _ => rejection.header("retry-after", error.retry_after().as_secs().max(1)),
    }
}

fn idempotency_key(request: &Validated<'_>) -> Result<Option<String>, Rejection> {
    let Some(idempotency) = &request.authenticated().routed().operation().enqueue.idempotency else { return Ok(None) };
    let invalid = |detail: String| Rejection::new(Code::IdempotencyKeyInvalid, detail);
    let rendered = match idempotency.key.render(|source| lookup(request, source)) {
        Ok(rendered) => rendered,
        Err(missing) if idempotency.required => return Err(invalid(format!("{missing}."))),
        Err(_) => return Ok(None),
    };
    // A structured-field string is quoted; most clients send it bare (Idempotency-Key draft 07, section 2.1).
    let key = rendered.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&rendered);
    let usable =
        (1..=IDEMPOTENCY_KEY_CHARS_MAX).contains(&key.len()) && key.bytes().all(|b| (b' '..=b'~').contains(&b));
    if usable {
        Ok(Some(key.to_owned()))
    } else {
        Err(invalid(format!("It must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} printable ASCII characters.")))
    }
}

fn render(request: &Validated<'_>, template: &Template) -> Result<String, Rejection> {
    template
        .render(|source| lookup(request, source))
        .map_err(|missing| Rejection::new(Code::ParameterInvalid, format!("{missing}.")))
}

fn lookup<'r>(request: &'r Validated<'_>, source: &Source) -> Option<Cow<'r, str>> {
    let routed = request.authenticated().routed();
    match source {
        Source::Header(name) => routed.arrival().header(name).map(Cow::Borrowed),
        Source::Path(name) => routed.path_param(name).map(Cow::Borrowed),
        Source::Query(name) => routed.arrival().query_value(name).map(Cow::Owned),
        Source::Body(pointer) => match request.document()?.pointer(pointer)? {
            Value::String(text) => Some(Cow::Borrowed(text)),
            value @ (Value::Number(_) | Value::Bool(_)) => Some(Cow::Owned(value.to_string())),
            _ => None,
        },
    }
}

/// Whether it is a version 00 `traceparent` (W3C Trace Context, section 3.2); others are not passed on.
pub(crate) fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let parts: Vec<&str> = value.split('-').collect();
    matches!(parts[..], ["00", trace, span, flags]
        if hex(trace, 32) && hex(span, 16) && hex(flags, 2) && trace.bytes().any(|b| b != b'0') && span.bytes().any(|b| b != b'0'))
}

/// Whether it is a `tracestate` worth passing on: printable, within the 512 characters of W3C Trace Context, section 3.3.1.5. A
/// bad one is dropped, because a trace must not cost the message.
fn is_tracestate(value: &str) -> bool {
    value.len() <= 512 && value.bytes().all(|b| (b' '..=b'~').contains(&b))
}
