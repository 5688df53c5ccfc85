//! The SAM template, read once for the local stack, doctor and sync.
//!
//! [`Document`] is the template as it is written: a tree with lines, bytes and pointers, and the same as JSON.
//! [`Document::resources`] walks its resources and a [`Resolver`] resolves intrinsic functions. [`Plan`] is what the
//! local stack runs: functions, routes, queues, mappings and secrets.
//!
//! A plan is strict: every property it acts on is checked, and all faults are reported with file, line, pointer and
//! reason. Everything else in the template is named in a [`Notice`], never skipped in silence.
//!
//! An environment variable that a function declares takes its value from the caller's shell if it is set there
//! (`FORWARD_URL=http://… cargo local`), as in `sam local`. Otherwise a value that only the cloud knows (`!Ref Table`)
//! gets a stand-in, named in a [`Notice`]. A parameter needs a value only if the plan refers to it.
//!
//! ```
//! use sluicegate_sam::{Plan, Settings};
//!
//! let template = "
//! Resources:
//!   Orders: { Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: 60 } }
//! ";
//! let plan = Plan::read("template.yaml", template, &Settings::default())?;
//! assert_eq!((plan.queues[0].name.as_str(), plan.queues[0].visibility_s()), ("Orders", 60));
//! # Ok::<(), sluicegate_sam::Faults>(())
//! ```

mod document;
mod functions;
mod mq;
mod notice;
mod queues;
mod resolve;
mod resource;
mod route;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use serde_json::Value;

pub use document::Document;
pub use functions::{FunctionPlan, MappingPlan, Route};
pub use mq::MqMappingPlan;
pub use notice::Notice;
pub use queues::{QueuePlan, VISIBILITY_S_DEFAULT};
pub use resolve::{ResolvedResource, Resolver, call, pseudo_parameters};
pub use resource::Resource;
pub use route::{DEFAULT_ROUTE, route_key};
pub use sluicegate_yaml::{Fault, Faults, Member, Node, pointer};

/// Region and account of the local stack: what LocalStack, awslocal and most examples use.
pub const REGION: &str = "us-east-1";
/// See [`REGION`].
pub const ACCOUNT: &str = "000000000000";
/// The stack's name in `AWS::StackName`.
pub const STACK_NAME: &str = "sluicegate";

/// Resources that SAM makes of events without an API, and that templates refer to.
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-generated-resources.html>
const SAM_MADE: [&str; 2] = ["ServerlessHttpApi", "ServerlessRestApi"];

/// The inputs that are not in the template.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values for the template's parameters, instead of their defaults.
    pub parameters: BTreeMap<String, String>,
    /// The caller's shell environment; overrides variables the functions declare.
    pub environment: BTreeMap<String, String>,
    /// Queue URLs start with this: `http://127.0.0.1:4566`.
    pub queue_url_base: String,
    /// The real names of queues and secrets that another endpoint created, by logical id.
    pub physical: BTreeMap<String, ResolvedResource>,
}

/// A secret of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlan {
    /// The resource's name in the template.
    pub logical_id: String,
    /// The secret's name.
    pub name: String,
    /// What `Ref` gives.
    pub arn: String,
}

/// What the local stack runs.
#[derive(Debug, Default)]
pub struct Plan {
    /// The functions.
    pub functions: Vec<FunctionPlan>,
    /// The HTTP API's routes.
    pub routes: Vec<Route>,
    /// The queues, dead-letter queues included.
    pub queues: Vec<QueuePlan>,
    /// The event source mappings from SQS.
    pub mappings: Vec<MappingPlan>,
    /// The event source mappings from RabbitMQ.
    pub mq_mappings: Vec<MqMappingPlan>,
    /// The secrets.
    pub secrets: Vec<SecretPlan>,
    /// What the template contains and the local stack does not run.
    pub notices: Vec<Notice>,
}

impl Plan {
    /// Reads the template's text; `file` is how faults call it.
    ///
    /// # Errors
    /// Every fault found.
    pub fn read(file: &str, text: &str, settings: &Settings) -> Result<Self, Faults> {
        let document = Document::parse(file, text)?;
        let mut reader = Reader::new(&document, settings);
        reader.read();
        let mut faults = reader.faults;
        // Several values may need the same parameter.
        faults.dedup();
        if faults.is_empty() { Ok(reader.plan) } else { Err(faults.into()) }
    }
}

/// Returns what `Ref` gives for a parameter that was given `value`: text, or a list of texts.
pub fn parameter_value(parameter: &Value, value: &Value) -> Value {
    match parameter["Type"].as_str() {
        Some(list) if list == "CommaDelimitedList" || list.starts_with("List<") => {
            written(value).split(',').map(|item| Value::from(item.trim())).collect()
        }
        _ => Value::from(written(value)),
    }
}

fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The walk through the template: collects the plan and the faults.
struct Reader<'a> {
    resolver: Resolver<'a>,
    document: &'a Document,
    settings: &'a Settings,
    plan: Plan,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn new(document: &'a Document, settings: &'a Settings) -> Self {
        let stack_id = format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK_NAME}/local");
        let pseudo = pseudo_parameters("aws", REGION, ACCOUNT, STACK_NAME, &stack_id);
        let (parameters, physical) = (BTreeMap::new(), BTreeMap::new());
        let remote = BTreeSet::from(SAM_MADE.map(str::to_owned));
        let met_unknown = Cell::new(false);
        let resolver = Resolver { document, parameters, pseudo, physical, remote, met_unknown };
        Self { resolver, document, settings, plan: Plan::default(), faults: Vec::new() }
    }

    fn read(&mut self) {
        for fault in &self.document.duplicates {
            self.notice(&fault.pointer, &format!("{}: the last value counts", fault.reason));
        }
        self.sections();
        self.parameters();
        let resources = self.resources();
        for resource in &resources {
            if let Err(fault) = self.place(resource) {
                self.faults.push(fault);
            }
        }
        for resource in &resources {
            let read = match resource.kind {
                "AWS::SQS::Queue" => self.queue(resource),
                "AWS::SecretsManager::Secret" => self.secret(resource),
                "AWS::Serverless::HttpApi" => self.http_api(resource),
                "AWS::Serverless::Function" => Ok(()),
                _ => {
                    let kind = resource.kind.to_owned();
                    self.plan.notices.push(Notice::not_run(self.document, resource, kind));
                    Ok(())
                }
            };
            self.faults.extend(read.err());
        }
        // Functions last: their mappings look queues up.
        for resource in resources.iter().filter(|resource| resource.kind == "AWS::Serverless::Function") {
            if let Err(fault) = self.function(resource) {
                self.faults.push(fault);
            }
        }
        self.check_visibility();
    }

    fn sections(&mut self) {
        const READ: [&str; 9] = [
            "AWSTemplateFormatVersion",
            "Transform",
            "Description",
            "Metadata",
            "Parameters",
            "Mappings",
            "Conditions",
            "Globals",
            "Resources",
        ];
        let Some(sections) = self.document.value.as_object() else {
            self.faults.push(self.resolver.fault("", "a template is a mapping"));
            return;
        };
        if !sections.get("Resources").is_some_and(Value::is_object) {
            self.faults.push(self.resolver.fault("", "has no Resources"));
        }
        for name in sections.keys().filter(|name| !READ.contains(&name.as_str()) && *name != "Outputs") {
            self.notice(&format!("/{name}"), "this section is not read locally");
        }
        let globals = self.document.value["Globals"].as_object().into_iter().flatten();
        for (name, _) in globals.filter(|(name, _)| *name != "Function") {
            self.notice(&format!("/Globals/{name}"), "only the globals of Function are read locally");
        }
    }

    fn parameters(&mut self) {
        let declared = self.document.value["Parameters"].as_object();
        for name in self.settings.parameters.keys() {
            if !declared.is_some_and(|declared| declared.contains_key(name)) {
                let reason = format!("the template has no parameter `{name}`");
                self.faults.push(self.resolver.fault("/Parameters", reason));
            }
        }
        for (name, parameter) in declared.into_iter().flatten() {
            let path = format!("/Parameters/{name}");
            let given = self.settings.parameters.get(name).map(|text| Value::from(text.as_str()));
            // Its default is the name of a parameter of Systems Manager, not the value.
            if given.is_none() && parameter["Type"].as_str().is_some_and(|kind| kind.starts_with("AWS::SSM::")) {
                self.resolver.remote.insert(name.clone());
                continue;
            }
            // The resolver says so where one without a value is needed.
            let Some(value) = given.or_else(|| parameter.get("Default").cloned()) else { continue };
            let allowed = parameter["AllowedValues"].as_array();
            if allowed.is_some_and(|allowed| !allowed.iter().any(|one| written(one) == written(&value))) {
                self.faults.push(self.resolver.fault(&path, format!("{value} is none of AllowedValues")));
            }
            self.resolver.parameters.insert(name.clone(), parameter_value(parameter, &value));
        }
    }

    /// Returns the resources whose condition holds.
    fn resources(&mut self) -> Vec<Resource<'a>> {
        let mut found = Vec::new();
        for resource in self.document.resources() {
            let path = resource.node.pointer();
            if resource.kind.is_empty() {
                self.faults.push(self.resolver.fault(path, "has no Type"));
                continue;
            }
            match resource.condition().map(|name| self.resolver.condition(name, path, 0)) {
                Some(Err(fault)) => self.faults.push(fault),
                Some(Ok(false)) => {}
                Some(Ok(true)) | None => found.push(resource),
            }
        }
        found
    }

    /// Registers what `Ref` and `GetAtt` of a resource return.
    fn place(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let name = |property: &str| self.optional_text(resource, property);
        let id = resource.logical_id;
        let physical = match resource.kind {
            "AWS::SQS::Queue" => {
                let fifo = self.optional_text(resource, "FifoQueue")?.as_deref() == Some("true");
                let name = name("QueueName")?.unwrap_or_else(|| format!("{id}{}", if fifo { ".fifo" } else { "" }));
                let url = format!("{}/{ACCOUNT}/{name}", self.settings.queue_url_base);
                let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
                let attributes = [("Arn", arn), ("QueueName", name), ("QueueUrl", url.clone())];
                ResolvedResource::new(url, attributes)
            }
            "AWS::SecretsManager::Secret" => {
                let name = name("Name")?.unwrap_or_else(|| format!("{STACK_NAME}/{id}"));
                let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-local1");
                ResolvedResource::new(arn.clone(), [("Id", arn)])
            }
            "AWS::Serverless::Function" => {
                let name = name("FunctionName")?.unwrap_or_else(|| id.to_owned());
                let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}");
                // What SAM makes of a function besides.
                self.resolver.remote.extend(["Role", "Url", "Version"].map(|made| format!("{id}{made}")));
                ResolvedResource::new(name, [("Arn", arn)])
            }
            "AWS::Serverless::HttpApi" => ResolvedResource::new("local".to_owned(), []),
            _ => {
                self.resolver.remote.insert(id.to_owned());
                return Ok(());
            }
        };
        let physical = self.settings.physical.get(id).cloned().unwrap_or(physical);
        self.resolver.physical.insert(id.to_owned(), physical);
        Ok(())
    }

    fn secret(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let name = self.optional_text(resource, "Name")?;
        let arn = self.resolver.physical.get(resource.logical_id).map(|physical| physical.reference.clone());
        self.plan.secrets.push(SecretPlan {
            logical_id: resource.logical_id.to_owned(),
            name: name.unwrap_or_else(|| format!("{STACK_NAME}/{}", resource.logical_id)),
            arn: arn.unwrap_or_default(),
        });
        Ok(())
    }

    fn http_api(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        /// Without effect locally: every request is admitted, none is throttled, and requests are logged on the
        /// terminal.
        const CLOUD_ONLY: [&str; 4] = ["AccessLogSettings", "Auth", "DefaultRouteSettings", "RouteSettings"];
        let known = ["Name", "Description", "Tags", "PropagateTags", "FailOnWarnings"];
        self.notice_others(resource, &[&known[..], &CLOUD_ONLY].concat());
        let properties = resource.body["Properties"].as_object().into_iter().flat_map(serde_json::Map::keys);
        self.notice_cloud_only(resource, properties.filter(|name| CLOUD_ONLY.contains(&name.as_str())));
        Ok(())
    }

    /// Returns a property as text, if it is there and is not `AWS::NoValue`.
    fn optional_text(&self, resource: &Resource<'_>, property: &str) -> Result<Option<String>, Fault> {
        let path = format!("{}/{property}", resource.properties_pointer());
        let Some(value) = resource.body["Properties"].get(property) else { return Ok(None) };
        match self.resolver.resolve(value, &path)? {
            Some(value) => self.resolver.text(&value, &path).map(Some),
            None => Ok(None),
        }
    }

    fn notice(&mut self, path: &str, text: &str) {
        let (file, line) = (self.document.file.clone(), self.document.line(path));
        self.plan.notices.push(Notice::Ignored { file, line, path: path.to_owned(), text: text.to_owned() });
    }

    /// Notes the properties of a resource without a local counterpart, in one notice.
    fn notice_cloud_only<'n>(&mut self, resource: &Resource<'_>, names: impl Iterator<Item = &'n String>) {
        let names: Vec<&str> = names.map(String::as_str).collect();
        if !names.is_empty() {
            let kind = format!("{} {}", resource.kind, names.join(", "));
            self.plan.notices.push(Notice::not_run(self.document, resource, kind));
        }
    }

    /// Notes the properties of a resource that are not in `known`.
    fn notice_others(&mut self, resource: &Resource<'_>, known: &[&str]) {
        for property in resource.body["Properties"].as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !known.contains(&property.as_str()) {
                self.notice(&format!("{}/{property}", resource.properties_pointer()), "has no effect locally");
            }
        }
    }
}
