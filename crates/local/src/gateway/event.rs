//! Requests as payload 2.0 events.
//!
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html>,
//! and published captures where it has no details: `rawPath` is decoded, `rawQueryString` is verbatim, repeated headers
//! and parameters are joined with commas, cookies are moved out of the headers, and a body that is not text or has no
//! content type is in base64. Headers of the client connection are not passed on.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _};

use base64::{Engine as _, engine::general_purpose};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::Value;
use sluicegate_sam::ACCOUNT;
use time::{OffsetDateTime, macros::format_description};

/// The address of every client, as the gateway binds the loopback address only.
const SOURCE_IP: &str = "127.0.0.1";

const TRACE_HEADER: HeaderName = HeaderName::from_static("x-amzn-trace-id");

/// The fields that the gateway adds to a request.
#[derive(Debug, Clone)]
pub(crate) struct GatewayContext {
    /// The time of arrival.
    pub time: OffsetDateTime,
    /// `requestContext.requestId`.
    pub request_id: String,
    /// The request's `X-Amzn-Trace-Id`, or a new `Root=1-…`.
    pub trace: String,
    /// The gateway's port.
    pub port: u16,
}

impl GatewayContext {
    /// Returns an arrival now, with new ids.
    pub(crate) fn now(port: u16, headers: &HeaderMap) -> Self {
        let time = OffsetDateTime::now_utc();
        // Eleven bytes make sixteen characters ending in `=`, the shape of API Gateway's ids.
        let id = uuid::Uuid::now_v7();
        let request_id = general_purpose::URL_SAFE.encode(&id.as_bytes()[5..]);
        let id = id.simple().to_string();
        let fresh_trace = || format!("Root=1-{:08x}-{}", time.unix_timestamp(), &id[8..]);
        let trace = text(headers, &TRACE_HEADER).unwrap_or_else(fresh_trace);
        Self { time, request_id, trace, port }
    }

    /// Returns the trace header for the function.
    pub(crate) fn function_trace(&self) -> String {
        if self.trace.contains("Parent=") {
            return self.trace.clone();
        }
        let parent = uuid::Uuid::now_v7().simple().to_string();
        format!("{};Parent={};Sampled=0", self.trace, &parent[16..])
    }
}

/// A payload 2.0 event.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event<'a> {
    version: &'static str,
    route_key: &'a str,
    raw_path: &'a str,
    raw_query_string: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cookies: Vec<String>,
    headers: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    query_string_parameters: BTreeMap<String, String>,
    request_context: RequestContext<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    path_parameters: BTreeMap<String, String>,
    is_base64_encoded: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext<'a> {
    account_id: &'static str,
    api_id: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorizer: Option<Value>,
    domain_name: String,
    domain_prefix: String,
    http: HttpContext<'a>,
    request_id: &'a str,
    route_key: &'a str,
    stage: &'static str,
    time: String,
    time_epoch: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct HttpContext<'a> {
    method: &'a str,
    path: &'a str,
    protocol: String,
    source_ip: &'static str,
    user_agent: String,
}

