//! [`Record`]: a message in the event of the mapping, as far as the simulation reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::message::number_in;

/// A message in an event.
#[derive(Deserialize)]
pub(crate) struct Record {
    /// The body, in base64.
    data: String,
}

impl Record {
    /// Returns the number of the message.
    pub(crate) fn number(&self) -> Option<u32> {
        number_in(&String::from_utf8_lossy(&STANDARD.decode(&self.data).ok()?))
    }
}
