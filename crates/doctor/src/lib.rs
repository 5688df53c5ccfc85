//! Checks of a template or a deployed stack for what silently loses or delays messages.
//!
//! [`Inventory`] holds the resources, from a template's files or from a deployed stack ([`deployed`]); [`examine`]
//! runs every check of [`checks()`] over them.
//!
//! ```
//! use std::{collections::BTreeMap, path::Path};
//!
//! use sluicegate_doctor::{Inventory, Project, examine};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = std::env::temp_dir().join(format!("sluicegate-doctor-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! # let template = folder.join("template.yaml");
//! # std::fs::write(&template, "
//! # Resources:
//! #   Orders: { Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: 30 } }
//! #   Consumer:
//! #     Type: AWS::Serverless::Function
//! #     Properties:
//! #       Timeout: 60
//! #       Events: { Orders: { Type: SQS, Properties: { Queue: !GetAtt Orders.Arn } } }
//! # ")?;
//! // template.yaml: the function's timeout is longer than the visibility timeout of its queue.
//! let inventory = Inventory::of_template(&template, &BTreeMap::new())?;
//! let report = examine(&inventory, &Project::default());
//! for finding in &report.findings {
//!     println!("{} {}: {} {}", finding.severity, finding.resource, finding.what, finding.fix);
//! }
//! assert!(report.errors > 0);
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok(())
//! # }
//! ```
//!
//! With the OpenAPI document and the RabbitMQ topology in [`Project`], the template is compared with them too.
//!
//! # Guarantees
//!
//! - A check is a pure function. It reports nothing where a value is unknown, such as one that only AWS knows.
//! - Every check has a reason, a fix and the page that documents the behaviour.
//! - [`deployed`] only reads, and changes nothing.
//!
//! # Features
//!
//! - `aws` (default): [`deployed`], which needs the AWS SDK.

#![cfg_attr(not(feature = "aws"), allow(dead_code, reason = "only a deployed stack has an overlay"))]

mod checks;
mod error;
mod finding;
mod identity;
mod inventory;
mod model;
mod overlay;
#[cfg(feature = "aws")]
mod stack;
#[cfg(test)]
mod tests;

use sluicegate_contract::Contract;
use sluicegate_topology::Topology;

#[cfg(feature = "aws")]
pub use crate::stack::{deployed, stack_outputs};
pub use crate::{
    checks::checks,
    error::Error,
    finding::{Check, Finding, Report, Severity},
    inventory::Inventory,
};

/// Further files of the project to compare the template with.
#[derive(Debug, Default)]
pub struct Project {
    /// The OpenAPI document.
    pub contract: Option<Contract>,
    /// The RabbitMQ topology.
    pub topology: Option<Topology>,
}

/// Runs every check.
#[must_use]
pub fn examine(inventory: &Inventory, project: &Project) -> Report {
    let model = model::Model::of(inventory, project);
    Report::of(checks(), &model, inventory.notes.clone())
}
