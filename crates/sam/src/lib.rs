//! The SAM template, read once for the local stack, doctor and sync.
//!
//! [`TemplateDocument`] is the text as a tree with lines, bytes and pointers, and as JSON.
//! [`TemplateDocument::resources`] returns its resources, and a [`Resolver`] resolves intrinsic functions.
//!
//! [`Queue`], [`Function`], [`Mapping`] and [`Route`] are the settings of one resource or event. Each property is read
//! in one place, with the service's default, and is a [`Setting`]: absent, known, or unknown for a reason. Doctor skips
//! unknown settings, and reads deployed resources in the same way.
//!
//! [`StackPlan`] has what the local stack runs: functions, routes, queues, mappings, secrets, tables and buckets. Those
//! of nested templates, which are files in the template's folder, are included; their ids begin with that of the nested
//! stack (`OrdersQueue/Queue`).
//!
//! A plan is strict: the settings it uses must be known and valid, and all faults are reported with file, line, pointer
//! and reason. Everything else in the template is named in a [`Notice`].
//!
//! An environment variable that a function declares takes its value from the caller's shell if it is set there
//! (`FORWARD_URL=http://… cargo local`), as in `sam local`. Otherwise a value that exists only in AWS (`!Ref Table`) is
//! replaced by a stand-in, named in a [`Notice`]. A parameter needs a value only if the plan refers to it.
//!
//! ```
//! use sluicegate_sam::{Settings, StackPlan};
//!
//! let template = "
//! Resources:
//!   Orders: { Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: 60 } }
//! ";
//! let plan = StackPlan::read("template.yaml", template, &Settings::default())?;
//! assert_eq!((plan.queues[0].name.as_str(), plan.queues[0].visibility_s), ("Orders", 60));
//! # Ok::<(), sluicegate_sam::Faults>(())
//! ```

mod authorizer;
mod document;
mod events;
mod functions;
mod kafka;
mod mapping;
mod mq;
mod notice;
mod parameters;
mod queues;
mod require;
mod resolve;
mod resource;
mod route;
mod seed;
mod setting;
mod sqs;
mod stack;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

pub use authorizer::JwtAuthorizer;
pub use document::TemplateDocument;
pub use events::{Event, EventKind, events};
pub use functions::{Function, FunctionPlan, TIMEOUT_S_DEFAULT};
pub use kafka::{KAFKA_BATCH_SIZE_DEFAULT, KafkaMappingPlan, KafkaSource, OnFailure, StartingPosition};
pub use mapping::{BATCH_SIZE_DEFAULT, MQ_BATCH_SIZE_DEFAULT, Mapping, Source, SourceAccess, function_of};
pub use mq::MqMappingPlan;
pub use notice::Notice;
pub use parameters::{is_stored, parameter_value, refusal};
pub use queues::{Queue, QueuePlan, RETENTION_S_DEFAULT, Redrive, RedriveAllow, VISIBILITY_S_DEFAULT};
pub use resolve::{ResolvedResource, Resolver, call, pseudo_parameters};
pub use resource::{QUEUE_TEMPLATE, Resource};
pub use route::{DEFAULT_ROUTE, Route, RoutePlan, route_key};
pub use setting::{Props, Reason, Setting, is_known, text, unknown};
pub use sluicegate_yaml::{Fault, Faults, Member, Node, pointer};
pub use sqs::MappingPlan;
use stack::{Loader, Stack};
pub use stack::{NESTED_DEPTH_MAX, is_nested};

/// The region of the local stack. LocalStack, awslocal and most examples use this region and account.
pub const REGION: &str = "us-east-1";
/// The account of the local stack.
pub const ACCOUNT: &str = "000000000000";
/// The value of `AWS::StackName` in the local stack.
pub const STACK_NAME: &str = "sluicegate";

