//! The contract's JSON Schemas (2020-12, `format` checked), each compiled on the first request that needs it.

use std::{collections::BTreeMap, sync::OnceLock};

use jsonschema::{Draft, Validator};
use serde_json::Value;
use sluicegate_contract::{Contract, Operation};

use crate::rejection::{Code, FAULTS_MAX, Fault, Rejection};

/// Compiled schemas by operation and by what they describe: a media type, or a parameter's name.
pub struct Schemas {
    by_use: BTreeMap<(&'static str, &'static str), Schema>,
}

struct Schema {
    text: &'static str,
    compiled: OnceLock<Option<Validator>>,
}

impl Schemas {
    /// Knows every schema of the contract; compiles none.
    #[must_use]
    pub fn new(contract: &'static Contract) -> Self {
        let schema = |text: &'static str| Schema { text, compiled: OnceLock::new() };
        let mut by_use = BTreeMap::new();
        for operation in contract.operations() {
            for (media_type, text) in operation.body.iter().flat_map(|body| &body.content) {
                if let Some(text) = text {
                    by_use.insert((operation.id.as_str(), media_type.as_str()), schema(text));
                }
            }
            for parameter in &operation.parameters {
                if let Some(text) = &parameter.schema {
                    by_use.insert((operation.id.as_str(), parameter.name.as_str()), schema(text));
                }
            }
        }
        Self { by_use }
    }

    /// What is wrong with `value` by the schema of that use; nothing when there is no such schema.
    ///
    /// # Errors
    /// When the schema does not compile, which the build has ruled out.
    pub fn faults(&self, operation: &Operation, used_for: &str, value: &Value) -> Result<Vec<Fault>, Rejection> {
        let Some(schema) = self.by_use.get(&(operation.id.as_str(), used_for)) else { return Ok(Vec::new()) };
        let validator = schema.compiled.get_or_init(|| compile(schema.text)).as_ref();
        let validator = validator.ok_or_else(|| {
            Rejection::new(Code::Internal, "This request cannot be checked.")
                .log(format!("the schema of {} for {used_for} does not compile", operation.id))
        })?;
        Ok(validator
            .iter_errors(value)
            .take(FAULTS_MAX)
            .map(|error| Fault {
                pointer: error.instance_path().to_string(),
                detail: error.masked_with("the value").to_string(),
            })
            .collect())
    }
}

fn compile(text: &str) -> Option<Validator> {
    let schema = serde_json::from_str(text).ok()?;
    jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true).build(&schema).ok()
}
