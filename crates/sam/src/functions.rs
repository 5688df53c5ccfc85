//! `AWS::Serverless::Function` and `AWS::Lambda::Function`.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::{EventKind, Fault, Notice, Props, Reader, Resource, Setting, Source, events};

/// <https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html>
pub const TIMEOUT_S_DEFAULT: u64 = 3;
/// Same page.
const TIMEOUT_S_MAX: u64 = 900;
/// Same page.
const MEMORY_MB_DEFAULT: u64 = 128;

/// The settings of a function. An absent setting has Lambda's default, if there is one.
#[derive(Debug, Clone)]
pub struct Function {
    /// The function's name.
    pub name: String,
    /// `Runtime`
    pub runtime: Setting<String>,
    /// The folder that SAM builds.
    pub code_uri: Setting<String>,
    /// How long one invocation may take.
    pub timeout_s: Setting<u64>,
    /// `MemorySize`
    pub memory_mb: Setting<u64>,
    /// `ReservedConcurrentExecutions`
    pub reserved: Setting<u64>,
    /// The variables of its environment.
    pub environment: Setting<BTreeMap<String, Setting<String>>>,
    /// `LoggingConfig: LogFormat`
    pub log_format: Setting<String>,
    /// `LoggingConfig: LogGroup`
    pub log_group: Setting<String>,
    /// `LoggingConfig: ApplicationLogLevel`
    pub application_log_level: Setting<String>,
    /// The property that names a destination for failed asynchronous invocations.
    pub async_failures: Option<&'static str>,
    /// CodeDeploy shifts traffic from version to version.
    pub shifts_traffic: bool,
    /// The alias of the newest version.
    pub alias: Setting<String>,
    /// `ProvisionedConcurrencyConfig` is written.
    pub provisioned: bool,
    /// SAM generates its role.
    pub role_is_made: bool,
    /// `VpcConfig` is written.
    pub in_network: Setting<bool>,
    /// `VpcConfig: SecurityGroupIds`
    pub security_groups: Vec<Setting<String>>,
    /// Its role's ARN; absent where SAM generates the role.
    pub role: Setting<String>,
}

impl Function {
    /// Reads the properties of the function with this name; `sam` is whether SAM generates its version, alias and role.
    #[must_use]
    pub fn read(name: &str, props: Props<'_>, sam: bool) -> Self {
        let dead_letters = if sam { "DeadLetterQueue" } else { "DeadLetterConfig" };
        let on_failure = props.object("EventInvokeConfig").object("DestinationConfig").get("OnFailure");
        let logging = props.object("LoggingConfig");
        let preference = props.object("DeploymentPreference");
        let shifts = preference.flag("Enabled").or(true) == Some(true) && preference.members().next().is_some();
        let variables = |variables: &Value| {
            variables.is_object().then(|| {
                let read = |(name, value): (&str, _)| (name.to_owned(), Setting::of(value).text());
                Props(variables).members().map(read).collect()
            })
        };
        Self {
            name: name.to_owned(),
            runtime: props.text("Runtime"),
            code_uri: props.text("CodeUri").or_default(".".to_owned()),
            timeout_s: props.number("Timeout").or_default(TIMEOUT_S_DEFAULT),
            memory_mb: props.number("MemorySize").or_default(MEMORY_MB_DEFAULT),
            reserved: props.number("ReservedConcurrentExecutions"),
            environment: props.object("Environment").get("Variables").and_then(variables),
            log_format: logging.text("LogFormat").or_default("Text".to_owned()),
            log_group: logging.text("LogGroup"),
            application_log_level: logging.text("ApplicationLogLevel"),
            async_failures: match () {
                () if props.get(dead_letters).is_written() => Some(dead_letters),
                () if on_failure.is_written() => Some("EventInvokeConfig"),
                () => None,
            },
            shifts_traffic: sam && shifts,
            alias: if sam { props.text("AutoPublishAlias") } else { Setting::Absent },
            provisioned: sam && props.get("ProvisionedConcurrencyConfig").is_written(),
            role_is_made: sam && props.get("Role").is_absent(),
            in_network: props.get("VpcConfig").and_then(|_| Some(true)).or_default(false),
            security_groups: props.object("VpcConfig").listed("SecurityGroupIds"),
            role: props.text("Role"),
        }
    }

    /// Returns the variables of its environment; none if the environment is unknown.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &Setting<String>)> {
        let known = self.environment.as_ref().known().into_iter().flatten();
        known.map(|(name, value)| (name.as_str(), value))
    }
}

/// A function to build and run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionPlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The function's name.
    pub name: String,
    /// The function's ARN.
    pub arn: String,
    /// The cargo binary: `Metadata: BuildProperties: Binary`. The default, as in SAM, is the only binary of the package
    /// in `code_uri`.
    pub binary: Option<String>,
    /// The folder to build in, relative to that of the outermost template.
    pub code_uri: String,
    /// The variables of the template, with the caller's overrides.
    pub environment: BTreeMap<String, String>,
    /// The memory size. It is not enforced; the function sees it in its environment.
    pub memory_mb: u32,
    /// How long one invocation may take.
    pub timeout: Duration,
    /// `ReservedConcurrentExecutions`; 0 throttles every invocation.
    pub reserved_concurrency: Option<usize>,
}

