//! [`Record`]: a message in the event of the mapping, as far as the simulation reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::message::number_in;

/// A message in an event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    basic_properties: Properties,
    /// The body, in base64.
    data: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Properties {
    message_id: Option<String>,
}

impl Record {
    /// Returns the id of the message, which each of the workload has.
    pub(crate) fn id(&self) -> &str {
        self.basic_properties.message_id.as_deref().unwrap_or_default()
    }

    /// Returns the number of the message.
    pub(crate) fn number(&self) -> Option<u32> {
        number_in(&String::from_utf8_lossy(&STANDARD.decode(&self.data).ok()?))
    }
}
