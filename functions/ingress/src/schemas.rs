//! The contract's JSON Schemas (2020-12, `format` checked), each compiled on the first request that needs it.

use std::{collections::BTreeMap, sync::OnceLock};

use jsonschema::{Draft, Validator};
use serde_json::Value;
use sluicegate_contract::{Contract, SchemaText};

use crate::rejection::{Code, FAULTS_MAX, Fault, Rejection};

/// Compiled schemas by their text, so that one the contract uses twice is compiled once.
pub struct Schemas {
    by_text: BTreeMap<&'static str, OnceLock<Option<Validator>>>,
}

impl Schemas {
    /// Knows every schema of the contract; compiles none.
    #[must_use]
    pub fn new(contract: &'static Contract) -> Self {
        let texts = contract.operations().iter().flat_map(|operation| {
            let bodies = operation.body.iter().flat_map(|body| &body.content).filter_map(|(_, text)| text.as_deref());
            bodies.chain(operation.parameters.iter().filter_map(|parameter| parameter.schema.as_deref()))
        });
        Self { by_text: texts.map(|text| (text, OnceLock::new())).collect() }
    }

    /// What is wrong with `value` by that schema of the contract; nothing when there is none.
    ///
    /// # Errors
    /// When the schema does not compile, which the build has ruled out.
    pub fn faults(&self, schema: Option<&SchemaText>, value: &Value) -> Result<Vec<Fault>, Rejection> {
        let Some(text) = schema else { return Ok(Vec::new()) };
        let compiled = self.by_text.get(text.as_str()).and_then(|schema| schema.get_or_init(|| compile(text)).as_ref());
        let validator = compiled.ok_or_else(|| {
            Rejection::new(Code::Internal, "This request cannot be checked.")
                .log("a schema of the contract does not compile")
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
