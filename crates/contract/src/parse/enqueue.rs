//! `x-sluicegate`: the queue and the event attributes of an admitted request.

use sluicegate_webhook::FORM_MEDIA_TYPE;
use sluicegate_yaml::Node;

use super::attribute_warnings::{self, Request};
use super::checker::ContractChecker;
use super::content;
use super::rate_limit;
use super::status;
use super::store;
use crate::is_json;
use crate::{
    ARCHIVE_QUEUE, Body, DELAY_S_MAX, Enqueue, IDEMPOTENCY_TTL_DAYS_DEFAULT, IDEMPOTENCY_TTL_DAYS_MAX, Idempotency,
    IdempotencyStore, PAYLOAD_BYTES_DEFAULT, PAYLOAD_BYTES_MAX, QueueCondition, SQS_JSON_BYTES_MAX,
    SQS_OTHER_BYTES_MAX, ValueSource, ValueTemplate,
};

const FIELDS: &[&str] = &[
    "queue",
    "copyTo",
    "type",
    "subject",
    "group",
    "idempotency",
    "rateLimit",
    "delay",
    "payloadBytes",
    "largePayloads",
    "status",
    "archive",
];

pub(super) fn enqueue<'d>(
    checker: &mut ContractChecker<'d>,
    operation: &'d Node,
    request: &Request<'_>,
) -> Option<Enqueue> {
    let at = checker.required(operation, "x-sluicegate")?;
    checker.fields(at, &[FIELDS, &content::FIELDS].concat())?;

    // Each field is read before any `?`, so that all their faults are reported.
    let queue = checker.required(at, "queue").and_then(|field| queues(checker, field, request));
    let mut copies = at.get("copyTo").map_or_else(Vec::new, |field| copies(checker, field, at, request));
    if archive(checker, at, request) {
        copies.push(ARCHIVE_QUEUE.to_owned());
    }
    let event_type = event_type(checker, at, request);
    let subject = at.get("subject").and_then(|field| attribute(checker, field, request));
    let group = at.get("group").and_then(|field| attribute(checker, field, request));
    let idempotency = match at.get("idempotency") {
        Some(field) => idempotency(checker, field, request),
        None => provider_key(request),
    };
    let rate_limits = at.get("rateLimit").map_or_else(Vec::new, |field| rate_limit::limits(checker, field, request));
    let (delay_s, delay_header) = at.get("delay").map_or((0, None), |field| delay(checker, field));
    let large_payloads = at.get("largePayloads").is_some_and(|field| large_payloads(checker, field, at, request));
    let status = status::status(checker, at, request);
    let payload_bytes = at.get("payloadBytes").and_then(|field| payload_bytes(checker, field, request, large_payloads));

    let (queue, queue_conditions) = queue?;
    Some(Enqueue {
        queue,
        queue_conditions,
        copies,
        event_type: event_type?,
        subject,
        group,
        idempotency,
        rate_limits,
        delay_s,
        delay_header,
        payload_bytes_max: payload_bytes.unwrap_or(PAYLOAD_BYTES_DEFAULT),
        large_payloads,
        status,
    })
}

/// Reads `type`. Without it, the type is that of the sender's CloudEvent, or of the provider that signs the requests.
fn event_type<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Option<ValueTemplate> {
    let own: Option<ValueTemplate> = "{event.type}".parse().ok();
    if let Some(own) = own.filter(|own| at.get("type").is_none() && is_available(own, request)) {
        return Some(own);
    }
    let (None, Some(provider)) = (at.get("type"), request.provider) else {
        return checker.required(at, "type").and_then(|field| attribute(checker, field, request));
    };
    let template = provider.event_type.parse().ok().filter(|template| is_available(template, request));
    if template.is_none() {
        let reason = format!(
            "is missing: the type of {}, {}, has no value in every requestBody of this operation",
            provider.slug, provider.event_type
        );
        checker.missing(at, "type", reason);
    }
    template
}

/// Returns the idempotency key of the provider that signs the requests. Its retries may differ in their bytes, so the
/// key alone names the message; and a request without the key is admitted, because the provider would only repeat it.
fn provider_key(request: &Request<'_>) -> Option<Idempotency> {
    let key: ValueTemplate = request.provider?.key.as_ref()?.parse().ok()?;
    is_available(&key, request).then_some(Idempotency { key, fingerprint: false, required: false, store: None })
}

