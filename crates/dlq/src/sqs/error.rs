//! Errors of SQS that are not a message's.

use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use sluicegate_queue::sqs::error_text;

use crate::Error;

/// Error codes of an endpoint without an operation, in the protocols of AWS and in emulators.
const UNKNOWN_OPERATION_CODES: [&str; 4] =
    ["UnknownOperation", "UnknownOperationException", "InvalidAction", "NotImplemented"];

/// Returns an error of the broker.
pub(super) fn broker<E>(error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    Error::Broker(error_text(error))
}

/// Returns whether the endpoint lacks the operation, as some emulators do.
pub(super) fn is_unknown_operation<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let status = error.raw_response().map(|response| response.status().as_u16());
    let code = error.code().unwrap_or_default();
    UNKNOWN_OPERATION_CODES.contains(&code) || status == Some(501)
}
