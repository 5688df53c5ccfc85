//! [`KeptEvent`]: reads an event that the gateway made, for those who look at the request later.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// The parts of a payload 2.0 event that are the request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeptEvent {
    pub raw_query_string: String,
    #[serde(default)]
    pub cookies: Vec<String>,
    /// By lower-case names.
    pub headers: BTreeMap<String, String>,
    body: Option<String>,
    is_base64_encoded: bool,
}

impl KeptEvent {
    /// Returns the request of an event.
    pub(crate) fn parse(event: &[u8]) -> Option<Self> {
        serde_json::from_slice(event).ok()
    }

    /// Returns the exact bytes of the request's body.
    pub(crate) fn payload(&self) -> Vec<u8> {
        match &self.body {
            Some(body) if self.is_base64_encoded => STANDARD.decode(body).unwrap_or_default(),
            Some(body) => body.as_bytes().to_vec(),
            None => Vec::new(),
        }
    }
}