/// The inputs that are not in the template.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Values for the template's parameters, instead of their defaults.
    pub parameters: BTreeMap<String, String>,
    /// The caller's shell environment; overrides variables the functions declare.
    pub environment: BTreeMap<String, String>,
    /// The start of queue URLs, such as `http://127.0.0.1:4566`.
    pub queue_url_base: String,
    /// The real names of queues and secrets that another endpoint created, by logical id, such as
    /// `OrdersQueue/Queue`.
    pub physical: BTreeMap<String, ResolvedResource>,
}

/// A secret of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretPlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The secret's name.
    pub name: String,
    /// The value of `Ref`.
    pub arn: String,
}

/// A DynamoDB table of the template.
#[derive(Debug, Clone, PartialEq)]
pub struct TablePlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The table's name.
    pub name: String,
    /// The input of CreateTable without the name: keys and indexes.
    pub keys: Value,
    /// The attribute with the time at which an item expires, if TTL is enabled.
    pub ttl_attribute: Option<String>,
    /// The items that a new table gets, as the input of PutItem has them.
    pub seed: Vec<Value>,
}

/// An S3 bucket of the template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The bucket's name.
    pub name: String,
}

/// What the local stack runs.
#[derive(Debug, Default)]
pub struct StackPlan {
    /// The functions.
    pub functions: Vec<FunctionPlan>,
    /// The HTTP API's routes.
    pub routes: Vec<RoutePlan>,
    /// The JWT authorizers of the HTTP APIs.
    pub authorizers: Vec<JwtAuthorizer>,
    /// The queues, dead-letter queues included.
    pub queues: Vec<QueuePlan>,
    /// The event source mappings from SQS.
    pub mappings: Vec<MappingPlan>,
    /// The event source mappings from RabbitMQ.
    pub mq_mappings: Vec<MqMappingPlan>,
    /// The event source mappings from Kafka.
    pub kafka_mappings: Vec<KafkaMappingPlan>,
    /// The secrets.
    pub secrets: Vec<SecretPlan>,
    /// The DynamoDB tables.
    pub tables: Vec<TablePlan>,
    /// The S3 buckets.
    pub buckets: Vec<BucketPlan>,
    /// What the template contains and the local stack does not run.
    pub notices: Vec<Notice>,
}

impl StackPlan {
    /// Reads the template's text; `file` is its name in faults. Nested templates are read from files relative to it.
    ///
    /// # Errors
    /// Every fault found.
    pub fn read(file: &str, text: &str, settings: &Settings) -> Result<Self, Faults> {
        let document = Arc::new(TemplateDocument::parse(file, text)?);
        let Loader { stacks, mut faults, .. } = Loader::load(document, settings);
        let mut plan = Self::default();
        // A mapping refers to queues and functions, which may be in any of the stacks.
        let phases: [fn(&mut Reader<'_>); 3] = [
            |reader| reader.places(),
            |reader| reader.each("AWS::Serverless::Function", Reader::function),
            |reader| reader.each("AWS::Lambda::EventSourceMapping", Reader::mapping_resource),
        ];
        for read in phases {
            for stack in &stacks {
                read(&mut Reader { stack, stacks: &stacks, settings, plan: &mut plan, faults: &mut faults });
            }
        }
        plan.check_visibility(&stacks, &mut faults);
        // Values may need the same parameter, and stacks may have the same template: each fault is reported once.
        let mut distinct: Vec<Fault> = Vec::new();
        for fault in faults {
            if !distinct.contains(&fault) {
                distinct.push(fault);
            }
        }
        if distinct.is_empty() { Ok(plan) } else { Err(distinct.into()) }
    }
}

/// Reads one stack into the plan and the faults.
struct Reader<'a> {
    stack: &'a Stack,
    /// Every stack of the tree.
    stacks: &'a [Stack],
    settings: &'a Settings,
    plan: &'a mut StackPlan,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn document(&self) -> &'a TemplateDocument {
        &self.stack.resolver.document
    }

    /// Returns the resource's name after those of the stacks around it.
    fn id(&self, resource: &Resource<'_>) -> String {
        format!("{}{}", self.stack.prefix, resource.logical_id)
    }

