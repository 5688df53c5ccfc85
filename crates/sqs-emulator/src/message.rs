//! Messages and the rules for their contents.
//!
//! A `Message` is checked when created and cheap to clone: its large parts are shared.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

use crate::clock::EpochMs;
use crate::error::{ApiError, ErrorKind};
use crate::limits::FIFO_ID_CHARS_MAX;
use crate::message_attribute::{MessageAttributes, attributes_md5};
use crate::text::{is_allowed, md5_hex};

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    /// `MessageId`: a UUID.
    pub(crate) id: Arc<str>,
    /// The body, as sent.
    pub(crate) body: Arc<str>,
    /// `MD5OfMessageBody`: lower-case hex.
    pub(crate) body_md5: Arc<str>,
    /// User attributes.
    pub(crate) attributes: Arc<MessageAttributes>,
    /// System attribute `AWSTraceHeader`.
    pub(crate) trace_header: Option<Arc<str>>,
    /// `MessageGroupId`: required on FIFO queues, allowed on standard ones (fair queues).
    pub(crate) group: Option<Arc<str>>,
    /// `MessageDeduplicationId`: only on FIFO queues.
    pub(crate) deduplication_id: Option<Arc<str>>,
    /// `SequenceNumber`: only on FIFO queues, assigned by the queue.
    pub(crate) sequence: Option<u64>,
    /// `SentTimestamp`; retention counts from here.
    pub(crate) sent_at: EpochMs,
    /// `ApproximateFirstReceiveTimestamp`.
    pub(crate) first_received_at: Option<EpochMs>,
    /// `ApproximateReceiveCount`, dead-letter queues included.
    pub(crate) receive_count: u32,
    /// `DeadLetterQueueSourceArn`: the queue that dead-lettered it.
    pub(crate) dead_letter_source: Option<Arc<str>>,
}

/// A message before it is sent.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// The body.
    pub(crate) body: String,
    /// User attributes.
    pub(crate) attributes: MessageAttributes,
    /// System attribute `AWSTraceHeader`.
    pub(crate) trace_header: Option<String>,
    /// `MessageGroupId`.
    pub(crate) group: Option<String>,
    /// `MessageDeduplicationId`.
    pub(crate) deduplication_id: Option<String>,
    /// `DelaySeconds`; `None` stands for the queue's.
    pub(crate) delay_s: Option<u32>,
}

impl Draft {
    /// Returns the message size: body and user attributes, without the trace header.
    #[must_use]
    pub(crate) fn size_bytes(&self) -> usize {
        let attributes = self.attributes.iter().map(|(name, value)| name.len() + value.size_bytes());
        self.body.len() + attributes.sum::<usize>()
    }

    /// Checks the rules that do not depend on the queue.
    ///
    /// # Errors
    /// `MissingParameter` for an empty body, `InvalidMessageContents` for characters that SQS does not allow,
    /// `InvalidParameterValue` for a bad group or deduplication id.
    pub(crate) fn check(&self) -> Result<(), ApiError> {
        if self.body.is_empty() {
            return Err(ApiError::missing("MessageBody"));
        }
        if !self.body.chars().all(is_allowed) {
            return Err(ApiError::new(
                ErrorKind::InvalidMessageContents,
                "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | \
                 #xE000 to #xFFFD | #x10000 to #x10FFFF",
            ));
        }
        check_fifo_id("MessageGroupId", self.group.as_deref())?;
        check_fifo_id("MessageDeduplicationId", self.deduplication_id.as_deref())
    }

    pub(crate) fn into_message(self, now: EpochMs) -> Message {
        Message {
            id: fresh_id(),
            body_md5: md5_hex(self.body.as_bytes()).into(),
            body: self.body.into(),
            attributes: Arc::new(self.attributes),
            trace_header: self.trace_header.map(Into::into),
            group: self.group.map(Into::into),
            deduplication_id: self.deduplication_id.map(Into::into),
            sequence: None,
            sent_at: now,
            first_received_at: None,
            receive_count: 0,
            dead_letter_source: None,
        }
    }
}

/// Returns a new `MessageId`.
pub(crate) fn fresh_id() -> Arc<str> {
    let mut text = uuid::Uuid::encode_buffer();
    let text: &str = fresh_uuid().hyphenated().encode_lower(&mut text);
    text.into()
}

