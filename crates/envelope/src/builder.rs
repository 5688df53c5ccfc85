//! [`EnvelopeBuilder`]: creates an envelope that was not read from the wire.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::attribute::{
    ATTRIBUTE_BYTES_MAX, Attribute, EXTENSIONS_MAX, Extension, REPLAY_ATTRIBUTE, STATUS_ATTRIBUTE, Values, is_name,
    is_text,
};
use crate::decode::{DecodeError, shown};
use crate::envelope::Envelope;
use crate::payload::Payload;

/// Collects attributes, which [`EnvelopeBuilder::build`] checks. An optional attribute that is set to the empty string
/// is absent.
#[must_use]
pub struct EnvelopeBuilder {
    values: Values,
    time: Option<OffsetDateTime>,
    extensions: Vec<(String, Extension)>,
    payload: Option<Payload>,
}

impl Envelope {
    /// Starts an envelope with the three required attributes.
    pub fn builder(id: impl Into<String>, source: impl Into<String>, event_type: impl Into<String>) -> EnvelopeBuilder {
        EnvelopeBuilder { values: Values::default(), time: None, extensions: Vec::new(), payload: None }
            .set(Attribute::Id, id)
            .set(Attribute::Source, source)
            .set(Attribute::Type, event_type)
    }

    /// Starts an envelope with every attribute, extension and the payload of this one, under another id. The
    /// caller overwrites the attributes that the other producer must not choose.
    pub fn into_builder(self, id: impl Into<String>) -> EnvelopeBuilder {
        let Self { values, time: _, extensions, payload } = self;
        EnvelopeBuilder { values, time: None, extensions, payload }.set(Attribute::Id, id)
    }
}

impl EnvelopeBuilder {
    /// Sets `subject`.
    pub fn subject(self, subject: impl Into<String>) -> Self {
        self.set(Attribute::Subject, subject)
    }

    /// Sets `type`.
    pub fn event_type(self, event_type: impl Into<String>) -> Self {
        self.set(Attribute::Type, event_type)
    }

    /// Sets an attribute by its name on the wire, such as an extension.
    ///
    /// # Errors
    /// The name is not 1 to 64 lower-case letters and digits, a `time` is not RFC 3339, the value has a character that
    /// CloudEvents does not allow, or there are too many extensions.
    pub fn attribute(self, name: &str, value: &str) -> Result<Self, DecodeError> {
        if !is_name(name) || ["data", "specversion"].contains(&name) {
            return Err(DecodeError::Name { name: shown(name) });
        }
        if !is_text(value) {
            return Err(DecodeError::Character { attribute: shown(name) });
        }
        let known = Attribute::named(name);
        if known.is_some() && value.is_empty() {
            return Err(DecodeError::Empty { attribute: shown(name) });
        }
        if known == Some(Attribute::Time) && OffsetDateTime::parse(value, &Rfc3339).is_err() {
            return Err(DecodeError::Time);
        }
        if let Some(known) = known {
            return Ok(self.set(known, value));
        }
        self.extension(name, Some(Extension::Text(value.to_owned())))
    }

    /// Sets whether the sender of the message can ask for its status: [`STATUS_ATTRIBUTE`].
    ///
    /// # Errors
    /// There are too many extensions.
    pub fn has_status(self, has_status: bool) -> Result<Self, DecodeError> {
        self.extension(STATUS_ATTRIBUTE, has_status.then_some(Extension::Boolean(true)))
    }

    /// Sets the name of the replay that sends the event again, or removes it: [`REPLAY_ATTRIBUTE`].
    ///
    /// # Errors
    /// The name has a character that CloudEvents does not allow, or there are too many extensions.
    pub fn replay_id(self, name: Option<&str>) -> Result<Self, DecodeError> {
        match name {
            Some(name) => self.attribute(REPLAY_ATTRIBUTE, name),
            None => self.extension(REPLAY_ATTRIBUTE, None),
        }
    }

    /// Sets `time`.
    pub fn time(mut self, time: OffsetDateTime) -> Self {
        self.time = Some(time);
        self
    }

