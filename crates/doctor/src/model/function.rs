//! `AWS::Serverless::Function` and `AWS::Lambda::Function`.

use std::ops::Deref;

use sluicegate_sam::{Setting, function_of};

use super::{Access, Policies};
use crate::inventory::{Inventory, Origin, Resource};

/// One function: its settings, its place, and its permissions.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) origin: Origin,
    settings: sluicegate_sam::Function,
    /// The names of its variables that bind logical queues.
    pub(crate) binds: Vec<String>,
    /// The permissions of its role.
    pub(crate) access: Access,
}

impl Deref for Function {
    type Target = sluicegate_sam::Function;

    fn deref(&self) -> &Self::Target {
        &self.settings
    }
}

impl Function {
    /// Returns a variable of its environment that is not empty.
    pub(crate) fn variable(&self, name: &str) -> Setting<String> {
        match self.variables().find(|(own, _)| *own == name) {
            Some((_, Setting::Known(text))) if text.is_empty() => Setting::Absent,
            Some((_, value)) => value.clone(),
            None => Setting::Absent,
        }
    }

    /// Returns a variable that holds a number; `None` if it is unknown or not a number.
    pub(crate) fn count(&self, name: &str, default: u64) -> Option<u64> {
        self.variable(name).and_then(|text| text.trim().parse().ok()).or(default)
    }

    /// Returns whether a variable binds a queue.
    pub(crate) fn binds_queues(&self) -> bool {
        self.bindings().next().is_some()
    }

    /// Returns each variable `QUEUE_<NAME>` with its value.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (&str, &Setting<String>)> {
        self.variables().filter(|(name, _)| self.binds.iter().any(|bound| bound == name))
    }
}

pub(super) fn all(inventory: &Inventory, policies: &Policies) -> Vec<Function> {
    let sam = inventory.of_kind("AWS::Serverless::Function").map(|resource| function(resource, true, policies));
    let plain = inventory.of_kind("AWS::Lambda::Function").map(|resource| function(resource, false, policies));
    let mut found: Vec<Function> = sam.chain(plain).collect();
    for alias in inventory.of_kind("AWS::Lambda::Alias") {
        if let Some(settings) = settings_of(&mut found, alias) {
            settings.alias = alias.props().text("Name");
            settings.shifts_traffic |= alias.update_policy.get("CodeDeployLambdaAliasUpdate").is_some();
        }
    }
    for config in inventory.of_kind("AWS::Lambda::EventInvokeConfig") {
        let on_failure = config.props().object("DestinationConfig").get("OnFailure");
        if let Some(settings) = settings_of(&mut found, config).filter(|_| on_failure.is_written()) {
            settings.async_failures.get_or_insert("DestinationConfig");
        }
    }
    found
}

/// Returns the settings of the function that the resource's `FunctionName` names.
fn settings_of<'f>(functions: &'f mut [Function], resource: &Resource) -> Option<&'f mut sluicegate_sam::Function> {
    let name = function_of(resource.props().text("FunctionName").as_str()?).0;
    functions.iter_mut().map(|function| &mut function.settings).find(|settings| settings.name == name)
}

fn function(resource: &Resource, sam: bool, policies: &Policies) -> Function {
    Function {
        origin: resource.origin.clone(),
        settings: sluicegate_sam::Function::read(&resource.reference, resource.props(), sam),
        binds: Vec::new(),
        access: policies.of_function(resource, sam),
    }
}

/// Returns the deployments that move an alias with a role of the template, with the property that names the role and
/// its permissions.
pub(super) fn deployments(inventory: &Inventory, policies: &Policies) -> Vec<(Origin, &'static str, Access)> {
    let shifts = |resource: &&Resource| {
        sluicegate_sam::Function::read(&resource.reference, resource.props(), true).shifts_traffic
    };
    let sam = inventory.of_kind("AWS::Serverless::Function").filter(shifts).map(|resource| {
        let role = resource.props().object("DeploymentPreference").text("Role");
        (resource.origin.clone(), "DeploymentPreference/Role", role)
    });
    let plain = inventory
        .of_kind("AWS::CodeDeploy::DeploymentGroup")
        .map(|group| (group.origin.clone(), "ServiceRoleArn", group.props().text("ServiceRoleArn")));
    let known = |(origin, property, role): (Origin, &'static str, Setting<String>)| {
        Some((origin, property, policies.of_role(&role.known()?)))
    };
    sam.chain(plain).filter_map(known).collect()
}