/// Returns whether the operation's requests have what the template takes.
fn is_available(template: &ValueTemplate, request: &Request<'_>) -> bool {
    template.placeholders().all(|sources| is_in_every_request(sources, request))
}

/// Returns the nodes of `x-sluicegate` that name a queue.
pub(super) fn queue_names(operation: &Node) -> Vec<&Node> {
    let Some(enqueue) = operation.get("x-sluicegate") else { return Vec::new() };
    let copies = enqueue.get("copyTo").map_or(&[][..], Node::items);
    let Some(at) = enqueue.get("queue") else { return copies.iter().collect() };
    let mut nodes: Vec<&Node> = match at.items() {
        [] => vec![at],
        entries => {
            entries.iter().filter_map(|entry| if entry.is_map() { entry.get("queue") } else { Some(entry) }).collect()
        }
    };
    nodes.extend(copies);
    nodes
}

/// Reads `queue`: a name, or a list of queues with conditions that ends with the queue of every other message.
fn queues<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    request: &Request<'_>,
) -> Option<(String, Vec<QueueCondition>)> {
    let [conditional @ .., last] = at.items() else { return Some((queue_name(checker, at)?, Vec::new())) };
    let conditions: Vec<_> = conditional.iter().map(|entry| queue_condition(checker, entry, request)).collect();
    if last.is_map() {
        checker.fault(last, "the list ends with a queue without a condition, for every other message");
        return None;
    }
    let queue = queue_name(checker, last);
    Some((queue?, conditions.into_iter().collect::<Option<_>>()?))
}

fn queue_condition<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    request: &Request<'_>,
) -> Option<QueueCondition> {
    if !at.is_map() {
        checker.fault(at, "needs a condition, {queue, when, is}: only the last queue of the list has none");
        return None;
    }
    checker.fields(at, &["queue", "when", "is"])?;
    let queue = checker.required(at, "queue").and_then(|field| queue_name(checker, field));
    let when = checker.required(at, "when").and_then(|field| condition(checker, field, request));
    let values = checker.required(at, "is").and_then(|field| match field.items() {
        [] => Some(vec![checker.text(field)?.to_owned()]),
        several => several.iter().map(|value| checker.text(value).map(str::to_owned)).collect(),
    });
    Some(QueueCondition { queue: queue?, when: when?, values: values? })
}

/// Reads the value of a condition.
fn condition<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Option<ValueTemplate> {
    let template = template(checker, at, request)?;
    if template.sources().next().is_none() {
        checker.fault(at, "is the same for every request: name a value of it, such as {header.x-priority}");
        return None;
    }
    let is_of_item = |source: &&ValueSource| {
        matches!(source, ValueSource::Body(_) | ValueSource::Event(_) | ValueSource::Form { .. })
    };
    if let Some(source) = template.sources().find(is_of_item).filter(|_| request.body.is_some_and(Body::may_be_batch)) {
        checker.fault(at, format!("a batch goes to one queue: {{{source}}} may differ between its items"));
        return None;
    }
    Some(template)
}

/// Reads `copyTo`: the queues that get every message beside the one of `queue`. A request that is stored in part is
/// repeated under its idempotency key, so there must be one.
fn copies(checker: &mut ContractChecker<'_>, at: &Node, enqueue: &Node, request: &Request<'_>) -> Vec<String> {
    check_repeats(checker, at, enqueue, request);
    let mut copies: Vec<String> = Vec::new();
    let others = enqueue.get("queue").map_or_else(Vec::new, queues_of);
    for entry in checker.list(at) {
        let Some(name) = queue_name(checker, entry) else { continue };
        if copies.contains(&name) || others.contains(&name.as_str()) {
            checker.fault(entry, format!("{name} is a queue of this route already"));
        }
        copies.push(name);
    }
    copies
}

/// Reads `archive`: whether every message goes to [`ARCHIVE_QUEUE`] too, as a copy.
fn archive<'d>(checker: &mut ContractChecker<'d>, enqueue: &'d Node, request: &Request<'_>) -> bool {
    let is_archived = checker.flag(enqueue, "archive");
    if let Some(at) = enqueue.get("archive").filter(|_| is_archived) {
        check_repeats(checker, at, enqueue, request);
        let copies = enqueue.get("copyTo").map_or(&[][..], Node::items).iter().filter_map(Node::text);
        if enqueue.get("queue").map_or_else(Vec::new, queues_of).into_iter().chain(copies).any(|it| it == ARCHIVE_QUEUE)
        {
            checker.fault(at, format!("{ARCHIVE_QUEUE} is a queue of this route already"));
        }
    }
    is_archived
}