/// Returns a new UUIDv7. Its random part is from a generator that the system seeds once for each thread, because
/// asking the system for each request takes longer than most actions.
pub(crate) fn fresh_uuid() -> uuid::Uuid {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut random = [0; 10];
    fastrand::fill(&mut random);
    let millis = u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// Formats a `SequenceNumber`: 20 digits that sort as numbers.
pub(crate) fn sequence_text(sequence: u64) -> String {
    format!("{sequence:020}")
}

fn check_fifo_id(parameter: &str, id: Option<&str>) -> Result<(), ApiError> {
    let Some(id) = id else { return Ok(()) };
    if !id.is_empty() && id.len() <= FIFO_ID_CHARS_MAX && id.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(ApiError::invalid_parameter(format!(
        "Value {id} for parameter {parameter} is invalid. Reason: {parameter} can only include alphanumeric and \
         punctuation characters. 1 to {FIFO_ID_CHARS_MAX} in length."
    )))
}

/// The attributes that a `ReceiveMessage` requests.
#[derive(Debug, Default)]
pub(crate) struct RequestedAttributes {
    pub(crate) system: Vec<String>,
    pub(crate) user: Vec<String>,
}

impl RequestedAttributes {
    fn wants_system(&self, name: &str) -> bool {
        self.system.iter().any(|wanted| wanted == "All" || wanted == name)
    }

    /// Returns whether a user attribute is requested: by `All`, `*`, `.*`, its name, or a prefix ending in `.*`. API
    /// ReceiveMessage.
    fn wants_user(&self, name: &str) -> bool {
        self.user.iter().any(|wanted| {
            wanted == "All"
                || wanted == "*"
                || wanted == name
                || wanted.strip_suffix(".*").is_some_and(|prefix| name.starts_with(prefix))
        })
    }
}

/// A message in `ReceiveMessage`'s answer, with the requested attributes.
#[derive(Debug)]
pub(crate) struct ReceivedMessage {
    message: Message,
    handle: String,
    system: Map<String, Value>,
    /// `MD5OfMessageAttributes`. It covers the returned attributes, which clients can check.
    user_md5: Option<String>,
    user: Map<String, Value>,
}

impl ReceivedMessage {
    pub(crate) fn new(message: Message, handle: String, wanted: &RequestedAttributes, sender_id: &str) -> Self {
        let system = if wanted.system.is_empty() { Map::new() } else { system_attributes(&message, wanted, sender_id) };
        let user: Vec<_> = message.attributes.iter().filter(|(name, _)| wanted.wants_user(name)).collect();
        let user_md5 = (!user.is_empty()).then(|| attributes_md5(user.iter().copied()));
        let user = user.into_iter().map(|(name, value)| (name.clone(), value.render())).collect();
        Self { message, handle, system, user_md5, user }
    }
}

impl Serialize for ReceivedMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        if !self.system.is_empty() {
            out.serialize_entry("Attributes", &self.system)?;
        }
        out.serialize_entry("Body", &*self.message.body)?;
        out.serialize_entry("MD5OfBody", &*self.message.body_md5)?;
        if let Some(md5) = &self.user_md5 {
            out.serialize_entry("MD5OfMessageAttributes", md5)?;
            out.serialize_entry("MessageAttributes", &self.user)?;
        }
        out.serialize_entry("MessageId", &*self.message.id)?;
        out.serialize_entry("ReceiptHandle", &self.handle)?;
        out.end()
    }
}

fn system_attributes(message: &Message, wanted: &RequestedAttributes, sender_id: &str) -> Map<String, Value> {
    let system = [
        ("SenderId", Some(sender_id.to_owned())),
        ("SentTimestamp", Some(message.sent_at.to_string())),
        ("ApproximateReceiveCount", Some(message.receive_count.to_string())),
        ("ApproximateFirstReceiveTimestamp", message.first_received_at.map(|at| at.to_string())),
        ("SequenceNumber", message.sequence.map(sequence_text)),
        ("MessageDeduplicationId", message.deduplication_id.as_deref().map(str::to_owned)),
        ("MessageGroupId", message.group.as_deref().map(str::to_owned)),
        ("AWSTraceHeader", message.trace_header.as_deref().map(str::to_owned)),
        ("DeadLetterQueueSourceArn", message.dead_letter_source.as_deref().map(str::to_owned)),
    ];
    let system = system.into_iter().filter(|(name, _)| wanted.wants_system(name));
    system.filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect()
}
