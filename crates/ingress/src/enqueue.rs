//! Stage 4: the [`Envelope`], its queue and its delay.
//!
//! A request repeated by the same principal with the same idempotency key gives the same message id, without a store.
//! Another request under the same key is another message, unless the contract sets `fingerprint: none`.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;
use sluicegate_contract::{
    DELAY_S_MAX, Idempotency, LINES_MEDIA_TYPES, Missing, Operation, ValueSource, ValueTemplate,
};
use sluicegate_envelope::{
    ATTRIBUTE_BYTES_MAX, Envelope, EnvelopeBuildError, EnvelopeBuilder, deterministic_id, fresh_id, refused_character,
};
use sluicegate_webhook::values_at;
use time::OffsetDateTime;

use crate::{
    authenticate::Authenticated,
    cloud_event, form,
    idempotency_key::{self, SENT_TWICE},
    media_type::essence,
    rejection::{BodyFault, Code, Rejection, SCHEMA_VIOLATED},
    validate::{Draft, Validated},
};

/// What names a request in a store of idempotency keys.
#[cfg_attr(not(feature = "dynamodb"), expect(dead_code, reason = "the store alone reads it"))]
pub(crate) struct Identity {
    /// Made of the principal, the operation and the idempotency key.
    pub(crate) key: String,
    /// Made of the rest of the request; `None` where the key alone names the request.
    pub(crate) fingerprint: Option<String>,
}

/// Returns the logical queue of a message: that of the first condition of its route that holds, or the route's.
///
/// # Errors
/// 400 for a header or parameter of a condition that is sent more than once.
pub(crate) fn queue<'o>(operation: &'o Operation, draft: &Draft<'_>) -> Result<&'o str, Rejection> {
    let enqueue = &operation.enqueue;
    for condition in &enqueue.queue_conditions {
        match condition.when.render(|source| lookup(draft, source)) {
            Ok(value) if condition.values.contains(&value) => return Ok(&condition.queue),
            Err(Missing(source)) if repeats(draft, &source) => return Err(refused(&source, SENT_TWICE)),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(&enqueue.queue)
}

/// Returns the logical queue of a batch, whose conditions are about the request and not about its items.
///
/// # Errors
/// As [`queue`].
pub(crate) fn queue_of_batch<'c>(validated: &Validated<'c>) -> Result<&'c str, Rejection> {
    let operation = validated.authenticated().routed().operation();
    let enqueue = &operation.enqueue;
    if enqueue.queue_conditions.is_empty() {
        return Ok(&enqueue.queue);
    }
    // Without an item that is in order, nothing is sent.
    validated.items().find_map(Result::ok).map_or(Ok(&enqueue.queue), |draft| queue(operation, &draft))
}

/// Returns the delay of the messages of a request: the route's, or that of its header.
///
/// # Errors
/// 400 if the header is not a whole number of seconds that SQS accepts.
pub(crate) fn delay(request: &Authenticated<'_>) -> Result<Duration, Rejection> {
    let enqueue = &request.routed().operation().enqueue;
    let Some(name) = &enqueue.delay_header else { return Ok(Duration::from_secs(enqueue.delay_s.into())) };
    let wrong = |reason: &str| Rejection::new(Code::ParameterInvalid, format!("The header {name} {reason}."));
    if request.routed().arrival().repeats_header(name) {
        return Err(wrong(SENT_TWICE));
    }
    let Some(text) = request.header(name) else { return Ok(Duration::ZERO) };
    // `parse` alone accepts a sign.
    let seconds = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let seconds = seconds.filter(|seconds| *seconds <= DELAY_S_MAX);
    let reason = format!("is not a delay: a whole number of seconds from 0 to {DELAY_S_MAX}");
    seconds.map(|seconds| Duration::from_secs(seconds.into())).ok_or_else(|| wrong(&reason))
}

