//! Event source mappings: `AWS::Lambda::EventSourceMapping`, and the SQS and MQ events of `AWS::Serverless::Function`.

use std::ops::Deref;

use sluicegate_sam::{EventKind, events};

use crate::inventory::{Inventory, Origin};

/// One event source mapping: its settings and its place.
#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) origin: Origin,
    settings: sluicegate_sam::Mapping,
    /// It certainly exists; otherwise its condition is undecided.
    pub(crate) certain: bool,
}

impl Deref for Mapping {
    type Target = sluicegate_sam::Mapping;

    fn deref(&self) -> &Self::Target {
        &self.settings
    }
}

pub(super) fn all(inventory: &Inventory) -> Vec<Mapping> {
    let mut found = Vec::new();
    for resource in inventory.of_kind("AWS::Serverless::Function") {
        for event in events(&resource.reference, resource.props()) {
            let EventKind::Mapping(settings) = event.kind else { continue };
            let origin = resource.origin.part(event.name, &format!("Events/{}/Properties", event.name));
            found.push(Mapping { origin, settings: *settings, certain: resource.certain });
        }
    }
    for resource in inventory.of_kind("AWS::Lambda::EventSourceMapping") {
        let Some(settings) = sluicegate_sam::Mapping::of_resource(resource.props()) else { continue };
        found.push(Mapping { origin: resource.origin.clone(), settings, certain: resource.certain });
    }
    found
}
