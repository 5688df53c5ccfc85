//! Stages 4 and 5: the [`Envelope`], and the broker's [`Receipt`] for it.
//!
//! A request repeated by the same principal with the same idempotency key gives the same message id, without a store.
//! Another request under the same key is another message, unless the contract sets `fingerprint: none`. Only a receipt
//! is a success. Any other outcome, including a timeout, is answered with 503, and the client may repeat the request.

use std::borrow::Cow;

use serde_json::Value;
use sluicegate_contract::{Missing, ValueSource, ValueTemplate};
use sluicegate_envelope::{ATTRIBUTE_BYTES_MAX, Envelope, EnvelopeBuildError, deterministic_id, fresh_id, is_text};
use sluicegate_queue::{Message, Producer, Receipt, SendError};
use sluicegate_webhook::values_at;
use time::OffsetDateTime;
use tokio::time::Instant;

use crate::{
    form,
    idempotency_key::{self, SENT_TWICE},
    rejection::{BodyFault, Code, Rejection, SCHEMA_VIOLATED},
    validate::Validated,
};

/// Builds the envelope of a validated request.
///
/// # Errors
/// A template names a value that the request lacks, or gives an attribute that CloudEvents does not allow: 422 with the
/// pointer for a value of the body, 400 with the name otherwise.
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
    let mut builder = Envelope::builder(id, operation.source(), event_type)
        .time(received_at)
        .principal(authenticated.principal())
        .operation(&operation.id)
        .payload(request.media_type().as_deref(), routed.body());
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
    builder.build().map_err(|error| unfit(request, &error))
}

/// Returns the rejection of an invalid attribute, with the part of the request that caused it.
fn unfit(request: &Validated<'_>, error: &EnvelopeBuildError) -> Rejection {
    let enqueue = &request.authenticated().routed().operation().enqueue;
    let key = enqueue.idempotency.as_ref().map(|idempotency| &idempotency.key);
    let (attribute, reason) = match error {
        EnvelopeBuildError::Empty { attribute } => (*attribute, "is empty".to_owned()),
        EnvelopeBuildError::TooLong { attribute, .. } => {
            (*attribute, format!("is longer than {ATTRIBUTE_BYTES_MAX} bytes"))
        }
        EnvelopeBuildError::Character { attribute } => {
            (*attribute, "holds a control character or a Unicode noncharacter".to_owned())
        }
        EnvelopeBuildError::Time => ("time", String::new()),
    };
    let template = match attribute {
        "datacontenttype" => return refused(&ValueSource::Header("content-type".to_owned()), &reason),
        "type" => Some(&enqueue.event_type),
        "subject" => enqueue.subject.as_ref(),
        "partitionkey" => enqueue.group.as_ref(),
        "idempotencykey" => key,
        _ => None,
    };
    let value = |source: &&ValueSource| lookup(request, source).unwrap_or_default();
    let mut sources = template.into_iter().flat_map(ValueTemplate::sources);
    let at_fault = match error {
        EnvelopeBuildError::Character { .. } => sources.find(|source| !is_text(&value(source))),
        _ => sources.max_by_key(|source| value(source).len()),
    };
    match at_fault {
        Some(source) => refused(source, &reason),
        None => Rejection::new(Code::Internal, "This request cannot be stored.").log(error),
    }
}

/// Returns the rejection of an unusable value, with its source and reason.
fn refused(source: &ValueSource, reason: &str) -> Rejection {
    match source {
        ValueSource::Body(pointer) => Rejection {
            faults: vec![BodyFault { pointer: pointer.clone(), detail: format!("the value {reason}") }],
            ..Rejection::new(Code::SchemaViolated, SCHEMA_VIOLATED)
        },
        ValueSource::Claims(_) => Rejection::new(Code::ClaimInvalid, format!("The {} {reason}.", place(source))),
        _ => Rejection::new(Code::ParameterInvalid, format!("The {} {reason}.", place(source))),
    }
}

/// Returns the source of a value as words for an error text.
fn place(source: &ValueSource) -> String {
    match source {
        ValueSource::Header(name) => format!("header {name}"),
        ValueSource::Path(name) => format!("path parameter {name}"),
        ValueSource::Query(name) => format!("query parameter {name}"),
        ValueSource::Body(pointer) => format!("value at {pointer} of the body"),
        ValueSource::Form { name, pointer: None } => format!("form field {name}"),
        ValueSource::Form { name, pointer: Some(pointer) } => format!("value at {pointer} of the form field {name}"),
        ValueSource::Principal => "principal".to_owned(),
        ValueSource::Claims(pointer) => format!("claim at {pointer} of the token"),
    }
}

/// Sends the envelope and waits for the confirm of the broker.
///
/// # Errors
/// 503 with Retry-After without a confirm, or 413 if the message exceeds the limit of the queue.
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
    producer.send(&message, deadline).await.map_err(|error| rejection(&error, envelope))
}

