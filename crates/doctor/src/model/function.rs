//! `AWS::Serverless::Function` and `AWS::Lambda::Function`.

use std::collections::BTreeMap;

use sluicegate_sam::{Props, Setting, function_of, text};

use super::{Access, Policies};
use crate::inventory::{Inventory, Origin, Resource};

/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>
pub(crate) const TIMEOUT_S_DEFAULT: u64 = 3;

/// One function.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) origin: Origin,
    pub(crate) name: String,
    pub(crate) runtime: Setting<String>,
    pub(crate) timeout_s: Setting<u64>,
    /// `ReservedConcurrentExecutions`
    pub(crate) reserved: Setting<u64>,
    pub(crate) environment: BTreeMap<String, Setting<String>>,
    /// The names of its variables that bind logical queues.
    pub(crate) binds: Vec<String>,
    pub(crate) log_format: Setting<String>,
    pub(crate) log_group: Setting<String>,
    pub(crate) application_log_level: Setting<String>,
    /// The property that names a destination of failed asynchronous invocations.
    pub(crate) async_failures: Option<&'static str>,
    /// Traffic moves from version to version, by CodeDeploy.
    pub(crate) shifts_traffic: bool,
    /// An alias is kept at the newest version.
    pub(crate) alias: Setting<String>,
    pub(crate) provisioned: bool,
    /// SAM generates its role.
    pub(crate) role_is_made: bool,
    /// `VpcConfig` is written.
    pub(crate) in_network: Setting<bool>,
    pub(crate) security_groups: Vec<Setting<String>>,
    /// Its role's ARN; absent where SAM generates the role.
    pub(crate) role: Setting<String>,
    /// The permissions of its role.
    pub(crate) access: Access,
}

impl Function {
    /// Returns a variable of its environment that is not empty.
    pub(crate) fn variable(&self, name: &str) -> Setting<String> {
        match self.environment.get(name) {
            Some(Setting::Known(text)) if text.is_empty() => Setting::Absent,
            Some(value) => value.clone(),
            None => Setting::Absent,
        }
    }

    /// Returns each variable `QUEUE_<NAME>` with its value.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = (&str, &Setting<String>)> {
        let variables = self.environment.iter().map(|(name, value)| (name.as_str(), value));
        variables.filter(|(name, _)| self.binds.iter().any(|bound| bound == name))
    }
}

pub(super) fn all(inventory: &Inventory, policies: &Policies) -> Vec<Function> {
    let sam = inventory.of_kind("AWS::Serverless::Function").map(|resource| function(resource, true, policies));
    let plain = inventory.of_kind("AWS::Lambda::Function").map(|resource| function(resource, false, policies));
    let mut found: Vec<Function> = sam.chain(plain).collect();
    for resource in inventory.of_kind("AWS::Lambda::Alias") {
        let props = resource.props();
        let owner = props.text("FunctionName").known().map(|reference| function_of(&reference).0);
        if let Some(function) = found.iter_mut().find(|function| Some(&function.name) == owner.as_ref()) {
            function.alias = props.text("Name");
            function.shifts_traffic |= resource.update_policy.get("CodeDeployLambdaAliasUpdate").is_some();
        }
    }
    for resource in inventory.of_kind("AWS::Lambda::EventInvokeConfig") {
        let props = resource.props();
        let owner = props.text("FunctionName").known().map(|reference| function_of(&reference).0);
        let fails = props.object("DestinationConfig").get("OnFailure").is_written();
        if let Some(function) = found.iter_mut().find(|function| Some(&function.name) == owner.as_ref() && fails) {
            function.async_failures.get_or_insert("DestinationConfig");
        }
    }
    found
}

fn function(resource: &Resource, sam: bool, policies: &Policies) -> Function {
    let props = resource.props();
    let dead_letters = if sam { "DeadLetterQueue" } else { "DeadLetterConfig" };
    let on_failure = props.object("EventInvokeConfig").object("DestinationConfig").get("OnFailure");
    let variables = props.object("Environment").object("Variables").members();
    let read = |value| text(value).map_or(Setting::unknown(), Setting::Known);
    Function {
        origin: resource.origin.clone(),
        name: resource.reference.clone(),
        runtime: props.text("Runtime"),
        timeout_s: props.number("Timeout"),
        reserved: props.number("ReservedConcurrentExecutions"),
        environment: variables.map(|(name, value)| (name.to_owned(), read(value))).collect(),
        binds: Vec::new(),
        log_format: props.object("LoggingConfig").text("LogFormat"),
        log_group: props.object("LoggingConfig").text("LogGroup"),
        application_log_level: props.object("LoggingConfig").text("ApplicationLogLevel"),
        async_failures: match () {
            () if props.get(dead_letters).is_written() => Some(dead_letters),
            () if on_failure.is_written() => Some("EventInvokeConfig"),
            () => None,
        },
        shifts_traffic: sam && shifts(props),
        alias: if sam { props.text("AutoPublishAlias") } else { Setting::Absent },
        provisioned: sam && props.get("ProvisionedConcurrencyConfig").is_written(),
        role_is_made: sam && props.get("Role").is_absent(),
        in_network: match props.get("VpcConfig") {
            Setting::Absent => Setting::Known(false),
            Setting::Known(_) => Setting::Known(true),
            Setting::Unknown(_) => Setting::unknown(),
        },
        security_groups: listed(props.object("VpcConfig"), "SecurityGroupIds"),
        role: props.text("Role"),
        access: policies.of_function(resource, sam),
    }
}

/// Returns the deployments that move an alias with a role of the template, with the property that names the role and
/// its permissions.
pub(super) fn deployments(inventory: &Inventory, policies: &Policies) -> Vec<(Origin, &'static str, Access)> {
    let sam = inventory.of_kind("AWS::Serverless::Function").filter(|resource| shifts(resource.props()));
    let sam = sam.map(|resource| {
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

fn listed(props: Props<'_>, name: &str) -> Vec<Setting<String>> {
    props.listed(name)
}

fn shifts(props: Props<'_>) -> bool {
    let preference = props.object("DeploymentPreference");
    let enabled = preference.flag("Enabled").or(true) == Some(true);
    enabled && preference.members().next().is_some()
}
