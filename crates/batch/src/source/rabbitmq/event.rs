//! The RabbitMQ event of Lambda, read so that one message cannot make another fail.
//!
//! Every field is optional and may have any type; unknown fields are ignored. A message that cannot be read keeps the
//! reason and its remaining bytes, so that it can be dead-lettered. The invocation fails only if the messages cannot be
//! distinguished, because Lambda would otherwise acknowledge them.
//!
//! The format: <https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html>.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_queue::rabbitmq::header as queue_header;
use sluicegate_queue::rabbitmq::{
    BasicProperties,
    types::{AMQPValue, ShortString},
};

use super::{header, timestamp};
use crate::source::raw::{Unreadable, from_base64, object, string};

/// The largest time in seconds, in the year 5138. Larger numbers are milliseconds.
const UNIX_S_MAX: u64 = 100_000_000_000;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "eventSource")]
    event_source: Option<&'a RawValue>,
    #[serde(borrow, rename = "rmqMessagesByQueue")]
    messages_by_queue: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    basic_properties: Option<&'a RawValue>,
    #[serde(borrow)]
    redelivered: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// A queue of a virtual host.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourceQueue {
    pub(super) name: String,
    /// `None` if the event does not contain it.
    pub(super) vhost: Option<String>,
}

/// A message of the batch.
#[derive(Debug)]
pub(super) struct EventMessage {
    pub(super) queue: Arc<SourceQueue>,
    /// The properties, headers included. A property that AMQP cannot express is left out.
    pub(super) properties: BasicProperties,
    pub(super) redelivered: bool,
    pub(super) data: Result<Vec<u8>, Unreadable>,
}

impl EventMessage {
    /// Returns the header `name`.
    pub(super) fn header(&self, name: &str) -> Option<&AMQPValue> {
        queue_header::get(&self.properties, name)
    }
}

/// An event whose messages cannot be distinguished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EventError {
    #[error("the RabbitMQ event has no object rmqMessagesByQueue")]
    NoMessages,
    #[error("the messages of the queue {queue:?} are not a list")]
    NotAList { queue: String },
}

/// Reads the batch; `None` if the event is not from RabbitMQ. `vhost` is the expected virtual host, if known.
pub(super) fn messages(event: &str, vhost: Option<&str>) -> Option<Result<Vec<EventMessage>, EventError>> {
    // Found in less time than the whole event is read, which is mostly from another source.
    if !event.contains("rmq") {
        return None;
    }
    let event: Event<'_> = serde_json::from_str(event).ok()?;
    if event.messages_by_queue.is_none() && string(event.event_source).as_deref() != Some("aws:rmq") {
        return None;
    }
    Some(by_queue(event.messages_by_queue, vhost))
}

fn by_queue(queues: Option<&RawValue>, vhost: Option<&str>) -> Result<Vec<EventMessage>, EventError> {
    let queues = queues.filter(|raw| raw.get().starts_with('{'));
    let queues = queues.ok_or(EventError::NoMessages)?;
    let mut messages = Vec::new();
    for (key, list) in object(Some(queues)) {
        let queue = Arc::new(queue(&key, vhost));
        let list: Option<Vec<&RawValue>> =
            serde_json::from_str(list.get()).map_err(|_| EventError::NotAList { queue: queue.name.clone() })?;
        messages.extend(list.unwrap_or_default().into_iter().map(|raw| message(&queue, raw)));
    }
    Ok(messages)
}

/// Splits before the expected virtual host, or else at the last `::`, which queue names may contain and virtual hosts
/// rarely do.
fn queue(key: &str, vhost: Option<&str>) -> SourceQueue {
    let expected = vhost.and_then(|vhost| Some((key.strip_suffix(vhost)?.strip_suffix("::")?, vhost)));
    match expected.or_else(|| key.rsplit_once("::")) {
        Some((name, vhost)) => SourceQueue { name: name.to_owned(), vhost: Some(vhost.to_owned()) },
        None => SourceQueue { name: key.to_owned(), vhost: None },
    }
}

fn message(queue: &Arc<SourceQueue>, raw: &RawValue) -> EventMessage {
    let fields = serde_json::from_str::<Fields<'_>>(raw.get());
    let data = match &fields {
        Ok(fields) => data(fields.data),
        Err(_) => Err(Unreadable { reason: "not a message", kept: raw.get().into() }),
    };
    let fields = fields.unwrap_or_default();
    let properties = properties(fields.basic_properties);
    let redelivered = fields.redelivered.is_some_and(|raw| raw.get() == "true");
    EventMessage { queue: Arc::clone(queue), properties, redelivered, data }
}

fn data(raw: Option<&RawValue>) -> Result<Vec<u8>, Unreadable> {
    let raw = raw.ok_or(Unreadable { reason: "no data", kept: Vec::new() })?;
    from_base64(raw, ["data is not text", "data is not base64"])
}

fn properties(raw: Option<&RawValue>) -> BasicProperties {
    let mut properties = BasicProperties::default();
    for (name, value) in object(raw) {
        type With = fn(BasicProperties, ShortString) -> BasicProperties;
        let with: With = match name.as_ref() {
            "contentType" => BasicProperties::with_content_type,
            "contentEncoding" => BasicProperties::with_content_encoding,
            "correlationId" => BasicProperties::with_correlation_id,
            "replyTo" => BasicProperties::with_reply_to,
            "messageId" => BasicProperties::with_message_id,
            "type" => BasicProperties::with_type,
            "userId" => BasicProperties::with_user_id,
            "appId" => BasicProperties::with_app_id,
            "clusterId" => BasicProperties::with_cluster_id,
            "priority" => {
                if let Ok(priority) = value.get().parse() {
                    properties = properties.with_priority(priority);
                }
                continue;
            }
            "timestamp" => {
                if let Some(unix_s) = time(value) {
                    properties = properties.with_timestamp(unix_s);
                }
                continue;
            }
            "headers" => {
                // One by one, so that a header that is nested too deep does not affect the others.
                let read = |(name, raw): (Cow<'_, str>, &RawValue)| {
                    Some((name.into_owned(), serde_json::from_str(raw.get()).ok()?))
                };
                let headers = header::table(object(Some(value)).filter_map(read));
                if !headers.inner().is_empty() {
                    properties = properties.with_headers(headers);
                }
                continue;
            }
            _ => continue,
        };
        if let Some(text) = string(Some(value)).and_then(|text| ShortString::try_new(text).ok()) {
            properties = with(properties, text);
        }
    }
    properties
}

fn time(raw: &RawValue) -> Option<u64> {
    match raw.get().parse::<u64>() {
        Ok(number) if number > UNIX_S_MAX => Some(number / 1_000),
        Ok(number) => Some(number),
        Err(_) => timestamp::unix_s(&string(Some(raw))?),
    }
}
