//! [`Drift`]: the routes that only one of contract and template has.

use std::collections::BTreeSet;

use crate::{Contract, DOCUMENT_PATH, STATUS_PATH};

/// The routes that only one of contract and template has, as API Gateway route keys: `POST /orders`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drift {
    /// In the contract and not in the template: API Gateway answers 404.
    pub missing: BTreeSet<String>,
    /// In the template and not in the contract.
    pub extra: BTreeSet<String>,
}

impl Drift {
    /// Compares the two. Besides the contract's routes, a template has a route for the contract document, one for the
    /// status of messages if they have one, and may have the catch-all `$default`, without which API Gateway answers
    /// unknown routes itself.
    pub fn between<'a>(contract: &Contract, template_routes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut expected: BTreeSet<String> =
            contract.operations().iter().map(|operation| format!("{} {}", operation.method, operation.path)).collect();
        expected.insert(format!("GET {DOCUMENT_PATH}"));
        expected.extend(contract.has_status().then(|| format!("GET {STATUS_PATH}")));
        let found: BTreeSet<String> =
            template_routes.into_iter().filter(|route| *route != "$default").map(str::to_owned).collect();
        Self { missing: &expected - &found, extra: &found - &expected }
    }

    /// Returns whether both have the same routes.
    pub fn is_none(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty()
    }
}
