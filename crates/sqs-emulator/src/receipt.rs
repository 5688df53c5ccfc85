//! Receipt handles: opaque to clients, here the queue, the message and the receive.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::error::{ApiError, ErrorKind};

/// The contents of a receipt handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReceiptHandle {
    /// The queue's instance: a queue created later with the same name has another.
    pub(crate) queue: u64,
    /// The message in that queue.
    pub(crate) serial: u64,
    /// The receive.
    pub(crate) receive: u64,
}

impl ReceiptHandle {
    pub(crate) fn encode(self) -> String {
        BASE64.encode(format!("{:016x}:{:x}:{:x}", self.queue, self.serial, self.receive))
    }

    /// Decodes a handle of the queue `queue`.
    pub(crate) fn decode(handle: &str, queue: u64) -> Result<Self, ApiError> {
        parse(handle).filter(|receipt| receipt.queue == queue).ok_or_else(|| {
            ApiError::new(
                ErrorKind::ReceiptHandleIsInvalid,
                format!("The input receipt handle \"{handle}\" is not a valid receipt handle."),
            )
        })
    }
}

fn parse(handle: &str) -> Option<ReceiptHandle> {
    let text = String::from_utf8(BASE64.decode(handle).ok()?).ok()?;
    let mut parts = text.split(':').map(|part| u64::from_str_radix(part, 16).ok());
    let receipt = ReceiptHandle { queue: parts.next()??, serial: parts.next()??, receive: parts.next()?? };
    parts.next().is_none().then_some(receipt)
}