/// Notes a fault for a route whose messages go to several queues, and whose repeats are other messages.
fn check_repeats(checker: &mut ContractChecker<'_>, at: &Node, enqueue: &Node, request: &Request<'_>) {
    if enqueue.get("idempotency").is_none() && provider_key(request).is_none() {
        checker.fault(at, "needs idempotency: a repeat of a request that was stored in part must be the same message");
    }
}

/// Returns the names in `queue`.
fn queues_of(at: &Node) -> Vec<&str> {
    let listed = at.items().iter().filter_map(|entry| entry.text().or_else(|| entry.get("queue")?.text()));
    at.text().into_iter().chain(listed).collect()
}

/// Reads `delay`: a duration, or the header with the seconds.
fn delay(checker: &mut ContractChecker<'_>, at: &Node) -> (u16, Option<String>) {
    let Some(text) = at.text().filter(|text| text.contains('{')) else {
        let delay_s = checker.duration_s(at, 0..=DELAY_S_MAX.into());
        return (delay_s.and_then(|s| s.try_into().ok()).unwrap_or(0), None);
    };
    match text.parse::<ValueTemplate>() {
        Err(error) => checker.fault(at, error),
        Ok(template) => match template.as_source() {
            Some(ValueSource::Header(name)) => return (0, Some(name.clone())),
            _ => checker.fault(at, "must be a duration, such as 15m, or one header with the seconds: {header.x-delay}"),
        },
    }
    (0, None)
}

/// Reads a queue name, which becomes part of an environment variable; see [`crate::binding_variable`].
fn queue_name(checker: &mut ContractChecker<'_>, at: &Node) -> Option<String> {
    let well_formed = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    let name = at.text().filter(well_formed).map(str::to_owned);
    if name.is_none() {
        checker.fault(at, "a queue name is letters, digits, `-`, `.` and `_`, and starts with a letter");
    }
    name
}

/// Reads `payloadBytes`. A size above the limit of SQS is a warning: RabbitMQ accepts it, and the contract does not say
/// which broker is used. With `largePayloads` there is none, because what SQS does not accept goes to S3.
fn payload_bytes<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    request: &Request<'_>,
    large_payloads: bool,
) -> Option<usize> {
    let bytes = checker.integer(at, 1..=PAYLOAD_BYTES_MAX)?;
    let (what, most) = match request.body {
        Some(body) if !takes_json_only(Some(body)) => {
            ("a payload that is not JSON (it is sent in base64)", SQS_OTHER_BYTES_MAX)
        }
        _ => ("a JSON payload", SQS_JSON_BYTES_MAX),
    };
    if large_payloads {
        return Some(bytes);
    }
    if bytes > most {
        checker.warn(
            at,
            format!(
                "SQS accepts at most {most} bytes of {what}; with SQS, a larger one is answered with 413, or goes to S3 \
                 with `largePayloads: s3`"
            ),
        );
    }
    Some(bytes)
}

/// Reads `largePayloads`. Without a `payloadBytes` above the default it would have no effect.
fn large_payloads<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    enqueue: &'d Node,
    request: &Request<'_>,
) -> bool {
    if at.text() != Some("s3") {
        checker.fault(at, "must be s3");
        return false;
    }
    if request.body.is_some_and(Body::may_be_batch) {
        checker.fault(at, "does not apply to a batch, whose items are sent together: leave it out");
        return false;
    }
    if enqueue.get("payloadBytes").is_none() {
        checker.fault(
            at,
            format!(
                "needs payloadBytes: without it, a route accepts {PAYLOAD_BYTES_DEFAULT} bytes, which fit into SQS"
            ),
        );
    }
    true
}

/// Reads a template for an attribute of the event.
fn attribute<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Option<ValueTemplate> {
    let template = template(checker, at, request)?;
    for source in template.sources() {
        for reason in attribute_warnings::doubts(source, request) {
            checker.warn(at, format!("{{{source}}} {reason}"));
        }
    }
    Some(template)
}

