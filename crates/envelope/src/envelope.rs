//! [`Envelope`]: what is on the queue, read through getters.

use std::borrow::Cow;
use std::fmt;

use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::attribute::{Attribute, Extension, Values};
use crate::payload::{Payload, PayloadError, with_integers};

/// A CloudEvents 1.0 event. Made by [`Envelope::builder`] or [`Envelope::decode`], and valid ever after. `Debug` leaves out
/// the payload.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) values: Values,
    /// The value of the `time` attribute, parsed. The attribute keeps its text, so that it is written as it was read.
    pub(crate) time: Option<OffsetDateTime>,
    pub(crate) extensions: Vec<(String, Extension)>,
    pub(crate) payload: Option<Payload>,
}

impl Envelope {
    /// `id`: unique for its `source`; the same for a repeat of the same message.
    pub fn id(&self) -> &str {
        self.required(Attribute::Id)
    }

    /// `source`: who made the event, a URI-reference. Ingress writes the path of the route as the contract has it, with
    /// braces percent-encoded: `/orders/%7Border_id%7D`.
    pub fn source(&self) -> &str {
        self.required(Attribute::Source)
    }

    /// `type`: what happened, such as `order.placed`.
    pub fn event_type(&self) -> &str {
        self.required(Attribute::Type)
    }

    /// `subject`: what it happened to.
    pub fn subject(&self) -> Option<&str> {
        self.optional(Attribute::Subject)
    }

    /// `time`: when it happened, or was accepted.
    pub fn time(&self) -> Option<OffsetDateTime> {
        self.time
    }

    /// `datacontenttype`: the payload's media type, as it arrived.
    pub fn content_type(&self) -> Option<&str> {
        self.optional(Attribute::ContentType)
    }

    /// `traceparent`: W3C trace context.
    pub fn traceparent(&self) -> Option<&str> {
        self.optional(Attribute::Traceparent)
    }

    /// `tracestate`: W3C trace context.
    pub fn tracestate(&self) -> Option<&str> {
        self.optional(Attribute::Tracestate)
    }

    /// `principal`: whom the producer authenticated.
    pub fn principal(&self) -> Option<&str> {
        self.optional(Attribute::Principal)
    }

    /// `operation`: the operation of the contract that admitted the event.
    pub fn operation(&self) -> Option<&str> {
        self.optional(Attribute::Operation)
    }

    /// `idempotencykey`: the key the client chose.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.optional(Attribute::IdempotencyKey)
    }

    /// `partitionkey`: messages of one group are ordered (FIFO) or share a tenant (fair queues).
    pub fn group(&self) -> Option<&str> {
        self.optional(Attribute::Group)
    }

    /// The exact bytes that arrived; empty if there is no payload.
    ///
    /// For an event made by others that has `data`: under a JSON media type, or none (CloudEvents then assumes JSON), these
    /// are the bytes of the JSON value as written, quotes of a string included. Under any other media type a JSON string
    /// stands for its text, and any other JSON value for its bytes as written.
    pub fn payload(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.payload.as_ref().map_or(&[], Payload::bytes))
    }

    /// The payload as a `T`, if it is JSON of that shape. The media type is not looked at. A number that is an integer fits
    /// an integer however it is spelled, `1.0` and `1e2` included.
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

    /// Every context attribute that is set, by its name on the wire, in the order they are written; `specversion` first.
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