/// Returns the event for the decoded `path`, `route_key` and path parameters, with what the authorizer found.
pub(crate) fn event<'a>(
    parts: &'a Parts,
    path: &'a str,
    body: &'a Bytes,
    route_key: &'a str,
    path_parameters: BTreeMap<String, String>,
    arrival: &'a GatewayContext,
    authorizer: Option<Value>,
) -> Event<'a> {
    let query = parts.uri.query().unwrap_or_default();
    let host = text(&parts.headers, &header::HOST).unwrap_or_else(|| "localhost".to_owned());
    let domain = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
    let time = arrival.time;
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    let content_type = text(&parts.headers, &header::CONTENT_TYPE);
    let as_text = std::str::from_utf8(body).ok().filter(|_| is_text(content_type.as_deref()));
    let body_text = match as_text {
        _ if body.is_empty() => None,
        Some(body) => Some(body.into()),
        None => Some(general_purpose::STANDARD.encode(body).into()),
    };
    Event {
        version: "2.0",
        route_key,
        raw_path: path,
        raw_query_string: query,
        cookies: cookies(&parts.headers),
        headers: headers(parts, body, arrival),
        query_string_parameters: query_parameters(query),
        request_context: RequestContext {
            account_id: ACCOUNT,
            api_id: "local",
            authorizer,
            domain_name: domain.to_owned(),
            domain_prefix: domain.split('.').next().unwrap_or_default().to_owned(),
            http: HttpContext {
                method: parts.method.as_str(),
                path,
                protocol: format!("{:?}", parts.version),
                source_ip: SOURCE_IP,
                user_agent: text(&parts.headers, &header::USER_AGENT).unwrap_or_default(),
            },
            request_id: &arrival.request_id,
            route_key,
            stage: "$default",
            time: time.format(&format).unwrap_or_default(),
            time_epoch: time.unix_timestamp() * 1000 + i64::from(time.millisecond()),
        },
        is_base64_encoded: !body.is_empty() && as_text.is_none(),
        body: body_text,
        path_parameters,
    }
}

/// Decodes the path as an HTTP API does: twice, and cut at a `?` that the first pass produces. Returns `None` for a
/// path that API Gateway refuses because of an invalid escape. Captured:
/// <https://github.com/hotsock/voker/pull/8>.
pub(super) fn decoded_path(path: &str) -> Option<String> {
    let once = percent_decode_str(path).decode_utf8_lossy();
    let once = once.split('?').next().unwrap_or_default();
    let is_escape =
        |after: &str| after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    let well_formed = once.split('%').skip(1).all(is_escape);
    well_formed.then(|| percent_decode_str(once).decode_utf8_lossy().into_owned())
}

/// Headers of the client connection, which are not passed on; neither are those that its `Connection` header names.
/// <https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1>
const OF_THE_CONNECTION: [&str; 8] =
    ["connection", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

/// Returns whether bodies of this type are passed on as text.
fn is_text(content_type: Option<&str>) -> bool {
    const TEXT: [&str; 3] = ["application/json", "application/javascript", "application/xml"];
    let Some(content_type) = content_type else { return false };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("text/") || TEXT.contains(&media_type.as_str())
}

fn headers(parts: &Parts, body: &Bytes, arrival: &GatewayContext) -> BTreeMap<String, String> {
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for name in parts.headers.keys().filter(|name| **name != header::COOKIE) {
        joined.extend(text(&parts.headers, name).map(|value| (name.as_str().to_owned(), value)));
    }
    joined.entry("content-length".to_owned()).or_insert_with(|| body.len().to_string());
    let named = joined.get("connection").map(|names| names.to_ascii_lowercase()).unwrap_or_default();
    // `Content-Length` and `Host` belong to the message and are passed on.
    let named = named.split(',').map(str::trim).filter(|name| !["content-length", "host"].contains(name));
    for name in named.chain(OF_THE_CONNECTION) {
        joined.remove(name);
    }
    joined.insert(TRACE_HEADER.to_string(), arrival.trace.clone());
    let forwarded = joined.entry("x-forwarded-for".to_owned()).or_default();
    let separator = if forwarded.is_empty() { "" } else { ", " };
    let _ = write!(forwarded, "{separator}{SOURCE_IP}");
    joined.insert("x-forwarded-port".to_owned(), arrival.port.to_string());
    joined.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    joined
}

/// Returns all values of a header, joined with commas.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let cookies = lines.flat_map(|line| line.split(';').map(|cookie| cookie.trim().to_owned()).collect::<Vec<_>>());
    cookies.filter(|cookie| !cookie.is_empty()).collect()
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
    let mut joined: BTreeMap<String, String> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name), decode(value));
        joined.entry(name).and_modify(|values| *values = format!("{values},{value}")).or_insert(value);
    }
    joined
}