    /// Reads queues, secrets and APIs, and names what is not run.
    fn places(&mut self) {
        if !self.stack.runs {
            return;
        }
        for fault in &self.document().duplicates {
            self.notice(&fault.pointer, &format!("{}: the last value counts", fault.reason));
        }
        self.sections();
        for resource in self.stack.resources() {
            let read = match resource.kind {
                "AWS::SQS::Queue" => self.queue(&resource),
                "AWS::SecretsManager::Secret" => self.secret(&resource),
                "AWS::DynamoDB::Table" => self.table(&resource),
                "AWS::S3::Bucket" => self.bucket(&resource),
                "AWS::Serverless::HttpApi" => self.http_api(&resource),
                "AWS::Serverless::Function" | "AWS::Lambda::EventSourceMapping" => Ok(()),
                _ if is_nested(&resource) && self.runs_nested(&resource) => Ok(()),
                kind => {
                    self.not_run(&resource, kind.to_owned());
                    Ok(())
                }
            };
            self.faults.extend(read.err());
        }
    }

    /// Reads each resource of this type.
    fn each(&mut self, kind: &str, read: fn(&mut Self, &Resource<'_>) -> Result<(), Fault>) {
        for resource in self.stack.resources().filter(|resource| resource.kind == kind) {
            let read = read(self, &resource);
            self.faults.extend(read.err());
        }
    }

    /// Returns whether something in the nested stack is run.
    fn runs_nested(&self, resource: &Resource<'_>) -> bool {
        let prefix = format!("{}/", self.id(resource));
        self.stacks.iter().any(|stack| stack.prefix == prefix && stack.runs)
    }

    fn sections(&mut self) {
        const READ: [&str; 10] = [
            "AWSTemplateFormatVersion",
            "Transform",
            "Description",
            "Metadata",
            "Parameters",
            "Mappings",
            "Conditions",
            "Globals",
            "Resources",
            "Outputs",
        ];
        let sections = self.document().value.as_object().into_iter().flatten();
        for (name, _) in sections.filter(|(name, _)| !READ.contains(&name.as_str())) {
            self.notice(&format!("/{name}"), "this section is not read locally");
        }
        let globals = self.document().value["Globals"].as_object().into_iter().flatten();
        for (name, _) in globals.filter(|(name, _)| *name != "Function") {
            self.notice(&format!("/Globals/{name}"), "only the globals of Function are read locally");
        }
    }

    fn secret(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let path = resource.properties_pointer();
        let properties = self.properties(&resource.body["Properties"], &path);
        let name = self.text(&Props(&properties).text("Name"), &format!("{path}/Name"))?;
        let default = || format!("{}/{}", Stack::name(&self.stack.prefix), resource.logical_id);
        self.plan.secrets.push(SecretPlan {
            logical_id: self.id(resource),
            name: name.unwrap_or_else(default),
            arn: self.resolved(resource).reference,
        });
        Ok(())
    }

    fn table(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        /// Properties without effect locally: nothing is billed, encrypted, backed up or replicated.
        const CLOUD_ONLY: [&str; 9] = [
            "BillingMode",
            "ContributorInsightsSpecification",
            "DeletionProtectionEnabled",
            "OnDemandThroughput",
            "PointInTimeRecoverySpecification",
            "ProvisionedThroughput",
            "SSESpecification",
            "TableClass",
            "Tags",
        ];
        const KEYS: [&str; 4] =
            ["AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "LocalSecondaryIndexes"];
        let path = resource.properties_pointer();
        let properties = self.properties(&resource.body["Properties"], &path);
        let props = Props(&properties);
        let known = ["TableName", "TimeToLiveSpecification"];
        self.notice_others(props, &path, &[&known[..], &KEYS, &CLOUD_ONLY].concat());
        let mut keys = Map::new();
        for (name, value) in KEYS.into_iter().filter_map(|name| Some((name, properties.get(name)?))) {
            keys.insert(name.to_owned(), self.required(value, &format!("{path}/{name}"))?);
        }
        // An index has a throughput only where the table is not billed by the request, as every table is locally.
        for index in keys.get_mut("GlobalSecondaryIndexes").and_then(Value::as_array_mut).into_iter().flatten() {
            index.as_object_mut().into_iter().for_each(|index| drop(index.remove("ProvisionedThroughput")));
        }
        let ttl_path = format!("{path}/TimeToLiveSpecification");
        let ttl = self.required(&properties["TimeToLiveSpecification"], &ttl_path)?;
        let keys = Value::Object(keys);
        let is_enabled = [Value::from(true), Value::from("true")].contains(&ttl["Enabled"]);
        self.plan.tables.push(TablePlan {
            logical_id: self.id(resource),
            name: self.resolved(resource).reference,
            seed: self.seed(resource, &keys)?,
            keys,
            ttl_attribute: ttl["AttributeName"].as_str().filter(|_| is_enabled).map(str::to_owned),
        });
        Ok(())
    }

    fn bucket(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        /// Properties without effect locally: nothing is encrypted, expires or is public.
        const CLOUD_ONLY: [&str; 6] = [
            "BucketEncryption",
            "LifecycleConfiguration",
            "OwnershipControls",
            "PublicAccessBlockConfiguration",
            "Tags",
            "VersioningConfiguration",
        ];
        let props = Props(&resource.body["Properties"]);
        self.notice_others(props, &resource.properties_pointer(), &[&["BucketName"][..], &CLOUD_ONLY].concat());
        let name = self.resolved(resource).reference;
        self.plan.buckets.push(BucketPlan { logical_id: self.id(resource), name });
        Ok(())
    }

    fn http_api(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        /// Properties without effect locally: nothing is throttled, JWT authorizers are the only ones, and requests are
        /// logged on the terminal.
        const CLOUD_ONLY: [&str; 4] = ["AccessLogSettings", "Auth", "DefaultRouteSettings", "RouteSettings"];
        let known = ["Name", "Description", "Tags", "PropagateTags", "FailOnWarnings"];
        let props = Props(&resource.body["Properties"]);
        self.notice_others(props, &resource.properties_pointer(), &[&known[..], &CLOUD_ONLY].concat());
        let auth = format!("{}/Auth", resource.properties_pointer());
        let auth = self.properties(&resource.body["Properties"]["Auth"], &auth);
        let runs_auth = self.authorizers(Props(&auth));
        let not_run: Vec<_> = CLOUD_ONLY.into_iter().filter(|name| *name != "Auth" || !runs_auth).collect();
        self.notice_cloud_only(resource, props, &not_run);
        Ok(())
    }

    fn fault(&self, path: &str, reason: impl Into<String>) -> Fault {
        self.stack.resolver.fault(path, reason)
    }

    /// Returns the file and the line of a value.
    fn place(&self, path: &str) -> (String, usize) {
        (self.document().file.clone(), self.document().line(path))
    }

    fn notice(&mut self, path: &str, text: &str) {
        let (file, line) = self.place(path);
        let notice = Notice::Ignored { file, line, path: path.to_owned(), text: text.to_owned() };
        // Several stacks may have the same template.
        if !self.plan.notices.contains(&notice) {
            self.plan.notices.push(notice);
        }
    }

    fn not_run(&mut self, resource: &Resource<'_>, kind: String) {
        let (file, line) = self.place(resource.node.pointer());
        self.plan.notices.push(Notice::NotRun { kind, logical_id: self.id(resource), file, line });
    }

    /// Notes the properties of a resource without a local counterpart, in one notice.
    fn notice_cloud_only(&mut self, resource: &Resource<'_>, props: Props<'_>, cloud_only: &[&str]) {
        let names: Vec<&str> = props.members().map(|(name, _)| name).filter(|name| cloud_only.contains(name)).collect();
        if !names.is_empty() {
            self.not_run(resource, format!("{} {}", resource.kind, names.join(", ")));
        }
    }

    /// Notes the properties that are not in `known`.
    fn notice_others(&mut self, props: Props<'_>, path: &str, known: &[&str]) {
        for (property, _) in props.members().filter(|(name, _)| !known.contains(name)) {
            self.notice(&format!("{path}/{property}"), "has no effect locally");
        }
    }
}
