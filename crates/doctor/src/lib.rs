//! What silently loses or delays messages, found in a template or in a deployed stack before it does.
//!
//! [`Inventory`] is every resource there is, from a template's files or from a deployed stack ([`deployed`]); [`examine`] runs
//! every check of [`checks`] over it. A check is a pure function, stays silent where a value cannot be known, and comes with
//! the reason, the remedy and the page that says so. Nothing here changes anything.

mod checks;
mod error;
mod finding;
mod identity;
mod inventory;
mod model;
mod overlay;
mod setting;
mod stack;
#[cfg(test)]
mod tests;

use sluicegate_contract::Contract;
use sluicegate_topology::Topology;

pub use crate::{
    checks::checks,
    error::Error,
    finding::{Check, Finding, Report, Severity},
    inventory::Inventory,
    stack::deployed,
};

/// What the project says besides the template. What is left out is not compared.
#[derive(Debug, Default)]
pub struct Project {
    /// The OpenAPI document.
    pub contract: Option<Contract>,
    /// What is to be on the RabbitMQ broker.
    pub topology: Option<Topology>,
}

/// Runs every check.
#[must_use]
pub fn examine(inventory: &Inventory, project: &Project) -> Report {
    let model = model::Model::of(inventory, project);
    Report::of(&model, inventory.notes.clone())
}
