//! [`Envelope`]: an event on the queue.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::attribute::{Attribute, Extension, REPLAY_ATTRIBUTE, STATUS_ATTRIBUTE, Values};
use crate::payload::{Payload, PayloadError, with_integers};

/// A valid CloudEvents 1.0 event, created by [`Envelope::builder`] or [`Envelope::decode`]. `Debug` omits the payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) values: Values,
    /// The parsed `time` attribute. The attribute keeps its text and is written unchanged.
    pub(crate) time: Option<OffsetDateTime>,
    pub(crate) extensions: Vec<(String, Extension)>,
    pub(crate) payload: Option<Payload>,
}

impl Envelope {
    /// Returns `id`, unique within its `source`. A repeat of the same message has the same id.
    pub fn id(&self) -> &str {
        self.required(Attribute::Id)
    }

    /// Returns `source`, the URI-reference of the producer. Ingress writes the path of the route in the contract, with
    /// braces percent-encoded: `/orders/%7Border_id%7D`.
    pub fn source(&self) -> &str {
        self.required(Attribute::Source)
    }

    /// Returns `type`, what happened, such as `order.placed`.
    pub fn event_type(&self) -> &str {
        self.required(Attribute::Type)
    }

    /// Returns `subject`, the object of the event.
    pub fn subject(&self) -> Option<&str> {
        self.optional(Attribute::Subject)
    }

    /// Returns `time`, when it happened or was accepted.
    pub fn time(&self) -> Option<OffsetDateTime> {
        self.time
    }

    /// Returns `datacontenttype`, the media type of the payload, unchanged.
    pub fn content_type(&self) -> Option<&str> {
        self.optional(Attribute::ContentType)
    }

    /// Returns `traceparent`, of the W3C trace context.
    pub fn traceparent(&self) -> Option<&str> {
        self.optional(Attribute::Traceparent)
    }

    /// Returns `tracestate`, of the W3C trace context.
    pub fn tracestate(&self) -> Option<&str> {
        self.optional(Attribute::Tracestate)
    }

    /// Returns `principal`, the identity that the producer authenticated.
    pub fn principal(&self) -> Option<&str> {
        self.optional(Attribute::Principal)
    }

    /// Returns `operation`, the operation of the contract that admitted the event.
    pub fn operation(&self) -> Option<&str> {
        self.optional(Attribute::Operation)
    }

    /// Returns `idempotencykey`, the client's idempotency key.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.optional(Attribute::IdempotencyKey)
    }

    /// Returns `partitionkey`, the group whose messages are ordered (FIFO) or belong to one tenant (fair queues).
    pub fn group(&self) -> Option<&str> {
        self.optional(Attribute::Group)
    }

    /// Returns whether the sender of the message can ask for its status, which its consumer records.
    pub fn has_status(&self) -> bool {
        self.extensions.iter().any(|(name, value)| name == STATUS_ATTRIBUTE && *value == Extension::Boolean(true))
    }

    /// Returns the name of the replay that sent the event again from the archive; `None` for an event that was not.
    pub fn replay_id(&self) -> Option<&str> {
        self.extensions.iter().find_map(|(name, value)| match value {
            Extension::Text(text) if name == REPLAY_ATTRIBUTE => Some(text.as_str()),
            _ => None,
        })
    }

    /// Returns the exact bytes that arrived; empty without a payload.
    ///
    /// For `data` in an event of another producer: with a JSON media type, or none (CloudEvents then assumes JSON),
    /// these are the bytes of the JSON value as written, quotes of a string included. With any other media type a JSON
    /// string means its text, and any other JSON value its bytes as written.
    pub fn payload(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.payload.as_ref().map_or(&[], Payload::bytes))
    }

    /// Returns whether the payload is written as base64, a third longer, because it is not one JSON value alone.
    pub fn is_base64(&self) -> bool {
        matches!(self.payload, Some(Payload::Bytes(_)))
    }

    /// Parses the payload as a `T`, regardless of the media type. Every spelling of an integer fits an integer, `1.0`
    /// and `1e2` included.
    ///
    /// # Errors
    /// The payload is absent, is not JSON, or is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let payload = self.payload();
        serde_json::from_slice(&payload).or_else(|error| {
            let again = if error.is_data() { with_integers(&payload) } else { None };
            again.and_then(|document| serde_json::from_value(document).ok()).ok_or(PayloadError(error))
        })
    }

    /// Returns every context attribute that is set, by its name on the wire, in the order in which they are written,
    /// `specversion` first.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, Cow<'_, str>)> {
        let known = Attribute::ALL.into_iter().filter_map(|attribute| {
            let value = self.optional(attribute)?;
            Some((attribute.name(), Cow::Borrowed(value)))
        });
        let extensions = self.extensions.iter().map(|(name, value)| {
            let value = match value {
                Extension::Text(text) => Cow::Borrowed(text.as_str()),
                Extension::Integer(number) => Cow::Owned(number.to_string()),
                Extension::Boolean(flag) => Cow::Owned(flag.to_string()),
            };
            (name.as_str(), value)
        });
        std::iter::once(("specversion", Cow::Borrowed("1.0"))).chain(known).chain(extensions)
    }

    fn required(&self, attribute: Attribute) -> &str {
        &self.values[attribute as usize]
    }

    pub(crate) fn optional(&self, attribute: Attribute) -> Option<&str> {
        Some(self.required(attribute)).filter(|text| !text.is_empty())
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("event_type", &self.event_type())
            .field("content_type", &self.content_type())
            .field("payload_bytes", &self.payload().len())
            .finish_non_exhaustive()
    }
}
