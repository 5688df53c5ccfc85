//! The errors of the SQS API.
//!
//! Every error has two names: the modelled one (`QueueDoesNotExist`), which new SDKs match, and the legacy query code
//! (`AWS.SimpleQueueService.NonExistentQueue`), which older ones and boto3 show. A message is for the caller:
//! it may repeat the caller's input, never stored data.

use std::borrow::Cow;

/// The kinds of errors, as the SQS API model names them, and the few common to every AWS service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are Amazon's; their meaning is in the API reference.
pub enum ErrorKind {
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

impl ErrorKind {
    /// Returns the modelled name, the legacy query code and the HTTP status.
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

/// The error of a refused call: both names and a text for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {message}")]
pub struct ApiError {
    name: Cow<'static, str>,
    legacy_code: Cow<'static, str>,
    status: u16,
    message: String,
}

impl ApiError {
    /// Creates an error of the emulator.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let (name, legacy_code, status) = kind.facts();
        Self { name: name.into(), legacy_code: legacy_code.into(), status, message: message.into() }
    }

    /// Creates an error from another SQS endpoint's answer. `name` is the part of `__type` after `#`.
    #[must_use]
    pub fn remote(name: String, legacy_code: Option<String>, status: u16, message: String) -> Self {
        let legacy_code = legacy_code.unwrap_or_else(|| name.clone());
        Self { name: name.into(), legacy_code: legacy_code.into(), status, message }
    }

    /// Creates the error for a parameter with an invalid value.
    pub fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParameterValue, message)
    }

    /// Creates the error for a missing parameter.
    #[must_use]
    pub fn missing(parameter: &str) -> Self {
        Self::new(ErrorKind::MissingParameter, format!("The request must contain the parameter {parameter}."))
    }

    /// Creates the error for a queue that does not exist.
    #[must_use]
    pub fn no_such_queue() -> Self {
        Self::new(ErrorKind::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// Returns the modelled name, such as `QueueDoesNotExist`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the code of the Query protocol, such as `AWS.SimpleQueueService.NonExistentQueue`.
    #[must_use]
    pub fn legacy_code(&self) -> &str {
        &self.legacy_code
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Returns the text for the caller.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns whether the caller must change the request for the call to succeed.
    #[must_use]
    pub fn sender_fault(&self) -> bool {
        self.status < 500
    }

    /// Returns whether the error is of this kind, from the emulator or another endpoint.
    #[must_use]
    pub fn is(&self, kind: ErrorKind) -> bool {
        self.name == kind.facts().0
    }
}
