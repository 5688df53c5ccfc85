//! `AWS::Serverless::Function` and its HttpApi events.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value};

use super::{
    Fault, Notice, Reader, Resource,
    resolve::{call, stand_in},
    route::{DEFAULT_ROUTE, route_key},
};

/// A function to build and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionPlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The function's name.
    pub name: String,
    /// The function's ARN.
    pub arn: String,
    /// The cargo binary: `Metadata: BuildProperties: Binary`. Without one it is the only binary of the package in
    /// `code_uri`, as SAM has it.
    pub binary: Option<String>,
    /// The folder to build in, relative to that of the outermost template.
    pub code_uri: String,
    /// The variables of the template, with the caller's overrides.
    pub environment: BTreeMap<String, String>,
    /// The memory size, which only the function's environment shows.
    pub memory_mb: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// `ReservedConcurrentExecutions`; 0 throttles every invocation.
    pub reserved_concurrency: Option<usize>,
}

/// A route of the HTTP API: `POST /orders`, `ANY /files/{proxy+}` or `$default`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As API Gateway writes it.
    pub key: String,
    /// The function's name.
    pub function: String,
    /// How long the integration may take.
    pub timeout: Duration,
}

/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>
const MEMORY_MB_DEFAULT: u64 = 128;
/// Same page.
const TIMEOUT_S_DEFAULT: u64 = 3;
/// Same page.
const TIMEOUT_S_MAX: u64 = 900;
/// <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html>
const INTEGRATION_TIMEOUT_MS_MAX: u64 = 30_000;
/// Properties that are read here, or say nothing about how a function runs: which version of it an alias points to,
/// above all.
const KNOWN: [&str; 21] = [
    "Architectures",
    "AutoPublishAlias",
    "AutoPublishAliasAllProperties",
    "CodeUri",
    "DeploymentPreference",
    "Description",
    "Environment",
    "Events",
    "FunctionName",
    "Handler",
    "LoggingConfig",
    "MemorySize",
    "Policies",
    "ReservedConcurrentExecutions",
    "Role",
    "Runtime",
    "Tags",
    "Timeout",
    "Tracing",
    "VersionDescription",
    "VpcConfig",
];
/// Known properties that a laptop has no counterpart for: everything is allowed, every address can be reached, logs go
/// to the terminal as text, and traces are not collected.
const CLOUD_ONLY: [&str; 5] = ["LoggingConfig", "Policies", "Role", "Tracing", "VpcConfig"];
/// Known properties that only SAM and CloudFormation ask for, so they are not resolved.
const UNREAD: [&str; 9] = [
    "Architectures",
    "AutoPublishAlias",
    "AutoPublishAliasAllProperties",
    "DeploymentPreference",
    "Description",
    "Events",
    "Handler",
    "Tags",
    "VersionDescription",
];

