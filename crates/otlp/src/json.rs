//! The JSON of an `ExportTraceServiceRequest`: ids in hexadecimal, 64-bit integers as text, enums as numbers.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>,
//! <https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto>

use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, Serializer};

use crate::{Span, SpanContext, Value};

/// The status code of a failed span.
const STATUS_ERROR: u8 = 2;

/// Returns the request that exports `spans` of this resource.
pub(crate) fn request(resource: &[(String, String)], spans: &[Span]) -> Vec<u8> {
    let resource = resource.iter().map(|(key, value)| Attribute::text(key, value)).collect();
    let spans = spans.iter().map(Entry::new).collect();
    let scope = Scope { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
    let resource_spans =
        [ResourceSpans { resource: Resource { attributes: resource }, scope_spans: [ScopeSpans { scope, spans }] }];
    serde_json::to_vec(&Request { resource_spans }).unwrap_or_default()
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(serde::Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(serde::Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: Vec<Entry<'a>>,
}

#[derive(serde::Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    #[serde(flatten)]
    context: Ids,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<Hex<16>>,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: Nanos,
    end_time_unix_nano: Nanos,
    attributes: Vec<Attribute<'a>>,
    links: Vec<Ids>,
    dropped_links_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

#[derive(serde::Serialize)]
struct Status {
    code: u8,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Ids {
    trace_id: Hex<32>,
    span_id: Hex<16>,
    flags: u8,
}

#[derive(serde::Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
enum AnyValue<'a> {
    StringValue(&'a str),
    IntValue(String),
}

impl<'a> Entry<'a> {
    fn new(span: &'a Span) -> Self {
        Self {
            context: Ids::new(span.context),
            parent_span_id: span.parent.map(|parent| Hex(parent.span_id().into())),
            name: &span.name,
            kind: span.kind as u8,
            start_time_unix_nano: Nanos(span.started),
            end_time_unix_nano: Nanos(span.ended),
            attributes: span.attributes.iter().map(|(key, value)| Attribute::new(key, value)).collect(),
            links: span.links.iter().map(|link| Ids::new(*link)).collect(),
            dropped_links_count: span.links_dropped,
            status: span.is_error.then_some(Status { code: STATUS_ERROR }),
        }
    }
}

impl Ids {
    fn new(context: SpanContext) -> Self {
        Self { trace_id: Hex(context.trace_id()), span_id: Hex(context.span_id().into()), flags: context.flags() }
    }
}

impl<'a> Attribute<'a> {
    fn new(key: &'a str, value: &'a Value) -> Self {
        match value {
            Value::Text(text) => Self::text(key, text),
            Value::Number(number) => Self { key, value: AnyValue::IntValue(number.to_string()) },
        }
    }

    fn text(key: &'a str, text: &'a str) -> Self {
        Self { key, value: AnyValue::StringValue(text) }
    }
}

/// A number of so many hexadecimal digits.
struct Hex<const DIGITS: usize>(u128);

impl<const DIGITS: usize> Serialize for Hex<DIGITS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:0DIGITS$x}", self.0))
    }
}

/// A time in nanoseconds since 1970.
struct Nanos(SystemTime);

impl Serialize for Nanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos())
    }
}
