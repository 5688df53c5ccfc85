//! The attributes an envelope knows by name, and what CloudEvents allows in a name and in a value.

/// Longest attribute value, in bytes, that [`Builder::build`](crate::Builder::build) accepts. CloudEvents intermediaries
/// must forward events of up to 64 KiB: twelve attributes of this size leave 40 KiB for a payload. Decoding has no such
/// limit, because events made by others must be read.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#size-limits>
pub const ATTRIBUTE_BYTES_MAX: usize = 2_048;

/// Longest attribute name, in bytes, that is decoded. CloudEvents says a name should not exceed 20 characters.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#naming-conventions>
pub const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;

/// Most attributes beyond those known here that one event may carry; CloudEvents asks for their number to be minimal.
///
/// <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/primer.md#cloudevent-attribute-extensions>
pub const EXTENSIONS_MAX: usize = 64;

/// The known attributes in the order they are written. `Principal`, `Operation` and `IdempotencyKey` are ours, the
/// others belong to CloudEvents or to its documented extensions (distributed tracing, partitioning).
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

    /// The name on the wire: lower-case letters and digits only, as CloudEvents demands.
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

/// Values of the known attributes. None of them may be empty, so the empty string (which costs no allocation) stands for
/// an absent one.
pub(crate) type Values = [String; Attribute::ALL.len()];

/// An attribute that is not known here, kept as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extension {
    Text(String),
    Integer(i32),
    Boolean(bool),
}

/// Whether `text` is a CloudEvents String, as an attribute's value must be: no control characters, no Unicode noncharacters. SQS refuses a subset of these.
#[must_use]
pub fn is_text(text: &str) -> bool {
    let refused = |c: char| c.is_control() || u32::from(c) & 0xFFFE == 0xFFFE || ('\u{FDD0}'..='\u{FDEF}').contains(&c);
    !text.contains(refused)
}

/// Whether `name` is a legal attribute name.
pub(crate) fn is_name(name: &str) -> bool {
    let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    !name.is_empty() && name.len() <= ATTRIBUTE_NAME_BYTES_MAX && name.bytes().all(legal)
}