fn rejection(error: &SendError, envelope: &Envelope) -> Rejection {
    let code = match error {
        // The body is within the limit of the route, but with its envelope it exceeds the limit of the broker.
        SendError::Refused { message_at_fault: true, .. } | SendError::TooLarge { .. } => Code::PayloadTooLarge,
        SendError::Unroutable { .. } => Code::Unroutable,
        _ => Code::QueueUnavailable,
    };
    let mut rejection = Rejection::new(code, error.client_text()).log(error);
    rejection.id = matches!(error, SendError::Unknown { .. }).then(|| envelope.id().into());
    match error {
        SendError::TooLarge { bytes, bytes_max } => {
            let detail = too_large(*bytes, *bytes_max, envelope.payload().len(), envelope.is_base64());
            Rejection { detail: detail.into(), ..rejection }
        }
        _ if code == Code::PayloadTooLarge => rejection,
        _ => rejection.header("retry-after", error.retry_after().as_secs().max(1)),
    }
}

/// Returns the text for a body of `body_bytes` that makes a message of `bytes`, with the largest body that fits.
fn too_large(bytes: usize, bytes_max: usize, body_bytes: usize, is_base64: bool) -> String {
    let (written, why) = match is_base64 {
        true => (body_bytes.div_ceil(3) * 4, ", and base64, because it is not plain JSON, makes it a third longer"),
        false => (body_bytes, ""),
    };
    let left = bytes_max.saturating_sub(bytes.saturating_sub(written));
    let fits = if is_base64 { left / 4 * 3 } else { left };
    format!(
        "The body has {body_bytes} bytes{why}: with its envelope {bytes}, and the queue accepts {bytes_max}. The \
         largest such body that fits has {fits} bytes."
    )
}

fn idempotency_key(request: &Validated<'_>) -> Result<Option<String>, Rejection> {
    let routed = request.authenticated().routed();
    let Some(idempotency) = &routed.operation().enqueue.idempotency else { return Ok(None) };
    let invalid = |detail: String| Rejection::new(Code::IdempotencyKeyInvalid, detail);
    if let Some(name) = idempotency.header() {
        return idempotency_key::read(request.authenticated(), name, idempotency.required);
    }
    let rendered = match idempotency.key.render(|source| lookup(request, source)) {
        Ok(rendered) => rendered,
        Err(Missing(source)) if idempotency.required || repeats(request, &source) => {
            return Err(invalid(format!("The {} {}.", place(&source), lacks(request, &source))));
        }
        Err(_) => return Ok(None),
    };
    idempotency_key::check(&rendered).map_err(|error| invalid(format!("The idempotency key {error}.")))?;
    Ok(Some(rendered))
}

fn render(request: &Validated<'_>, template: &ValueTemplate) -> Result<String, Rejection> {
    template
        .render(|source| lookup(request, source))
        .map_err(|Missing(source)| refused(&source, lacks(request, &source)))
}

/// Returns why a placeholder has no value, as the end of a sentence.
fn lacks(request: &Validated<'_>, source: &ValueSource) -> &'static str {
    if repeats(request, source) { SENT_TWICE } else { "is missing, or is not one value" }
}

fn repeats(request: &Validated<'_>, source: &ValueSource) -> bool {
    let arrival = request.authenticated().routed().arrival();
    match source {
        ValueSource::Header(name) => arrival.repeats_header(name),
        ValueSource::Query(name) => arrival.repeats_query(name),
        ValueSource::Form { name, .. } => request.form().is_some_and(|form| form::repeats(form, name)),
        ValueSource::Path(_) | ValueSource::Body(_) | ValueSource::Principal | ValueSource::Claims(_) => false,
    }
}

fn lookup<'r>(request: &'r Validated<'_>, source: &ValueSource) -> Option<Cow<'r, str>> {
    let routed = request.authenticated().routed();
    match source {
        ValueSource::Header(name) => request.authenticated().header(name).map(Cow::Borrowed),
        ValueSource::Path(name) => routed.path_param(name).map(Cow::Borrowed),
        ValueSource::Query(name) => routed.arrival().query_value(name),
        ValueSource::Body(pointer) => scalar(request.document()?.pointer(pointer)?),
        ValueSource::Principal => Some(request.authenticated().principal().into()),
        ValueSource::Claims(pointer) => scalar(request.authenticated().claims()?.pointer(pointer)?),
        ValueSource::Form { name, pointer: None } => form::value(request.form()?, name),
        ValueSource::Form { name, pointer: Some(pointer) } => {
            let text = form::value(request.form()?, name)?;
            let document = values_at(text.as_bytes(), [pointer.as_str()]).ok()?;
            scalar(document.pointer(pointer)?).map(|value| Cow::Owned(value.into_owned()))
        }
    }
}

/// Returns the text of a string, a number or a boolean.
fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Returns whether `value` is a version 00 `traceparent` (W3C Trace Context, section 3.2). Others are not passed on.
pub(crate) fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let parts: Vec<&str> = value.split('-').collect();
    matches!(parts[..], ["00", trace, span, flags]
        if hex(trace, 32) && hex(span, 16) && hex(flags, 2) && trace.bytes().any(|b| b != b'0') && span.bytes().any(|b| b != b'0'))
}

/// Returns whether `value` is a valid `tracestate`: printable, within the 512 characters of W3C Trace Context, section
/// 3.3.1.5. An invalid one is dropped, because a tracing fault must not make the request fail.
fn is_tracestate(value: &str) -> bool {
    value.len() <= 512 && value.bytes().all(|b| (b' '..=b'~').contains(&b))
}
