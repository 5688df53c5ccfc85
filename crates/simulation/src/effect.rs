//! The effect of a message: an item in the table, written in one transaction with the record that it is handled.

use serde_json::json;
use sluicegate_batch::TransactWrite;

use crate::dynamodb::Table;

/// Starts the key of an effect, before the number of its message.
const KEY_PREFIX: &str = "effect/";

/// The attribute with the call of the handler that had the effect.
const CALL: &str = "call";

/// Returns the write of the effect of a message, by one call of its handler in an invocation.
pub(crate) fn write(message: u32, invocation: u64, call: u32) -> TransactWrite {
    let key = format!("{KEY_PREFIX}{message}");
    let call = format!("{invocation}/{call}");
    TransactWrite::Put(json!({ "TableName": "effects", "Item": { "id": { "S": key }, CALL: { "S": call } } }))
}

/// Returns the message whose effect has this key in the table.
pub(crate) fn message_of(key: &str) -> Option<u32> {
    key.strip_prefix(KEY_PREFIX)?.parse().ok()
}

/// Returns the call that had the effect with this key last.
pub(crate) fn call_of(table: &Table, key: &str) -> Option<String> {
    message_of(key)?;
    table.attribute(key, CALL)?["S"].as_str().map(str::to_owned)
}
