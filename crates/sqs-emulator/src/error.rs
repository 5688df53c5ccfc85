//! What a caller gets when SQS says no.
//!
//! Every error has two names: the modelled one (`QueueDoesNotExist`), which new SDKs match, and the legacy query code
//! (`AWS.SimpleQueueService.NonExistentQueue`), which older ones and boto3 show. A message is meant for the caller: it may
//! repeat what the caller sent, never what others stored.

use std::borrow::Cow;

/// Which error, as the SQS API model names it, and the few that every AWS service shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are Amazon's; their meaning is in the API reference.
pub enum Kind {
    BatchEntryIdsNotDistinct,
    BatchRequestTooLong,
    EmptyBatchRequest,
    InvalidAddress,
    InvalidAttributeName,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    InvalidMessageContents,
    InvalidParameterValue,
    MalformedQueryString,
    MessageNotInflight,
    MissingParameter,
    OverLimit,
    PurgeQueueInProgress,
    QueueDeletedRecently,
    QueueDoesNotExist,
    QueueNameExists,
    ReceiptHandleIsInvalid,
    RequestTooLarge,
    ResourceNotFound,
    Serialization,
    TooManyEntriesInBatchRequest,
    UnknownOperation,
    UnsupportedOperation,
}

impl Kind {
    /// Modelled name, legacy query code, HTTP status.
    const fn facts(self) -> (&'static str, &'static str, u16) {
        match self {
            Self::BatchEntryIdsNotDistinct => {
                ("BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", 400)
            }
            Self::BatchRequestTooLong => ("BatchRequestTooLong", "AWS.SimpleQueueService.BatchRequestTooLong", 400),
            Self::EmptyBatchRequest => ("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", 400),
            Self::InvalidAddress => ("InvalidAddress", "InvalidAddress", 400),
            Self::InvalidAttributeName => ("InvalidAttributeName", "InvalidAttributeName", 400),
            Self::InvalidAttributeValue => ("InvalidAttributeValue", "InvalidAttributeValue", 400),
            Self::InvalidBatchEntryId => ("InvalidBatchEntryId", "AWS.SimpleQueueService.InvalidBatchEntryId", 400),
            Self::InvalidMessageContents => ("InvalidMessageContents", "InvalidMessageContents", 400),
            Self::InvalidParameterValue => ("InvalidParameterValueException", "InvalidParameterValue", 400),
            Self::MalformedQueryString => ("MalformedQueryString", "MalformedQueryString", 400),
            Self::MessageNotInflight => ("MessageNotInflight", "AWS.SimpleQueueService.MessageNotInflight", 400),
            Self::MissingParameter => ("MissingRequiredParameterException", "MissingParameter", 400),
            Self::OverLimit => ("OverLimit", "OverLimit", 403),
            Self::PurgeQueueInProgress => ("PurgeQueueInProgress", "AWS.SimpleQueueService.PurgeQueueInProgress", 403),
            Self::QueueDeletedRecently => ("QueueDeletedRecently", "AWS.SimpleQueueService.QueueDeletedRecently", 400),
            Self::QueueDoesNotExist => ("QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", 400),
            Self::QueueNameExists => ("QueueNameExists", "QueueAlreadyExists", 400),
            Self::ReceiptHandleIsInvalid => ("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 400),
            Self::RequestTooLarge => ("RequestEntityTooLargeException", "RequestEntityTooLarge", 413),
            Self::ResourceNotFound => ("ResourceNotFoundException", "ResourceNotFoundException", 404),
            Self::Serialization => ("SerializationException", "SerializationException", 400),
            Self::TooManyEntriesInBatchRequest => {
                ("TooManyEntriesInBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", 400)
            }
            Self::UnknownOperation => ("UnknownOperationException", "UnknownOperationException", 400),
            Self::UnsupportedOperation => ("UnsupportedOperation", "AWS.SimpleQueueService.UnsupportedOperation", 400),
        }
    }
}

/// A refused call: what went wrong, by both names, with a text for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct ApiError {
    name: Cow<'static, str>,
    legacy_code: Cow<'static, str>,
    status: u16,
    message: String,
}

impl ApiError {
    /// An error of this engine.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let (name, legacy_code, status) = kind.facts();
        Self { name: name.into(), legacy_code: legacy_code.into(), status, message: message.into() }
    }

    /// An error another SQS endpoint answered with. `name` is the part of `__type` after `#`.
    #[must_use]
    pub fn remote(name: String, legacy_code: Option<String>, status: u16, message: String) -> Self {
        let legacy_code = legacy_code.unwrap_or_else(|| name.clone());
        Self { name: name.into(), legacy_code: legacy_code.into(), status, message }
    }

    /// A parameter with a value SQS does not take.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameterValue, message)
    }

    /// A required parameter that is not there.
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Self::new(Kind::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// No queue of that name.
    #[must_use]
    pub fn no_such_queue() -> Self {
        Self::new(Kind::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// The modelled name, such as `QueueDoesNotExist`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The code of the old query protocol, such as `AWS.SimpleQueueService.NonExistentQueue`.
    #[must_use]
    pub fn legacy_code(&self) -> &str {
        &self.legacy_code
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The text for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the caller has to change something for the call to succeed.
    #[must_use]
    pub fn sender_fault(&self) -> bool {
        self.status < 500
    }

    /// Whether this is that error, wherever it came from.
    #[must_use]
    pub fn is(&self, kind: Kind) -> bool {
        self.name == kind.facts().0
    }
}
