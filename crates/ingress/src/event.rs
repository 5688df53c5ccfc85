//! HTTP requests from the events of API Gateway (HTTP API and REST API), Function URLs and load balancers, as one
//! [`Arrival`].
//!
//! Parsing tolerates unknown and null fields. `lambda_http` is not used for it, because it drops repeated REST headers,
//! adds a stage to paths, and panics on bad base64, an invalid `Host` or an empty parameter list. This module does not
//! panic, keeps every header, and returns the exact bytes of the body. Any other event is an error that lists the
//! supported services.

use std::{borrow::Cow, collections::BTreeMap, net::SocketAddr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, header::COOKIE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};
use serde_json::value::RawValue;

use crate::{
    form,
    gateway_context::GatewayContext,
    rejection::{Code, Rejection},
};

/// An HTTP request from any of the services, deserialized from its event.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The method, upper case.
    pub method: String,
    /// The percent-encoded path in canonical form: only characters that require it are encoded.
    pub path: String,
    /// The stage the path may begin with (API Gateway puts a named stage there, unless a custom domain hides it).
    pub stage: Option<String>,
    /// The query string without `?`, percent-encoded.
    pub query: String,
    /// Every header with every value.
    pub headers: HeaderMap,
    /// The exact bytes, or an error if they cannot be decoded.
    pub body: Result<Vec<u8>, BodyError>,
    /// The address of the caller as the service saw it, never as the caller says.
    pub source_ip: Option<String>,
    /// The id of the request at the service.
    pub request_id: Option<String>,
    /// The service, which determines the form of the answer.
    pub origin: Origin,
    /// What the service has checked of the caller.
    pub(crate) gateway: GatewayContext,
}

/// The body is marked as base64 but is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyError;

impl From<BodyError> for Rejection {
    fn from(_: BodyError) -> Self {
        Self::new(Code::BodyEncodingInvalid, "The body is marked as base64 but is not base64.")
    }
}

/// The service that sent the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// API Gateway HTTP API or a Function URL: payload format 2.0.
    V2,
    /// API Gateway REST API, or an HTTP API set to payload format 1.0.
    V1,
    /// Application Load Balancer.
    Alb {
        /// The target group has multi-value headers enabled; the answer must use `multiValueHeaders`.
        multi: bool,
    },
}

/// The event is not an HTTP request.
#[derive(Debug, thiserror::Error)]
#[error("not an event of API Gateway, a Function URL or a load balancer: it has no method or no path")]
struct EventError;

