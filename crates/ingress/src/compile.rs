//! Compilation of a JSON Schema with the settings of a contract.

use jsonschema::{Draft, Validator};
use serde_json::Value;

/// Compiles a schema. Formats are asserted: the contract crate removes the formats that must not be.
pub(crate) fn compile(schema: &Value) -> Option<Validator> {
    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(schema).ok()
}