/// Properties that are read here, or do not change how a function runs, such as those of aliases and versions.
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
/// Known properties without a local counterpart: every action is allowed, every address can be reached, logs go to the
/// terminal as text, and traces are not collected.
const CLOUD_ONLY: [&str; 5] = ["LoggingConfig", "Policies", "Role", "Tracing", "VpcConfig"];

impl Reader<'_> {
    pub(super) fn function(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let (path, resolved) = (&*resource.properties_pointer(), self.resolved(resource));
        // A fault in its name is reported where it is resolved.
        if resolved.reference.is_empty() {
            return Ok(());
        }
        let properties = self.properties(&resource.properties(self.document()), path);
        let props = Props(&properties);
        let function = Function::read(&resolved.reference, props, true);
        self.notice_others(props, path, &KNOWN);
        self.notice_cloud_only(resource, props, &CLOUD_ONLY);
        let at = |property: &str| format!("{path}/{property}");
        let runtime = self.text(&function.runtime, &at("Runtime"))?.unwrap_or_default();
        if !runtime.starts_with("provided.") {
            let reason = format!("Runtime `{runtime}`: only provided.al2023 functions written in Rust are run");
            return Err(self.fault(path, reason));
        }
        // A parameter may choose the binary.
        let around = path.trim_end_matches("/Properties");
        let metadata = self.properties(&resource.body["Metadata"], &format!("{around}/Metadata"));
        let binary = Props(&metadata).object("BuildProperties").text("Binary");
        let binary = self.text(&binary, &format!("{around}/Metadata/BuildProperties/Binary"))?;
        if resource.body["Metadata"]["BuildMethod"] != "rust-cargolambda" {
            let reason = "needs Metadata: BuildMethod: rust-cargolambda, which builds a function written in Rust";
            return Err(self.fault(around, reason));
        }
        let timeout_s = self.number(&function.timeout_s, &at("Timeout"), 1..=TIMEOUT_S_MAX)?;
        let memory_mb = self.number(&function.memory_mb, &at("MemorySize"), 128..=32_768)?;
        let reserved = match &function.reserved {
            Setting::Absent => None,
            reserved => Some(self.number(reserved, &at("ReservedConcurrentExecutions"), 0..=1_000_000)?),
        };
        let code_uri = self.text(&function.code_uri, &at("CodeUri"))?.unwrap_or_default();
        let plan = FunctionPlan {
            logical_id: self.id(resource),
            name: resolved.reference.clone(),
            arn: resolved.arn(),
            binary,
            code_uri: self.stack.folder.join(code_uri).display().to_string(),
            environment: self.environment(&function, &at("Environment/Variables"))?,
            memory_mb: u32::try_from(memory_mb).unwrap_or(u32::MAX),
            timeout: Duration::from_secs(timeout_s),
            reserved_concurrency: reserved.and_then(|reserved| usize::try_from(reserved).ok()),
        };
        let mut unnamed = 0;
        for event in events(&plan.name, props) {
            let path = at(&format!("Events/{}", event.name));
            let properties = format!("{path}/Properties");
            let read = match &event.kind {
                EventKind::Route(route) => self.route(&plan.name, route, event.props, &properties),
                EventKind::Mapping(mapping) => {
                    let shares_name =
                        matches!(&mapping.source, Source::Mq { policy_named, .. } if !policy_named.is(&true));
                    unnamed += usize::from(shares_name);
                    self.mapping(&plan, mapping, event.props, &properties)
                }
                EventKind::Other(kind) => {
                    let kind = kind.clone().known().unwrap_or_else(|| "without a Type".to_owned());
                    self.notice(&path, &format!("an event {kind} is not run locally"));
                    Ok(())
                }
            };
            self.faults.extend(read.err());
        }
        // SAM adds a policy for each MQ event to the function's role. Without DynamicPolicyName all have the same name:
        // the second replaces the first, or the deployment fails.
        if function.role_is_made && unnamed > 1 {
            let reason = "more than one MQ event needs DynamicPolicyName: true on each, or a Role for the function";
            self.faults.push(self.fault(&at("Events"), reason));
        }
        self.plan.functions.push(plan);
        Ok(())
    }

    /// Returns the variables. A value in the caller's shell replaces the template's, which may then have a fault.
    fn environment(&mut self, function: &Function, path: &str) -> Result<BTreeMap<String, String>, Fault> {
        if let Setting::Unknown(reason) = &function.environment {
            self.stand_in(reason, path, "must be a mapping")?;
        }
        let mut environment = BTreeMap::new();
        for (name, value) in function.variables() {
            let value = match self.settings.environment.get(name) {
                Some(theirs) => Some(theirs.clone()),
                None => self.variable(name, value, &format!("{path}/{name}"))?,
            };
            environment.extend(value.map(|value| (name.to_owned(), value)));
        }
        Ok(environment)
    }

    /// Returns a variable's value. If only AWS knows it, returns a stand-in and adds a notice.
    fn variable(&mut self, name: &str, value: &Setting<String>, path: &str) -> Result<Option<String>, Fault> {
        let text = self.remote_text(value, path)?;
        if let (Some(text), true) = (&text, value.is_unknown()) {
            // Several functions may have the same variable, for example from the globals.
            let is_known = |notice: &Notice| matches!(notice, Notice::StandIn { variable, value, .. } if variable == name && value == text);
            if !self.plan.notices.iter().any(is_known) {
                let (file, line) = self.place(path);
                self.plan.notices.push(Notice::StandIn { file, line, variable: name.to_owned(), value: text.clone() });
            }
        }
        Ok(text)
    }
}
