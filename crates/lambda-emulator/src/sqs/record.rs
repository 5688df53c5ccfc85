//! The record of a received message in the event.
//!
//! It has all the fields that Lambda sends and no others; `attributes` are strings. The record keeps its JSON text, so
//! that each record is serialized once, to measure the batch and to send it.
//! <https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html#example-standard-queue-message-event>

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

/// An entry of `ReceiveMessage`'s `Messages`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Received {
    message_id: String,
    receipt_handle: String,
    #[serde(default)]
    body: String,
    #[serde(rename = "MD5OfBody", default)]
    md5_of_body: String,
    #[serde(rename = "MD5OfMessageAttributes")]
    md5_of_message_attributes: Option<String>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    message_attributes: BTreeMap<String, ReceivedAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceivedAttribute {
    string_value: Option<String>,
    /// Base64 on the wire and in the event.
    binary_value: Option<String>,
    data_type: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    message_id: &'a str,
    receipt_handle: &'a str,
    body: &'a str,
    attributes: &'a BTreeMap<String, String>,
    message_attributes: BTreeMap<&'a str, RecordAttribute<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    md5_of_message_attributes: Option<&'a str>,
    md5_of_body: &'a str,
    event_source: &'static str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
    aws_region: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RecordAttribute<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    string_value: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    binary_value: Option<&'a str>,
    string_list_values: [(); 0],
    binary_list_values: [(); 0],
    data_type: &'a str,
}

impl<'a> From<&'a ReceivedAttribute> for RecordAttribute<'a> {
    fn from(attribute: &'a ReceivedAttribute) -> Self {
        RecordAttribute {
            string_value: attribute.string_value.as_deref(),
            binary_value: attribute.binary_value.as_deref(),
            string_list_values: [],
            binary_list_values: [],
            data_type: &attribute.data_type,
        }
    }
}

/// A received message with its record.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    pub(super) message_id: Arc<str>,
    pub(super) receipt_handle: String,
    pub(super) body: Arc<str>,
    pub(super) receive_count: u32,
    pub(super) received: Instant,
    /// The record's JSON.
    pub(super) record: String,
}

impl Delivery {
    /// Makes a delivery of an entry of `ReceiveMessage`'s answer.
    pub(super) fn new(message: Value, queue_arn: &str, received: Instant) -> serde_json::Result<Delivery> {
        let message: Received = serde_json::from_value(message)?;
        let attributes = &message.message_attributes;
        let record = serde_json::to_string(&Record {
            message_id: &message.message_id,
            receipt_handle: &message.receipt_handle,
            body: &message.body,
            attributes: &message.attributes,
            message_attributes: attributes.iter().map(|(name, value)| (name.as_str(), value.into())).collect(),
            md5_of_message_attributes: message.md5_of_message_attributes.as_deref().filter(|_| !attributes.is_empty()),
            md5_of_body: &message.md5_of_body,
            event_source: "aws:sqs",
            event_source_arn: queue_arn,
            aws_region: queue_arn.split(':').nth(3).unwrap_or_default(),
        })?;
        let receive_count = message.attributes.get("ApproximateReceiveCount").and_then(|count| count.parse().ok());
        Ok(Delivery {
            message_id: message.message_id.into(),
            receipt_handle: message.receipt_handle,
            body: message.body.into(),
            receive_count: receive_count.unwrap_or(1),
            received,
            record,
        })
    }
}
