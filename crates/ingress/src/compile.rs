//! Compilation of a JSON Schema as the contract means it.

use jsonschema::{Draft, Validator};
use serde_json::Value;

/// Compiles a schema. Formats are asserted, because the contract crate removes those that are not.
pub(crate) fn compile(schema: &Value) -> Option<Validator> {
    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(schema).ok()
}