/// Builds the envelope of a message for this queue, and its identity if its route has a store. `sent_in` is the
/// `traceparent` of its send, if the request has spans; without one the message has that of the caller.
///
/// # Errors
/// A template names a value that the request lacks, or gives an attribute that CloudEvents does not allow: 422 with the
/// pointer for a value of the body, 400 with the name otherwise.
pub(crate) fn envelope(
    draft: &Draft<'_>,
    queue: &str,
    received_at: OffsetDateTime,
    sent_in: Option<&str>,
) -> Result<(Envelope, Option<Identity>), Rejection> {
    let authenticated = draft.request.authenticated();
    let routed = authenticated.routed();
    let (operation, arrival) = (routed.operation(), routed.arrival());
    let enqueue = &operation.enqueue;

    let key = idempotency_key(draft)?;
    let event_type = render(draft, &enqueue.event_type)?;
    let subject = enqueue.subject.as_ref().map(|subject| render(draft, subject)).transpose()?;
    let group = enqueue.group.as_ref().map(|group| render(draft, group)).transpose()?;
    let payload = draft.event.map_or(Cow::Borrowed(draft.payload), Envelope::payload);
    // A request for another queue is another request.
    let chosen = (!enqueue.queue_conditions.is_empty()).then_some(queue);
    let fingerprint = || {
        let said = [&*event_type, subject.as_deref().unwrap_or_default(), group.as_deref().unwrap_or_default()];
        let sent = std::iter::once(arrival.query.as_str()).chain(routed.path_params()).chain(chosen);
        said.into_iter().chain(sent).map(str::as_bytes).chain([&*payload])
    };
    let mut identity = None;
    let position = draft.position.map(|position| position.to_string());
    let id = match (&key, &enqueue.idempotency) {
        (Some(key), Some(idempotency)) => {
            let named = [authenticated.principal_domain(), authenticated.principal(), &operation.id, key];
            // A key of the whole batch names each item with its position; a key within the item names the item.
            let position = position.as_deref().filter(|_| !is_of_item(idempotency));
            let named = named.into_iter().chain(position).map(str::as_bytes);
            if cfg!(feature = "dynamodb") && idempotency.store.is_some() {
                identity = Some(Identity {
                    key: format!("request/{}", deterministic_id(named.clone())),
                    fingerprint: idempotency.fingerprint.then(|| deterministic_id(fingerprint())),
                });
            }
            let fingerprint = idempotency.fingerprint.then(fingerprint);
            deterministic_id(named.chain(fingerprint.into_iter().flatten()))
        }
        _ => match draft.event {
            // CloudEvents 1.0.2: source and id together name an event.
            Some(event) => {
                let principal = [authenticated.principal_domain(), authenticated.principal(), &operation.id];
                let named = principal.into_iter().chain(["event", event.source(), event.id()]);
                deterministic_id(named.map(str::as_bytes).chain(fingerprint()))
            }
            None => fresh_id(),
        },
    };
    let mut builder = match draft.event {
        Some(event) => of_event(event, id, event_type, received_at)?,
        None => Envelope::builder(id, operation.source(), event_type)
            .time(received_at)
            .payload(media_type(draft).as_deref(), draft.payload),
    };
    builder = builder.principal(authenticated.principal()).operation(&operation.id);
    if let Some(subject) = subject {
        builder = builder.subject(subject);
    }
    if let Some(group) = group {
        builder = builder.group(group);
    }
    if let Some(key) = key {
        builder = builder.idempotency_key(key);
    }
    // A sender's event must not say of itself that its status is recorded.
    if enqueue.status || draft.event.is_some() {
        builder = builder.has_status(enqueue.status)?;
    }
    let is_traced = draft.event.is_some_and(|event| event.traceparent().is_some());
    let caller = arrival.header("traceparent").filter(|value| !is_traced && is_traceparent(value));
    if let Some(traceparent) = sent_in.filter(|_| !is_traced).or(caller) {
        builder = builder.traceparent(traceparent);
    }
    if caller.is_some()
        && let Some(tracestate) = arrival.header("tracestate").filter(|value| is_tracestate(value))
    {
        builder = builder.tracestate(tracestate);
    }
    let envelope = builder.build().map_err(|error| unfit(draft, &error))?;
    Ok((envelope, identity))
}

/// Returns the event of the sender without the attributes that are the ingress's, and with its `id` as an extension,
/// because another sender may use the same one.
fn of_event(
    event: &Envelope,
    id: String,
    event_type: String,
    received_at: OffsetDateTime,
) -> Result<EnvelopeBuilder, Rejection> {
    // A sender's event must not say of itself that it is replayed.
    let builder = event.clone().into_builder(id).replay_id(None)?;
    let mut builder = builder.event_type(event_type).idempotency_key("");
    if event.time().is_none() {
        builder = builder.time(received_at);
    }
    Ok(builder.attribute(cloud_event::EVENT_ID, event.id())?)
}

/// Returns the media type of the payload.
fn media_type<'r>(draft: &Draft<'r>) -> Option<Cow<'r, str>> {
    let sent = draft.request.media_type();
    // A line of a batch is a document by itself.
    let is_line = || sent.as_deref().is_some_and(|sent| LINES_MEDIA_TYPES.contains(&essence(sent)));
    if draft.position.is_some() && is_line() { Some(Cow::Borrowed("application/json")) } else { sent }
}

/// Returns whether a key differs between the items of a batch.
fn is_of_item(idempotency: &Idempotency) -> bool {
    idempotency.key.sources().any(|source| matches!(source, ValueSource::Body(_) | ValueSource::Event(_)))
}

