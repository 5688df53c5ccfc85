//! The known attributes of an envelope, and the rules of CloudEvents for attribute names and values.

/// Longest attribute value, in bytes, that `EnvelopeBuilder::build` accepts. CloudEvents
/// intermediaries must forward events of up to 64 KiB: twelve attributes of this size leave 40 KiB for a payload.
/// Decoding has no such limit, because it reads events of other producers.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#size-limits>
pub const ATTRIBUTE_BYTES_MAX: usize = 2_048;

/// Longest attribute name, in bytes, that is decoded. CloudEvents recommends at most 20 characters.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#naming-conventions>
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;

/// Largest number of extension attributes of one event. CloudEvents recommends keeping their number minimal.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/primer.md#cloudevent-attribute-extensions>
pub const EXTENSIONS_MAX: usize = 64;

/// The extension attribute of a message whose status is recorded, for its sender: `true`.
pub const STATUS_ATTRIBUTE: &str = "messagestatus";

/// The extension attribute of an event that was sent again from the archive: the name of the replay.
pub const REPLAY_ATTRIBUTE: &str = "replayid";

/// The known attributes, in the order in which they are written. `Principal`, `Operation` and `IdempotencyKey` are
/// Sluicegate's; the others belong to CloudEvents or its documented extensions (distributed tracing, partitioning).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Id,
    Source,
    Type,
    Subject,
    Time,
    ContentType,
    Traceparent,
    Tracestate,
    Group,
    Principal,
    Operation,
    IdempotencyKey,
}

impl Attribute {
    pub(crate) const ALL: [Self; 12] = [
        Self::Id,
        Self::Source,
        Self::Type,
        Self::Subject,
        Self::Time,
        Self::ContentType,
        Self::Traceparent,
        Self::Tracestate,
        Self::Group,
        Self::Principal,
        Self::Operation,
        Self::IdempotencyKey,
    ];
    pub(crate) const REQUIRED: [Self; 3] = [Self::Id, Self::Source, Self::Type];

    /// Returns the name on the wire: lower-case letters and digits only, as CloudEvents requires.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::ContentType => "datacontenttype",
            Self::Traceparent => "traceparent",
            Self::Tracestate => "tracestate",
            Self::Group => "partitionkey",
            Self::Principal => "principal",
            Self::Operation => "operation",
            Self::IdempotencyKey => "idempotencykey",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.name() == name)
    }
}

/// The values of the known attributes. None may be empty, so the empty string, which needs no allocation, means absent.
pub(crate) type Values = [String; Attribute::ALL.len()];

/// The value of an extension attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Text(String),
    Integer(i32),
    Boolean(bool),
}

/// Returns whether `text` is a CloudEvents String, as the value of an attribute must be: without control characters and
/// Unicode noncharacters. SQS refuses a subset of these.
pub(crate) fn is_text(text: &str) -> bool {
    // Printable ASCII is the usual case, and decided without decoding characters.
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || refused_character(text).is_none()
}

/// Returns the first character that the value of an attribute must not have (CloudEvents 1.0.2, type system, String): a
/// control character or a Unicode noncharacter. SQS refuses a subset of these.
#[must_use]
pub fn refused_character(text: &str) -> Option<char> {
    let is_refused =
        |c: &char| c.is_control() || u32::from(*c) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(c);
    text.chars().find(is_refused)
}

/// Returns whether `name` is a legal attribute name.
pub(crate) fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !name.is_empty() && name.len() <= ATTRIBUTE_NAME_BYTES_MAX && name.bytes().all(legal)
}
