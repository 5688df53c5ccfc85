//! [`Event`]: the attributes of the event in a message of RabbitMQ or Kafka.
//!
//! An event is recognised by the consumer's rules: by content type, by its attributes in headers, or by the body.

use sluicegate_envelope::Envelope;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The attributes of the event, as far as they are known.
#[derive(Default)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) event_type: Option<String>,
    pub(crate) time: Option<OffsetDateTime>,
    pub(crate) group: Option<String>,
}

impl Event {
    /// Reads the event of a message; `attribute` returns an attribute that a header has, as text.
    pub(crate) fn read(content_type: &str, attribute: impl Fn(&str) -> Option<String>, body: &[u8]) -> Self {
        let binary = || Self::of_headers(&attribute);
        let shown = if is_structured(content_type) {
            Self::of_body(body).or_else(binary)
        } else {
            binary().or_else(|| Self::of_body(body))
        };
        shown.unwrap_or_default()
    }

    fn of_body(body: &[u8]) -> Option<Self> {
        let envelope = Envelope::decode(std::str::from_utf8(body).ok()?).ok()?;
        Some(Self {
            id: Some(envelope.id().to_owned()),
            event_type: Some(envelope.event_type().to_owned()),
            time: envelope.time(),
            group: envelope.group().map(str::to_owned),
        })
    }

    /// Reads the attributes in the headers; `None` if there are none.
    fn of_headers(attribute: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let time = || OffsetDateTime::parse(&attribute("time")?, &Rfc3339).ok();
        Some(Self {
            id: Some(attribute("id")?),
            event_type: attribute("type"),
            time: time(),
            group: attribute("partitionkey"),
        })
    }
}

/// Returns whether the body of a message with this content type is an event in JSON.
pub(crate) fn is_structured(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.starts_with("application/cloudevents")
}