impl<'de> Deserialize<'de> for Arrival {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(Event::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The required fields of all four kinds of event. Headers and body borrow from its text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    version: Option<String>,
    #[serde(default)]
    request_context: Context,
    http_method: Option<String>,
    path: Option<String>,
    raw_path: Option<String>,
    raw_query_string: Option<String>,
    #[serde(borrow)]
    query_string_parameters: Option<Single<'a>>,
    #[serde(borrow)]
    multi_value_query_string_parameters: Option<Multi<'a>>,
    #[serde(borrow)]
    headers: Option<Single<'a>>,
    #[serde(borrow)]
    multi_value_headers: Option<Multi<'a>>,
    cookies: Option<Vec<String>>,
    #[serde(borrow)]
    body: Option<Text<'a>>,
    is_base64_encoded: Option<bool>,
}

type Single<'a> = BTreeMap<Text<'a>, Option<Text<'a>>>;
type Multi<'a> = BTreeMap<Text<'a>, Option<Vec<Text<'a>>>>;

/// A text. `Cow<str>` within another type would not borrow.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    authentication: Option<Authentication>,
    authorizer: Option<Box<RawValue>>,
    domain_name: Option<String>,
    elb: Option<IgnoredAny>,
    http: Option<ContextHttp>,
    identity: Option<ContextIdentity>,
    request_id: Option<String>,
    stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextHttp {
    method: Option<String>,
    source_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContextIdentity {
    client_cert: Option<ClientCert>,
    source_ip: Option<String>,
    user_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authentication {
    client_cert: Option<ClientCert>,
}

#[derive(Deserialize)]
struct ClientCert {
    #[serde(rename = "subjectDN")]
    subject_dn: Option<String>,
}

impl TryFrom<Event<'_>> for Arrival {
    type Error = EventError;

    fn try_from(event: Event<'_>) -> Result<Self, EventError> {
        let arrival = match (&event.request_context.elb, event.version.as_deref()) {
            (Some(_), _) => Self::from_alb(event),
            (None, Some("2.0")) => Self::from_v2(event),
            (None, _) => Self::from_v1(event),
        };
        arrival.ok_or(EventError)
    }
}

impl Arrival {
    fn from_v2(event: Event<'_>) -> Option<Self> {
        let http = event.request_context.http?;
        let is_function_url = event.request_context.domain_name.as_deref().is_some_and(is_function_url);
        let form = if is_function_url { PathForm::Encoded } else { PathForm::Decoded };
        let authentication = event.request_context.authentication;
        let gateway = GatewayContext::V2 {
            authorizer: event.request_context.authorizer,
            client: authentication.and_then(|checked| checked.client_cert?.subject_dn),
        };
        let mut headers = headers(event.headers, None);
        // The header is not among the others, but these are its parts.
        if let Some(cookies) = event.cookies.filter(|cookies| !cookies.is_empty() && !headers.contains_key(COOKIE))
            && let Ok(cookies) = HeaderValue::from_bytes(cookies.join("; ").as_bytes())
        {
            headers.insert(COOKIE, cookies);
        }
        Some(Self {
            method: http.method?,
            path: canonical(event.raw_path?, form),
            stage: event.request_context.stage.filter(|stage| stage != "$default"),
            query: event.raw_query_string.unwrap_or_default(),
            headers,
            body: bytes(event.body, event.is_base64_encoded),
            source_ip: http.source_ip,
            request_id: event.request_context.request_id,
            origin: Origin::V2,
            gateway,
        })
    }

    fn from_v1(event: Event<'_>) -> Option<Self> {
        let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        // HTTP APIs set the payload format version, REST APIs do not.
        let form = if event.version.is_some() { PathForm::Decoded } else { PathForm::Encoded };
        let (source_ip, client, user_arn) = match event.request_context.identity {
            Some(identity) => {
                (identity.source_ip, identity.client_cert.and_then(|client| client.subject_dn), identity.user_arn)
            }
            None => (None, None, None),
        };
        Some(Self {
            method: event.http_method?,
            path: canonical(event.path?, form),
            stage: event.request_context.stage,
            query: query(event.query_string_parameters, event.multi_value_query_string_parameters, encode),
            headers: headers(event.headers, event.multi_value_headers),
            body: bytes(event.body, event.is_base64_encoded),
            source_ip,
            request_id: event.request_context.request_id,
            origin: Origin::V1,
            gateway: GatewayContext::V1 { authorizer: event.request_context.authorizer, client, user_arn },
        })
    }

    fn from_alb(event: Event<'_>) -> Option<Self> {
        let multi = event.multi_value_headers.is_some();
        let headers = headers(event.headers, event.multi_value_headers);
        let source_ip = forwarded_for(&headers);
        Some(Self {
            method: event.http_method?,
            path: canonical(event.path?, PathForm::Encoded),
            stage: None,
            // A load balancer does not decode the query: it is percent-encoded already.
            query: query(event.query_string_parameters, event.multi_value_query_string_parameters, str::to_owned),
            source_ip,
            request_id: headers.get("x-amzn-trace-id").and_then(|value| value.to_str().ok()).map(str::to_owned),
            headers,
            body: bytes(event.body, event.is_base64_encoded),
            origin: Origin::Alb { multi },
            gateway: GatewayContext::None,
        })
    }

    /// Returns the path without its stage, if it begins with the stage.
    #[must_use]
    pub fn unstaged_path(&self) -> Option<&str> {
        let rest = self.path.strip_prefix('/')?.strip_prefix(self.stage.as_deref()?)?;
        rest.starts_with('/').then_some(rest)
    }

    /// Returns the value of a header that was sent once and is text. HTTP APIs and Function URLs join the values of a
    /// repeated header with commas, which count as one value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        std::str::from_utf8(value.as_bytes()).ok()
    }

    /// Returns whether a header was sent more than once, so that [`header`](Self::header) has no value for it.
    #[must_use]
    pub fn repeats_header(&self, name: &str) -> bool {
        self.headers.get_all(name).iter().nth(1).is_some()
    }

    /// Returns the values of a cookie (RFC 6265, section 5.4), as sent.
    pub(crate) fn cookies(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let pairs = self.headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
        pairs.filter_map(move |pair| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"="))
    }