    /// Sets the payload, and its media type as `datacontenttype`. Any bytes are accepted, also bytes that are not the
    /// JSON of their media type.
    pub fn payload(mut self, content_type: Option<&str>, bytes: impl Into<Vec<u8>>) -> Self {
        let content_type = content_type.unwrap_or_default();
        self.payload = Some(Payload::new(content_type, bytes.into()));
        self.set(Attribute::ContentType, content_type)
    }

    /// Sets `traceparent`.
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        self.set(Attribute::Traceparent, traceparent)
    }

    /// Sets `tracestate`.
    pub fn tracestate(self, tracestate: impl Into<String>) -> Self {
        self.set(Attribute::Tracestate, tracestate)
    }

    /// Sets `principal`.
    pub fn principal(self, principal: impl Into<String>) -> Self {
        self.set(Attribute::Principal, principal)
    }

    /// Sets `operation`.
    pub fn operation(self, operation: impl Into<String>) -> Self {
        self.set(Attribute::Operation, operation)
    }

    /// Sets `idempotencykey`.
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        self.set(Attribute::IdempotencyKey, key)
    }

    /// Sets `partitionkey`. The producer encodes what its broker does not allow in a group.
    pub fn group(self, group: impl Into<String>) -> Self {
        self.set(Attribute::Group, group)
    }

    /// Creates the envelope.
    ///
    /// # Errors
    /// The first attribute that is required and empty, is longer than [`ATTRIBUTE_BYTES_MAX`], or contains a control
    /// character or a Unicode noncharacter; or a time that cannot be written as RFC 3339.
    pub fn build(mut self) -> Result<Envelope, EnvelopeBuildError> {
        let time = &mut self.values[Attribute::Time as usize];
        match self.time {
            Some(set) => *time = set.format(&Rfc3339).map_err(|_| EnvelopeBuildError::Time)?,
            // The text of another producer was checked when it was read, and stays as it is.
            None if !time.is_empty() => self.time = OffsetDateTime::parse(time, &Rfc3339).ok(),
            None => {}
        }
        for known in Attribute::ALL {
            let (attribute, text) = (known.name(), &self.values[known as usize]);
            if text.is_empty() && Attribute::REQUIRED.contains(&known) {
                return Err(EnvelopeBuildError::Empty { attribute });
            }
            if text.len() > ATTRIBUTE_BYTES_MAX {
                return Err(EnvelopeBuildError::TooLong { attribute, bytes: text.len() });
            }
            if !is_text(text) {
                return Err(EnvelopeBuildError::Character { attribute });
            }
        }
        Ok(Envelope { values: self.values, time: self.time, extensions: self.extensions, payload: self.payload })
    }

    /// Replaces an extension, or removes it.
    fn extension(mut self, name: &str, value: Option<Extension>) -> Result<Self, DecodeError> {
        self.extensions.retain(|(other, _)| other != name);
        if let Some(value) = value {
            if self.extensions.len() >= EXTENSIONS_MAX {
                return Err(DecodeError::TooMany);
            }
            self.extensions.push((name.to_owned(), value));
        }
        Ok(self)
    }

    fn set(mut self, attribute: Attribute, text: impl Into<String>) -> Self {
        self.values[attribute as usize] = text.into();
        self
    }
}

/// An attribute that CloudEvents does not allow. The error does not contain its value, which may come from a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeBuildError {
    /// A required attribute is empty.
    #[error("attribute {attribute} is empty")]
    Empty {
        /// Its name on the wire.
        attribute: &'static str,
    },
    /// An attribute is longer than [`ATTRIBUTE_BYTES_MAX`].
    #[error("attribute {attribute} has {bytes} bytes, more than {ATTRIBUTE_BYTES_MAX}")]
    TooLong {
        /// Its name on the wire.
        attribute: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// An attribute contains a control character or a Unicode noncharacter.
    #[error("attribute {attribute} contains a character that CloudEvents does not allow")]
    Character {
        /// Its name on the wire.
        attribute: &'static str,
    },
    /// The time is outside the years 0 to 9999, or its offset has seconds.
    #[error("attribute time cannot be written as RFC 3339")]
    Time,
}
