//! Checks of a template or a deployed stack for what silently loses or delays messages.
//!
//! [`Inventory`] holds the resources, from a template's files or from a deployed stack ([`deployed`]); [`examine`]
//! runs every check of [`checks()`] over them. A check is a pure function, reports nothing where a value is unknown,
//! and has a reason, a fix and a reference. Nothing is changed.

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
    stack::{deployed, stack_outputs},
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
    Report::of(checks(), &model, inventory.notes.clone())
}