impl Reader<'_> {
    pub(super) fn function(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let path = &*resource.properties_pointer();
        let properties = self.with_globals(resource)?;
        for name in properties.keys().filter(|name| !KNOWN.contains(&name.as_str())) {
            self.notice(&format!("{path}/{name}"), "has no effect locally");
        }
        self.notice_cloud_only(resource, properties.keys().filter(|name| CLOUD_ONLY.contains(&name.as_str())));
        let runtime = properties.get("Runtime").and_then(Value::as_str).unwrap_or_default();
        if !runtime.starts_with("provided.") {
            let reason = format!("Runtime `{runtime}`: only provided.al2023 functions written in Rust are run");
            return Err(self.fault(path, reason));
        }
        let metadata = &resource.body["Metadata"];
        // SAM resolves functions here too, so a parameter may choose the binary.
        let at = format!("{}/Metadata/BuildProperties/Binary", path.trim_end_matches("/Properties"));
        let binary = match &metadata["BuildProperties"]["Binary"] {
            Value::Null => None,
            name => match self.stack.resolver.resolve(name, &at)? {
                Some(Value::String(name)) => Some(name),
                Some(_) => return Err(self.fault(&at, "must be a string")),
                None => None,
            },
        };
        if metadata["BuildMethod"] != "rust-cargolambda" {
            let reason =
                "needs Metadata: BuildMethod: rust-cargolambda, which is what builds a function written in Rust";
            return Err(self.fault(path.trim_end_matches("/Properties"), reason));
        }
        let physical = self.stack.resolver.physical.get(resource.logical_id).cloned().unwrap_or_default();
        let timeout_s = self.number_in(&properties, "Timeout", path, TIMEOUT_S_DEFAULT, 1..=TIMEOUT_S_MAX)?;
        let memory = self.number_in(&properties, "MemorySize", path, MEMORY_MB_DEFAULT, 128..=32_768)?;
        let reserved = match properties.contains_key("ReservedConcurrentExecutions") {
            true => Some(self.number_in(&properties, "ReservedConcurrentExecutions", path, 0, 0..=1_000_000)?),
            false => None,
        };
        let code_uri = properties.get("CodeUri").and_then(Value::as_str).unwrap_or(".");
        let function = FunctionPlan {
            logical_id: self.id(resource),
            name: physical.reference.clone(),
            arn: physical.attributes.get("Arn").cloned().unwrap_or_default(),
            binary,
            code_uri: self.stack.folder.join(code_uri).display().to_string(),
            environment: self.environment(&properties, path)?,
            memory_mb: u32::try_from(memory).unwrap_or(u32::MAX),
            timeout: Duration::from_secs(timeout_s),
            reserved_concurrency: reserved.and_then(|reserved| usize::try_from(reserved).ok()),
        };
        for (name, event) in resource.body["Properties"]["Events"].as_object().into_iter().flatten() {
            let path = format!("{path}/Events/{name}");
            let read = match event["Type"].as_str() {
                Some("HttpApi") => self.http_event(&function.name, event, &path),
                Some("SQS") => self.sqs_event(&function.name, &event["Properties"], &format!("{path}/Properties")),
                Some("MQ") => self.mq_event(&function, &event["Properties"], &format!("{path}/Properties")),
                other => {
                    let kind = other.unwrap_or("without a Type");
                    self.notice(&path, &format!("an event {kind} is not run locally"));
                    Ok(())
                }
            };
            self.faults.extend(read.err());
        }
        self.faults.extend(self.check_policy_names(resource).err());
        self.plan.functions.push(function);
        Ok(())
    }

    /// Returns the function's properties over the globals, resolved as far as they are needed.
    fn with_globals(&self, resource: &Resource<'_>) -> Result<Map<String, Value>, Fault> {
        let merged = resource.properties(self.document());
        let mut resolved = Map::new();
        for (name, value) in merged.as_object().into_iter().flatten() {
            // Each variable is resolved by itself, and only if the caller's shell has none of that name.
            if name == "Environment" {
                resolved.insert(name.clone(), value.clone());
                continue;
            }
            // Policies, networks and events name what only the cloud knows; events are read one by one.
            let name_is_in = |names: &[&str]| names.contains(&name.as_str());
            let needed = name_is_in(&KNOWN) && !name_is_in(&CLOUD_ONLY) && !name_is_in(&UNREAD);
            let path = format!("{}/{name}", resource.properties_pointer());
            let value = match self.stack.resolver.resolve(value, &path) {
                resolved if needed => resolved?,
                // `AWS::NoValue`: the property is not there.
                Ok(None) => None,
                _ => Some(Value::Null),
            };
            resolved.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(resolved)
    }

    /// Returns the variables. The value of the caller's shell wins, so the template's own is not even resolved then.
    fn environment(&mut self, properties: &Map<String, Value>, path: &str) -> Result<BTreeMap<String, String>, Fault> {
        let path = format!("{path}/Environment");
        let mut environment = BTreeMap::new();
        let Some(all) = properties.get("Environment") else { return Ok(environment) };
        let Some(all) = self.chosen(all, &path)? else { return Ok(environment) };
        let path = format!("{path}/Variables");
        let Some(variables) = all.get("Variables") else { return Ok(environment) };
        let Some(variables) = self.chosen(variables, &path)? else { return Ok(environment) };
        let variables = variables.as_object().ok_or_else(|| self.fault(&path, "must be a mapping"))?;
        for (name, value) in variables {
            let value = match self.settings.environment.get(name) {
                Some(theirs) => Some(theirs.clone()),
                None => self.variable(name, value, &format!("{path}/{name}"))?,
            };
            environment.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(environment)
    }

    /// Returns a variable's value, a stand-in if only the cloud knows it, or none if it is `AWS::NoValue`.
    fn variable(&mut self, name: &str, value: &Value, path: &str) -> Result<Option<String>, Fault> {
        /// CloudFormation looks these up in Systems Manager and Secrets Manager.
        const DYNAMIC_REFERENCE: &str = "{{resolve:";
        self.stack.resolver.met_unknown.set(false);
        let text = match self.stack.resolver.resolve(value, path) {
            Ok(None) => return Ok(None),
            Ok(Some(value)) => self.stack.resolver.text(&value, path),
            Err(fault) => Err(fault),
        };
        let text = match text {
            Err(_) if self.stack.resolver.met_unknown.get() => stand_in(name),
            text => text?,
        };
        if self.stack.resolver.met_unknown.get() || text.contains(DYNAMIC_REFERENCE) {
            // Many functions may have the same variable, from the globals or not.
            let is_known = |notice: &Notice| matches!(notice, Notice::StandIn { variable, value, .. } if variable == name && *value == text);
            if !self.plan.notices.iter().any(is_known) {
                let (file, line) = (self.document().file.clone(), self.document().line(path));
                self.plan.notices.push(Notice::StandIn { file, line, variable: name.to_owned(), value: text.clone() });
            }
        }
        Ok(Some(text))
    }

    /// Returns the mapping that `Fn::If` chooses, with what is in it not resolved; none if it is `AWS::NoValue`.
    fn chosen(&self, value: &Value, path: &str) -> Result<Option<Value>, Fault> {
        let mut value = value;
        while let Some(("Fn::If", Value::Array(branches))) = value.as_object().and_then(call) {
            let [Value::String(condition), yes, no] = branches.as_slice() else { break };
            value = if self.stack.resolver.condition(condition, path, 0)? { yes } else { no };
        }
        match value.as_object().and_then(call) {
            Some(_) => self.stack.resolver.resolve(value, path),
            None => Ok(Some(value.clone())),
        }
    }

    fn http_event(&mut self, function: &str, event: &Value, path: &str) -> Result<(), Fault> {
        let path = format!("{path}/Properties");
        let known = ["ApiId", "Method", "Path", "PayloadFormatVersion", "TimeoutInMillis"];
        let properties = self.known_properties(&event["Properties"], &path, &known)?;
        if properties.get("PayloadFormatVersion").is_some_and(|version| version != "2.0") {
            return Err(self.fault(&path, "PayloadFormatVersion: only 2.0 is made here"));
        }
        let timeout_ms = self.number_in(
            &properties,
            "TimeoutInMillis",
            &path,
            INTEGRATION_TIMEOUT_MS_MAX,
            50..=INTEGRATION_TIMEOUT_MS_MAX,
        )?;
        let text = |name: &str| properties.get(name).and_then(Value::as_str);
        let is_path = |route: &str| route.starts_with('/') || route == DEFAULT_ROUTE;
        let key = route_key(text("Method"), text("Path")).filter(|_| text("Path").is_none_or(is_path));
        let Some(key) = key else {
            return Err(self.fault(&path, "needs Method and a Path that starts with /, or neither"));
        };
        if let Some(other) = self.plan.routes.iter().find(|other| other.key == key) {
            return Err(self.fault(&path, format!("{key} goes to {} already", other.function)));
        }
        let timeout = Duration::from_millis(timeout_ms);
        self.plan.routes.push(Route { key, function: function.to_owned(), timeout });
        Ok(())
    }

    /// Returns a whole number within its limits; numbers may be written as strings.
    pub(super) fn number_in(
        &self,
        properties: &Map<String, Value>,
        name: &str,
        path: &str,
        default: u64,
        limits: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, Fault> {
        let Some(value) = properties.get(name) else { return Ok(default) };
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.filter(|number| limits.contains(number)).ok_or_else(|| {
            let reason = format!("must be a whole number from {} to {}", limits.start(), limits.end());
            self.fault(&format!("{path}/{name}"), reason)
        })
    }
}
