//! Differences between the routes of a contract and those of a template.

use std::collections::BTreeSet;

use sluicegate_contract::{Contract, DOCUMENT_PATH};

/// Routes as API Gateway writes them: `POST /orders`, `$default`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// In the contract, not in the template: answered 404.
    pub missing: BTreeSet<String>,
    /// In the template, not in the contract.
    pub extra: BTreeSet<String>,
}

impl Drift {
    /// Compares. Besides the contract's routes, a template has one for the contract itself, and may have the catch-all:
    /// without it API Gateway answers the 404s.
    pub fn between<'a>(contract: &Contract, template_routes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut expected: BTreeSet<String> =
            contract.operations().iter().map(|operation| format!("{} {}", operation.method, operation.path)).collect();
        expected.insert(format!("GET {DOCUMENT_PATH}"));
        let found: BTreeSet<String> =
            template_routes.into_iter().filter(|route| *route != "$default").map(str::to_owned).collect();
        Self { missing: &expected - &found, extra: &found - &expected }
    }

    /// Returns whether they agree.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }
}
