//! [`MessageView`]: one message with everything that is known of it, as it may be shown.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

use super::Admin;
use crate::{
    contract_facts::{Credentials, Finding, RefusedRequest},
    function_lines::{FunctionLine, FunctionLines},
    gateway::KeptEvent,
    journal::{Exchange, Message, Row, step_json, time_text},
};

/// A message.
#[derive(Serialize)]
pub(super) struct MessageView {
    #[serde(flatten)]
    pub row: Row,
    pub steps: Vec<Value>,
    /// The id of the dead letter that it was before its correction, if that had another id.
    pub corrects: Option<String>,
    pub trace_id: Option<String>,
    pub request: Option<RequestView>,
    pub payload: Option<Payload>,
    /// The message as it is on the queue.
    #[serde(serialize_with = "json_or_text")]
    pub envelope: Option<String>,
    /// The answer to a refused request, or the part of it about a refused item of a batch.
    pub rejection: Option<Value>,
    /// The explanation of a refusal.
    pub findings: Vec<FindingView>,
    /// Whether a part of the message was not kept.
    pub is_incomplete: bool,
    /// The version of the list, for `/events?since=`.
    pub version: u64,
}

/// The request of a message.
#[derive(Serialize)]
pub(super) struct RequestView {
    pub at: String,
    pub request_id: String,
    pub method: String,
    /// The path and query, without credentials.
    pub target: String,
    /// The headers, without credentials.
    pub headers: BTreeMap<String, String>,
    pub status: u16,
    pub took_ms: f64,
}

/// The bytes that a message carries.
#[derive(Serialize)]
pub(super) struct Payload {
    pub content_type: Option<String>,
    pub bytes: usize,
    /// As text, if it is UTF-8; otherwise in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    #[serde(skip)]
    pub content: Vec<u8>,
}

/// A fact that explains a refusal.
#[derive(Serialize)]
pub(super) struct FindingView {
    pub name: &'static str,
    pub text: String,
}

impl MessageView {
    /// Returns the message with this id.
    pub(super) fn of(admin: &Admin, id: &str) -> Option<Self> {
        let Message { row, item, corrects, steps, content, version } = admin.journal.message(id)?;
        let exchange = content.exchange.as_deref();
        let event = exchange.and_then(|exchange| KeptEvent::parse(exchange.event.as_deref()?));
        let stored = content.envelope.as_deref().and_then(|body| admin.journal.stored_envelope(body));
        let envelope = stored.as_deref().or(content.envelope.as_deref());
        let refused = exchange.filter(|exchange| !exchange.status.is_success());
        let header = |name: &str| event.as_ref()?.headers.get(name).map(String::as_str);
        let envelope_facts = envelope.and_then(|text| serde_json::from_str::<Event<'_>>(text).ok());
        let traceparent = envelope_facts.as_ref().and_then(|event| event.traceparent.as_deref());
        let trace_id = traceparent.or(header("traceparent")).and_then(|parent| parent.split('-').nth(1));
        let payload = match (&envelope_facts, &event, envelope) {
            (Some(facts), ..) => Some(facts.payload()),
            (None, _, Some(text)) => Some(Payload::new(None, text.as_bytes().to_vec())),
            (None, Some(event), None) => {
                let payload = event.payload();
                let item = item.and_then(|index| batch_item(&payload, index));
                Some(Payload::new(header("content-type"), item.unwrap_or(payload)))
            }
            (None, None, None) => None,
        };
        let findings = refused.zip(event.as_ref()).map(|(exchange, event)| findings(admin, exchange, event));
        Some(Self {
            steps: steps.iter().map(|(at, step)| step_json(*at, step)).collect(),
            trace_id: trace_id.or_else(|| header("x-amzn-trace-id").and_then(trace_root)).map(str::to_owned),
            request: exchange.map(|exchange| RequestView::of(exchange, event.as_ref(), &admin.contract.credentials)),
            payload: payload.filter(|payload| payload.bytes > 0),
            envelope: envelope.map(str::to_owned),
            rejection: exchange.and_then(|exchange| rejection(exchange, item)),
            corrects,
            findings: findings.unwrap_or_default(),
            is_incomplete: content.is_incomplete,
            version,
            row,
        })
    }

    /// Returns the lines of the functions' logs about the message and its request.
    pub(super) fn lines(&self, lines: &FunctionLines) -> Vec<FunctionLine> {
        let request_id = self.request.as_ref().map(|request| request.request_id.as_str());
        let ids: Vec<_> = std::iter::once(self.row.id.as_str()).chain(request_id).collect();
        lines.of(&ids)
    }
}

impl RequestView {
    fn of(exchange: &Exchange, event: Option<&KeptEvent>, credentials: &Credentials) -> Self {
        let query = event.map_or("", |event| &event.raw_query_string);
        let separator = if query.is_empty() { "" } else { "?" };
        let shown = |(name, value): (&String, &String)| (name.clone(), credentials.header(name, value).to_owned());
        let mut headers: BTreeMap<_, _> = event.into_iter().flat_map(|event| &event.headers).map(shown).collect();
        if event.is_some_and(|event| !event.cookies.is_empty()) {
            headers.insert("cookie".to_owned(), credentials.header("cookie", "").to_owned());
        }
        Self {
            at: time_text(exchange.at),
            request_id: exchange.request_id.clone(),
            method: exchange.method.to_string(),
            target: format!("{}{separator}{}", exchange.path, credentials.query(query)),
            headers,
            status: exchange.status.as_u16(),
            took_ms: exchange.took.as_secs_f64() * 1000.0,
        }
    }
}

impl Payload {
    fn new(content_type: Option<&str>, content: Vec<u8>) -> Self {
        let text = std::str::from_utf8(&content).ok().map(str::to_owned);
        Self {
            content_type: content_type.map(str::to_owned),
            bytes: content.len(),
            base64: text.is_none().then(|| STANDARD.encode(&content)),
            text,
            content,
        }
    }
}

/// The attributes of a CloudEvent with its payload.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    data_base64: Option<String>,
    datacontenttype: Option<String>,
    #[serde(borrow)]
    traceparent: Option<Cow<'a, str>>,
    // A text without them is not an event.
    #[serde(rename = "specversion")]
    _specversion: String,
}