    /// Returns the decoded value of a query parameter that was sent once.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        form::value(&self.query, name)
    }

    /// Returns whether a query parameter was sent more than once, so that [`query_value`](Self::query_value) has no
    /// value for it.
    #[must_use]
    pub fn repeats_query(&self, name: &str) -> bool {
        form::repeats(&self.query, name)
    }
}

/// Characters that are percent-encoded in a path segment: all except `pchar` of RFC 3986, section 3.3.
const ENCODED_IN_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b':')
    .remove(b'@');

/// The encoding of the path in an event. Captured from every service: <https://github.com/hotsock/voker/pull/8>.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PathForm {
    /// Percent-encoded as sent: REST APIs, Function URLs, load balancers.
    Encoded,
    /// Decoded, so that a `%` is a `%`: HTTP APIs, in both payload formats.
    Decoded,
}

/// Returns the canonical form of a path (RFC 3986, section 6.2.2). A segment with a broken encoding is unchanged.
fn canonical(path: String, form: PathForm) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@".contains(&b);
    if path.bytes().all(is_plain) {
        return path;
    }
    let mut text = String::with_capacity(path.len());
    for (index, segment) in path.split('/').enumerate() {
        if index > 0 {
            text.push('/');
        }
        match form {
            PathForm::Decoded => text.extend(utf8_percent_encode(segment, ENCODED_IN_SEGMENT)),
            PathForm::Encoded => match sluicegate_contract::decode_segment(segment) {
                Some(decoded) => text.extend(utf8_percent_encode(&decoded, ENCODED_IN_SEGMENT)),
                None => text.push_str(segment),
            },
        }
    }
    text
}

/// Returns whether the domain is `<id>.lambda-url.<region>.on.aws`, or its form in other partitions and emulators.
fn is_function_url(domain_name: &str) -> bool {
    domain_name.split('.').nth(1) == Some("lambda-url")
}

/// Returns the parameters as a query string. The multi-value map, if present, has every parameter.
fn query(single: Option<Single<'_>>, multi: Option<Multi<'_>>, encode: impl Fn(&str) -> String) -> String {
    let pairs: Vec<String> = match multi {
        Some(multi) => multi
            .iter()
            .flat_map(|(name, values)| values.iter().flatten().map(move |value| (name, value)))
            .map(|(Text(name), Text(value))| format!("{}={}", encode(name), encode(value)))
            .collect(),
        None => single
            .iter()
            .flatten()
            .map(|(Text(name), value)| (name, value.as_ref().map_or("", |Text(value)| value)))
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect(),
    };
    pairs.join("&")
}

/// Returns every value of the multi-value map, and the headers that only the single-value map has. Illegal headers
/// cannot come from HTTP and are dropped.
fn headers(single: Option<Single<'_>>, multi: Option<Multi<'_>>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let legal = |Text(name): &Text<'_>, Text(value): &Text<'_>| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_bytes(value.as_bytes()).ok()?))
    };
    for (name, values) in multi.iter().flatten() {
        for (name, value) in values.iter().flatten().filter_map(|value| legal(name, value)) {
            headers.append(name, value);
        }
    }
    for (name, value) in single.iter().flatten() {
        if let Some((name, value)) = value.as_ref().and_then(|value| legal(name, value))
            && !headers.contains_key(&name)
        {
            headers.insert(name, value);
        }
    }
    headers
}

/// Returns the address that a load balancer appended to `X-Forwarded-For`: the last part of the last value. What comes
/// before is of the client's choice. The port that a load balancer may add (`xff_client_port`) is left out.
///
/// <https://docs.aws.amazon.com/elasticloadbalancing/latest/application/x-forwarded-headers.html>
fn forwarded_for(headers: &HeaderMap) -> Option<String> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?;
    let appended = last.as_bytes().rsplit(|byte| *byte == b',').next()?;
    let text = std::str::from_utf8(appended).ok()?.trim();
    Some(text.parse::<SocketAddr>().map_or_else(|_| text.to_owned(), |address| address.ip().to_string()))
}

fn bytes(body: Option<Text<'_>>, is_base64: Option<bool>) -> Result<Vec<u8>, BodyError> {
    match body {
        None => Ok(Vec::new()),
        Some(Text(text)) if is_base64 == Some(true) => BASE64_STANDARD.decode(&*text).map_err(|_| BodyError),
        Some(Text(text)) => Ok(text.into_owned().into_bytes()),
    }
}
