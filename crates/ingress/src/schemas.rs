//! The contract's JSON Schemas (2020-12), each compiled on the first request that needs it.

use std::{collections::BTreeMap, sync::OnceLock};

use jsonschema::Validator;
use serde_json::Value;
use sluicegate_contract::{BodySchema, Contract};

use crate::{
    compile::compile,
    explain::Explainer,
    rejection::{BodyFault, Code, Rejection},
};

/// Compiled schemas by text, so that a schema used twice is compiled once.
pub struct Schemas {
    by_text: BTreeMap<&'static str, OnceLock<Option<Schema>>>,
}

struct Schema {
    validator: Validator,
    value: Value,
    /// Created for the first invalid document.
    explainer: OnceLock<Explainer>,
}

impl Schemas {
    /// Collects the schemas of the contract without compiling them.
    #[must_use]
    pub fn new(contract: &'static Contract) -> Self {
        let texts = contract.operations().iter().flat_map(|operation| {
            let bodies = operation.body.iter().flat_map(|body| &body.content).filter_map(|(_, schema)| match schema {
                BodySchema::Schema(text) => Some(text.as_str()),
                BodySchema::Any | BodySchema::Object => None,
            });
            bodies.chain(operation.parameters.iter().filter_map(|parameter| parameter.schema.as_deref()))
        });
        Self { by_text: texts.map(|text| (text, OnceLock::new())).collect() }
    }

    /// Returns the faults of `value` against a schema of the contract, 32 at most.
    ///
    /// # Errors
    /// The schema does not compile, which the build rules out.
    pub fn faults(&self, text: &str, value: &Value) -> Result<Vec<BodyFault>, Rejection> {
        let schema = self.by_text.get(text).and_then(|schema| schema.get_or_init(|| Schema::new(text)).as_ref());
        let schema = schema.ok_or_else(|| {
            Rejection::new(Code::Internal, "This request cannot be checked.")
                .log("a schema of the contract does not compile")
        })?;
        Ok(schema.faults(value))
    }
}

impl Schema {
    fn new(text: &str) -> Option<Self> {
        let value = serde_json::from_str(text).ok()?;
        Some(Self { validator: compile(&value)?, value, explainer: OnceLock::new() })
    }

    fn faults(&self, value: &Value) -> Vec<BodyFault> {
        if self.validator.is_valid(value) {
            return Vec::new();
        }
        self.explainer.get_or_init(|| Explainer::new(&self.value)).faults(value)
    }
}