impl Event<'_> {
    fn payload(&self) -> Payload {
        let data = self.data.map_or("", RawValue::get);
        let is_json = self.datacontenttype.as_deref().is_none_or(|media_type| media_type.contains("json"));
        let content = match &self.data_base64 {
            Some(base64) => STANDARD.decode(base64).unwrap_or_default(),
            None if is_json => data.as_bytes().to_vec(),
            None => serde_json::from_str::<String>(data).unwrap_or_else(|_| data.to_owned()).into_bytes(),
        };
        Payload::new(self.datacontenttype.as_deref(), content)
    }
}

/// Returns the answer to a refused request, or the part of an answer about a refused item.
fn rejection(exchange: &Exchange, item: Option<usize>) -> Option<Value> {
    let answer = || serde_json::from_slice::<Value>(&exchange.answer).ok();
    match item {
        Some(index) => Some(answer()?["items"][index].take()),
        None if exchange.status.is_success() => None,
        None => answer(),
    }
}

/// Returns an item of a batch as written: a value of a JSON array, or a line.
fn batch_item(payload: &[u8], index: usize) -> Option<Vec<u8>> {
    let item = match serde_json::from_slice::<Vec<&RawValue>>(payload) {
        Ok(items) => items.get(index)?.get().as_bytes(),
        Err(_) => {
            payload.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).nth(index)?
        }
    };
    Some(item.to_vec())
}

/// Returns the id of an X-Ray header, as the functions log it.
fn trace_root(header: &str) -> Option<&str> {
    header.split(';').find_map(|part| part.strip_prefix("Root="))
}

/// Writes a text as the JSON that it is, or as a string if a strict reader would refuse it, such as half a surrogate
/// pair: the rest of the answer must be readable.
fn json_or_text<S: Serializer>(text: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let strict = text.as_deref().filter(|text| serde_json::from_str::<Value>(text).is_ok());
    match strict.and_then(|text| serde_json::from_str::<&RawValue>(text).ok()) {
        Some(json) => json.serialize(serializer),
        None => text.serialize(serializer),
    }
}

/// Returns the contract's explanation of a refusal.
fn findings(admin: &Admin, exchange: &Exchange, event: &KeptEvent) -> Vec<FindingView> {
    let Some(explain) = &admin.contract.explain else { return Vec::new() };
    let query = &event.raw_query_string;
    let separator = if query.is_empty() { "" } else { "?" };
    let mut headers = HeaderMap::new();
    for (name, value) in &event.headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    let request = RefusedRequest {
        method: exchange.method.to_string(),
        target: format!("{}{separator}{query}", exchange.path),
        headers,
        body: event.payload(),
        at_unix_s: exchange.at.unix_timestamp(),
        status: exchange.status,
    };
    explain(&request).into_iter().map(|Finding { name, text }| FindingView { name, text }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_a_batch_is_a_value_of_an_array_or_a_line() {
        for (payload, item) in [
            ("[1, {\"a\": 1.0} ]", Some("{\"a\": 1.0}")),
            ("{\"a\":1}\n\n {\"a\":2}\r\n", Some("{\"a\":2}")),
            ("[1]", None),
            ("", None),
        ] {
            let found = batch_item(payload.as_bytes(), 1).map(|item| String::from_utf8(item).unwrap());
            assert_eq!(found.as_deref(), item, "{payload}");
        }
    }
}