/// Returns the rejection of an invalid attribute, with the part of the request that caused it.
fn unfit(draft: &Draft<'_>, error: &EnvelopeBuildError) -> Rejection {
    let enqueue = &draft.request.authenticated().routed().operation().enqueue;
    let key = enqueue.idempotency.as_ref().map(|idempotency| &idempotency.key);
    let (attribute, reason) = match error {
        EnvelopeBuildError::Empty { attribute } => (*attribute, "is empty".to_owned()),
        EnvelopeBuildError::TooLong { attribute, .. } => {
            (*attribute, format!("is longer than {ATTRIBUTE_BYTES_MAX} bytes"))
        }
        EnvelopeBuildError::Character { attribute } => {
            (*attribute, "has a character that an event must not have".to_owned())
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
    let internal = || Rejection::new(Code::Internal, "This request cannot be stored.").log(error);
    let value = |source: &&ValueSource| lookup(draft, source).unwrap_or_default();
    let mut sources = template.into_iter().flat_map(ValueTemplate::sources);
    let at_fault = match error {
        EnvelopeBuildError::Character { .. } => {
            let refused = |source: &ValueSource| refused_character(&value(&source));
            let found = sources.find_map(|source| Some((source, refused(source)?)));
            let reason = |c: char| format!("has the character U+{:04X}, which an event must not have", u32::from(c));
            return found.map_or_else(internal, |(source, c)| self::refused(source, &reason(c)));
        }
        _ => sources.max_by_key(|source| value(source).len()),
    };
    at_fault.map_or_else(internal, |source| refused(source, &reason))
}

/// Returns the rejection of an unusable value, with its source and reason.
fn refused(source: &ValueSource, reason: &str) -> Rejection {
    match source {
        ValueSource::Body(pointer) => Rejection {
            faults: vec![BodyFault { pointer: pointer.clone(), detail: format!("the value {reason}") }],
            ..Rejection::new(Code::SchemaViolated, SCHEMA_VIOLATED)
        },
        ValueSource::Event(_) => Rejection::new(Code::CloudEventInvalid, format!("The {} {reason}.", place(source))),
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
        ValueSource::Event(name) => format!("attribute {name} of the CloudEvent"),
        ValueSource::Form { name, pointer: None } => format!("form field {name}"),
        ValueSource::Form { name, pointer: Some(pointer) } => format!("value at {pointer} of the form field {name}"),
        ValueSource::Principal => "principal".to_owned(),
        ValueSource::Claims(pointer) => format!("claim at {pointer} of the token"),
    }
}

fn idempotency_key(draft: &Draft<'_>) -> Result<Option<String>, Rejection> {
    let routed = draft.request.authenticated().routed();
    let Some(idempotency) = &routed.operation().enqueue.idempotency else { return Ok(None) };
    let invalid = |detail: String| Rejection::new(Code::IdempotencyKeyInvalid, detail);
    if let Some(name) = idempotency.header() {
        return idempotency_key::read(draft.request.authenticated(), name, idempotency.required);
    }
    let rendered = match idempotency.key.render(|source| lookup(draft, source)) {
        Ok(rendered) => rendered,
        Err(Missing(source)) if idempotency.required || repeats(draft, &source) => {
            return Err(invalid(format!("The {} {}.", place(&source), lacks(draft, &source))));
        }
        Err(_) => return Ok(None),
    };
    idempotency_key::check(&rendered).map_err(|error| invalid(format!("The idempotency key {error}.")))?;
    Ok(Some(rendered))
}

fn render(draft: &Draft<'_>, template: &ValueTemplate) -> Result<String, Rejection> {
    template.render(|source| lookup(draft, source)).map_err(|Missing(source)| refused(&source, lacks(draft, &source)))
}

/// Returns why a placeholder has no value, as the end of a sentence.
fn lacks(draft: &Draft<'_>, source: &ValueSource) -> &'static str {
    if repeats(draft, source) { SENT_TWICE } else { "is missing, or is not one value" }
}

fn repeats(draft: &Draft<'_>, source: &ValueSource) -> bool {
    let arrival = draft.request.authenticated().routed().arrival();
    match source {
        ValueSource::Header(name) => arrival.repeats_header(name),
        ValueSource::Query(name) => arrival.repeats_query(name),
        ValueSource::Form { name, .. } => draft.request.form().is_some_and(|form| form::repeats(form, name)),
        ValueSource::Path(_)
        | ValueSource::Body(_)
        | ValueSource::Event(_)
        | ValueSource::Principal
        | ValueSource::Claims(_) => false,
    }
}

fn lookup<'r>(draft: &Draft<'r>, source: &ValueSource) -> Option<Cow<'r, str>> {
    let routed = draft.request.authenticated().routed();
    match source {
        ValueSource::Header(name) => draft.request.authenticated().header(name).map(Cow::Borrowed),
        ValueSource::Path(name) => routed.path_param(name).map(Cow::Borrowed),
        ValueSource::Query(name) => routed.arrival().query_value(name),
        ValueSource::Event(name) => cloud_event::attribute(draft.event?, name),
        ValueSource::Body(pointer) => scalar(draft.document?.pointer(pointer)?),
        ValueSource::Principal => Some(draft.request.authenticated().principal().into()),
        ValueSource::Claims(pointer) => scalar(draft.request.authenticated().claims()?.pointer(pointer)?),
        ValueSource::Form { name, pointer: None } => form::value(draft.request.form()?, name),
        ValueSource::Form { name, pointer: Some(pointer) } => {
            let text = form::value(draft.request.form()?, name)?;
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