fn template<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Option<ValueTemplate> {
    let template = match checker.text(at)?.parse::<ValueTemplate>() {
        Ok(template) => template,
        Err(error) => {
            checker.fault(at, error);
            return None;
        }
    };
    for source in template.sources() {
        if let ValueSource::Path(name) = source
            && !request.path_names.contains(&name.as_str())
        {
            checker.fault(at, format!("the path has no {{{name}}}"));
        }
    }
    for sources in template.placeholders().filter(|sources| !is_in_every_request(sources, request)) {
        let fault = match sources {
            [source @ ValueSource::Event(_)] => format!("{{{source}}} needs a requestBody that is always a CloudEvent"),
            [source @ ValueSource::Principal] => {
                format!(
                    "{{{source}}} needs authentication: an operation that admits anonymous callers has no principal"
                )
            }
            [source @ ValueSource::Claims(_)] => format!(
                "{{{source}}} needs claims in every alternative of security: a scheme with x-jwt, or with x-authorizer \
                 jwt or lambda"
            ),
            [source @ ValueSource::Body(_)] => format!("{{{source}}} needs a requestBody that is always JSON"),
            [source] => format!("{{{source}}} needs a requestBody that is always {FORM_MEDIA_TYPE}"),
            [source, ..] => format!(
                "{{{source} | ...}} has no value for one of the media types of requestBody, or the callers of security"
            ),
            [] => continue,
        };
        checker.fault(at, fault);
    }
    Some(template)
}

/// Returns whether one of the sources can be in a request with a body of each media type of the operation, by every
/// caller.
fn is_in_every_request(sources: &[ValueSource], request: &Request<'_>) -> bool {
    let body = request.body;
    let is_in = |source: &ValueSource, media_type: &str| match source {
        ValueSource::Principal => !request.public,
        ValueSource::Claims(_) => request.has_claims,
        ValueSource::Body(_) => body.map_or(is_json(media_type), |body| body.is_document(media_type)),
        ValueSource::Event(_) => body.is_some_and(|body| body.mode(media_type).is_event()),
        ValueSource::Form { .. } => media_type.eq_ignore_ascii_case(FORM_MEDIA_TYPE),
        ValueSource::Header(_) | ValueSource::Path(_) | ValueSource::Query(_) => true,
    };
    match request.body {
        Some(body) => body.content.iter().all(|(media_type, _)| sources.iter().any(|source| is_in(source, media_type))),
        None => sources.iter().any(|source| is_in(source, "")),
    }
}

fn takes_json_only(body: Option<&Body>) -> bool {
    body.is_some_and(|body| body.content.iter().all(|(media_type, _)| is_json(media_type)))
}

fn idempotency<'d>(checker: &mut ContractChecker<'d>, at: &'d Node, request: &Request<'_>) -> Option<Idempotency> {
    checker.fields(at, &["key", "required", "fingerprint", "store", "ttlDays", "onStoreFailure"])?;
    let required = checker.flag(at, "required");
    let provided = if at.get("key").is_none() { provider_key(request) } else { None };
    let fingerprint = match at.get("fingerprint") {
        None => provided.is_none(),
        Some(field) => match field.text() {
            Some("payload") => true,
            Some("none") => false,
            _ => {
                checker.fault(field, "must be payload or none");
                true
            }
        },
    };
    let store = idempotency_store(checker, at, request);
    let key = match provided {
        Some(provided) => provided.key,
        None => checker.required(at, "key").and_then(|key| template(checker, key, request))?,
    };
    Some(Idempotency { key, fingerprint, required, store })
}

fn idempotency_store<'d>(
    checker: &mut ContractChecker<'d>,
    at: &'d Node,
    request: &Request<'_>,
) -> Option<IdempotencyStore> {
    let on_failure = store::store(checker, at, &["ttlDays"])?;
    if let Some(store_at) = at.get("store").filter(|_| request.body.is_some_and(Body::may_be_batch)) {
        checker.fault(store_at, "does not apply to a batch, whose items would be one write each: leave it out");
    }
    let ttl_days = at.get("ttlDays").and_then(|field| checker.integer(field, 1..=IDEMPOTENCY_TTL_DAYS_MAX));
    Some(IdempotencyStore { ttl_days: ttl_days.unwrap_or(IDEMPOTENCY_TTL_DAYS_DEFAULT), on_failure })
}
