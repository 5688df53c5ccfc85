//! What a sender may conclude, in words.

use sluicegate_queue::SendError;

pub(crate) fn conclusion<T>(result: &Result<T, SendError>) -> &'static str {
    match result {
        Ok(_) => "stored",
        Err(SendError::NotSent { .. } | SendError::PayloadNotStored { .. }) => "not sent",
        Err(SendError::Unknown { .. }) => "unknown",
        Err(SendError::TooLarge { .. }) => "too large",
        Err(SendError::Unroutable { .. }) => "unroutable",
        Err(SendError::Refused { message_at_fault: true, .. }) => "refused: message",
        Err(SendError::Refused { message_at_fault: false, .. }) => "refused: queue",
    }
}
