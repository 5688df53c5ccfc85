//! The tree of stacks: a template and its nested templates, with the values of `Ref` and `GetAtt` in each.
//!
//! The values of a resource are registered after those that its name or, for a nested stack, its parameters refer to. A
//! nested stack is loaded when it is registered, so its outputs are known before a reference to them is resolved. A
//! circle is a fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read as _,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use serde_json::{Map, Value};
use sluicegate_yaml::{Fault, pointer};

use super::{
    ACCOUNT, REGION, ResolvedResource, Resolver, Resource, STACK_NAME, Settings, TemplateDocument,
    parameters::{is_stored, parameter_value, refusal, written},
    pseudo_parameters,
    resolve::{is_stand_in, references, stand_in},
};

/// The APIs that SAM generates for events without one. Templates may refer to them.
/// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-specification-generated-resources.html>
const SAM_MADE: [&str; 2] = ["ServerlessHttpApi", "ServerlessRestApi"];
/// The types that the local stack runs. A nested stack without any of these is not run, but its outputs are resolved as
/// far as possible.
const RUN: [&str; 8] = [
    "AWS::CloudFormation::Stack",
    "AWS::DynamoDB::Table",
    "AWS::Lambda::EventSourceMapping",
    "AWS::S3::Bucket",
    "AWS::SQS::Queue",
    "AWS::Serverless::Application",
    "AWS::Serverless::Function",
    "AWS::Serverless::HttpApi",
];
/// Templates nested deeper than this are not read, because a file may nest itself. CloudFormation has no such limit.
pub const NESTED_DEPTH_MAX: usize = 8;
/// The most stacks of a tree: CloudFormation's limit of resources in one template.
const STACKS_MAX: usize = 500;
/// The longest chain of resources whose names refer to one another.
const CHAIN_MAX: usize = 100;

/// Returns whether the resource is a nested stack.
#[must_use]
pub fn is_nested(resource: &Resource<'_>) -> bool {
    matches!(resource.kind, "AWS::CloudFormation::Stack" | "AWS::Serverless::Application")
}

/// One template of the tree.
#[derive(Debug)]
pub(super) struct Stack {
    /// The prefix of its resources' ids: empty, or `OrdersQueue/`.
    pub prefix: String,
    /// The template's folder, relative to that of the outermost template.
    pub folder: PathBuf,
    pub resolver: Resolver,
    /// The resources whose condition holds.
    pub existing: BTreeSet<String>,
    /// The local stack runs something in it.
    pub runs: bool,
}

impl Stack {
    /// Returns the value of `AWS::StackName`.
    pub(super) fn name(prefix: &str) -> String {
        format!("{STACK_NAME}-{}", prefix.replace('/', "-")).trim_end_matches('-').to_owned()
    }

    /// Returns the resources that exist.
    pub(super) fn resources(&self) -> impl Iterator<Item = Resource<'_>> {
        self.resolver.document.resources().filter(|resource| self.existing.contains(resource.logical_id))
    }

    fn fault(&self, pointer: &str, reason: impl Into<String>) -> Fault {
        self.resolver.fault(pointer, reason)
    }
}

/// Reads the tree and collects its faults.
pub(super) struct Loader<'s> {
    settings: &'s Settings,
    /// The folder of the outermost template.
    root: PathBuf,
    /// The nested templates, by their paths relative to it.
    documents: BTreeMap<PathBuf, Arc<TemplateDocument>>,
    pub stacks: Vec<Stack>,
    pub faults: Vec<Fault>,
}

impl<'s> Loader<'s> {
    /// Reads the tree under a template.
    pub(super) fn load(document: Arc<TemplateDocument>, settings: &'s Settings) -> Self {
        let root = Path::new(&document.file).parent().unwrap_or(Path::new("")).to_owned();
        let mut loader = Self { settings, root, documents: BTreeMap::new(), stacks: Vec::new(), faults: Vec::new() };
        for name in settings.parameters.keys() {
            if document.value["Parameters"].get(name).is_none() {
                let reason = format!("the template has no parameter `{name}`");
                loader.faults.push(document.fault("/Parameters", reason));
            }
        }
        let mut resolver = resolver(document, "");
        for (name, parameter) in Arc::clone(&resolver.document).value["Parameters"].as_object().into_iter().flatten() {
            let given = settings.parameters.get(name).map(|text| Value::from(text.as_str()));
            // The default is the name of the value in Systems Manager.
            if given.is_none() && is_stored(parameter) {
                resolver.remote.insert(name.clone());
                continue;
            }
            // The resolver reports a parameter without a value where it is needed.
            let Some(value) = given.or_else(|| parameter.get("Default").cloned()) else { continue };
            if let Some(reason) = refusal(parameter, &value) {
                loader.faults.push(resolver.fault(&format!("/Parameters/{name}"), reason));
            }
            resolver.parameters.insert(name.clone(), parameter_value(parameter, &value));
        }
        loader.stack(resolver, String::new(), PathBuf::new());
        // Nested stacks are complete before their parent; the plan lists the parent first.
        loader.stacks.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        loader
    }

    /// Registers every resource of a stack; returns its outputs.
    fn stack(&mut self, resolver: Resolver, prefix: String, folder: PathBuf) -> BTreeMap<String, String> {
        let document = Arc::clone(&resolver.document);
        if !document.value.is_object() {
            self.faults.push(resolver.fault("", "a template is a mapping"));
        } else if !document.value["Resources"].is_object() {
            self.faults.push(resolver.fault("", "has no Resources"));
        }
        let mut stack = Stack { prefix, folder, resolver, existing: BTreeSet::new(), runs: false };
        for resource in document.resources() {
            let pointer = resource.node.pointer();
            match resource.condition().map(|name| stack.resolver.condition(name, pointer, 0)) {
                _ if resource.kind.is_empty() => self.faults.push(stack.fault(pointer, "has no Type")),
                Some(Err(fault)) => self.faults.push(fault),
                Some(Ok(false)) => {}
                Some(Ok(true)) | None => drop(stack.existing.insert(resource.logical_id.to_owned())),
            }
        }
        stack.runs = stack.prefix.is_empty() || stack.resources().any(|resource| RUN.contains(&resource.kind));
        if !stack.runs {
            stack.resolver.remote.extend(stack.existing.iter().cloned());
        }
        for id in stack.existing.clone() {
            self.place(&mut stack, &document, &id, &mut Vec::new());
        }
        let outputs = self.outputs(&stack);
        self.stacks.push(stack);
        outputs
    }

    fn outputs(&mut self, stack: &Stack) -> BTreeMap<String, String> {
        let resolver = &stack.resolver;
        let mut outputs = BTreeMap::new();
        // Nothing here refers to the outputs of the outermost template.
        let written = (!stack.prefix.is_empty()).then(|| resolver.document.value["Outputs"].as_object()).flatten();
        for (name, output) in written.into_iter().flatten() {
            let path = format!("/Outputs/{name}");
            let exists = output["Condition"].as_str().map_or(Ok(true), |name| resolver.condition(name, &path, 0));
            resolver.met_unknown.set(false);
            let value = match exists {
                Ok(false) => continue,
                Ok(true) => resolver.text(&output["Value"], &format!("{path}/Value")),
                Err(fault) => Err(fault),
            };
            match value {
                Ok(value) => drop(outputs.insert(name.clone(), value)),
                Err(fault) if stack.runs && !resolver.met_unknown.get() => self.faults.push(fault),
                Err(_) => drop(outputs.insert(name.clone(), stand_in(&format!("{}{name}", stack.prefix)))),
            }
        }
        outputs
    }

    /// Registers the values of `Ref` and `GetAtt` of a resource, after the resources that its name or its parameters
    /// refer to. `chain` has the resources that are being registered.
    fn place(&mut self, stack: &mut Stack, document: &TemplateDocument, id: &str, chain: &mut Vec<String>) {
        let is_placed = stack.resolver.physical.contains_key(id) || stack.resolver.remote.contains(id);
        let Some(resource) = document.resource(id).filter(|_| !is_placed && stack.existing.contains(id)) else {
            return;
        };
        chain.push(id.to_owned());
        if chain.len() > CHAIN_MAX || chain[..chain.len() - 1].iter().any(|before| before == id) {
            let reason = format!("refers to itself: {}", chain.join(" -> "));
            self.faults.push(stack.fault(resource.node.pointer(), reason));
            stack.resolver.remote.insert(id.to_owned());
            chain.pop();
            return;
        }
        let properties = resource.properties(document);
        let mut names = Vec::new();
        identity(resource.kind).iter().for_each(|name| references(&stack.resolver, &properties[*name], &mut names));
        names.iter().for_each(|name| self.place(stack, document, name, chain));
        chain.pop();
        // It may be part of a circle that was found above.
        if stack.resolver.remote.contains(id) {
            return;
        }
        let placed = match is_nested(&resource) {
            true => self.nested(stack, &resource),
            false => self.physical(stack, &resource, &properties),
        };
        match placed {
            Ok(Some(physical)) => {
                let physical =
                    self.settings.physical.get(&format!("{}{id}", stack.prefix)).cloned().unwrap_or(physical);
                stack.resolver.physical.insert(id.to_owned(), physical);
            }
            Ok(None) => drop(stack.resolver.remote.insert(id.to_owned())),
            // Stand-ins for its values, so that references to it are not further faults.
            Err(fault) => {
                self.faults.push(fault);
                stack.resolver.remote.insert(id.to_owned());
            }
        }
    }

    /// Returns the values of `Ref` and `GetAtt` of a resource; `None` if only AWS knows them.
    fn physical(
        &self,
        stack: &mut Stack,
        resource: &Resource<'_>,
        properties: &Value,
    ) -> Result<Option<ResolvedResource>, Fault> {
        let id = resource.logical_id;
        let pointer = resource.properties_pointer();
        let property = |stack: &Stack, name: &str| {
            let value =
                properties.get(name).map(|value| stack.resolver.optional_text(value, &format!("{pointer}/{name}")));
            value.transpose().map(Option::flatten)
        };
        let own_name = format!("{}{id}", stack.prefix.replace('/', "-"));
        Ok(Some(match resource.kind {
            "AWS::SQS::Queue" => {
                let fifo = property(stack, "FifoQueue")?.as_deref() == Some("true");
                let suffix = if fifo { ".fifo" } else { "" };
                let name = property(stack, "QueueName")?.unwrap_or_else(|| format!("{own_name}{suffix}"));
                let url = format!("{}/{ACCOUNT}/{name}", self.settings.queue_url_base);
                let arn = format!("arn:aws:sqs:{REGION}:{ACCOUNT}:{name}");
                let attributes = [("Arn", arn), ("QueueName", name), ("QueueUrl", url.clone())];
                ResolvedResource::new(url, attributes)
            }
            "AWS::SecretsManager::Secret" => {
                let name = property(stack, "Name")?.unwrap_or_else(|| format!("{}/{id}", Stack::name(&stack.prefix)));
                let arn = format!("arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-local1");
                ResolvedResource::new(arn.clone(), [("Id", arn)])
            }
            "AWS::DynamoDB::Table" => {
                let name = property(stack, "TableName")?.unwrap_or(own_name);
                let arn = format!("arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}");
                ResolvedResource::new(name, [("Arn", arn)])
            }
            "AWS::S3::Bucket" => {
                // A bucket's name has no upper-case letter.
                let name = property(stack, "BucketName")?.unwrap_or_else(|| own_name.to_lowercase());
                let arn = format!("arn:aws:s3:::{name}");
                ResolvedResource::new(name, [("Arn", arn)])
            }
            "AWS::Serverless::Function" => {
                let name = property(stack, "FunctionName")?.unwrap_or(own_name);
                let alias = property(stack, "AutoPublishAlias")?;
                // The further resources that SAM generates for a function.
                let events = properties["Events"].as_object().into_iter().flat_map(Map::keys).map(String::as_str);
                let made = ["Role", "Url", "Version"].into_iter().chain(events).map(|made| format!("{id}{made}"));
                stack.resolver.remote.extend(made);
                let arn = format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}");
                if let Some(alias) = &alias {
                    let made = ResolvedResource::new(format!("{arn}:{alias}"), []);
                    stack.resolver.physical.insert(format!("{id}Alias{alias}"), made);
                }
                ResolvedResource::function(name, arn, alias.as_deref())
            }
            "AWS::Serverless::HttpApi" => ResolvedResource::new("local".to_owned(), []),
            _ => return Ok(None),
        }))
    }

    /// Loads a nested stack; `None` if its template is not a local file, or its parameters have faults.
    fn nested(&mut self, stack: &Stack, resource: &Resource<'_>) -> Result<Option<ResolvedResource>, Fault> {
        let (pointer, properties) = (resource.properties_pointer(), &resource.body["Properties"]);
        let location = if properties.get("TemplateURL").is_some() { "TemplateURL" } else { "Location" };
        let at = format!("{pointer}/{location}");
        let written_location = stack.resolver.resolve(&properties[location], &at)?;
        let Some(path) = written_location.as_ref().and_then(Value::as_str).filter(|path| !path.contains("://")) else {
            return Ok(None);
        };
        let prefix = format!("{}{}/", stack.prefix, resource.logical_id);
        if prefix.matches('/').count() > NESTED_DEPTH_MAX || self.stacks.len() >= STACKS_MAX {
            let reason = format!("at most {STACKS_MAX} stacks, nested {NESTED_DEPTH_MAX} deep, are read");
            return Err(stack.fault(&at, reason));
        }
        let path = inside(&stack.folder, Path::new(path))
            .ok_or_else(|| stack.fault(&at, format!("{path} is outside of the template's folder")))?;
        let document = self.document(&path, stack, &at)?;
        let mut resolver = resolver(Arc::clone(&document), &prefix);
        let faults = self.faults.len();
        self.given(stack, &format!("{pointer}/Parameters"), &properties["Parameters"], &mut resolver)?;
        // Faults that follow from a wrong parameter are not reported.
        if self.faults.len() > faults {
            return Ok(None);
        }
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let outputs = self.stack(resolver, prefix.clone(), folder);
        let id = format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{}/local", Stack::name(&prefix));
        let attributes = outputs.into_iter().map(|(name, value)| (format!("Outputs.{name}"), value)).collect();
        Ok(Some(ResolvedResource { reference: id, attributes }))
    }

    fn document(&mut self, path: &Path, stack: &Stack, at: &str) -> Result<Arc<TemplateDocument>, Fault> {
        if let Some(document) = self.documents.get(path) {
            return Ok(Arc::clone(document));
        }
        let file = self.root.join(path);
        let shown = file.display().to_string();
        let mut text = String::new();
        // One byte more than a template may have, so that the parser refuses it.
        let limit = sluicegate_yaml::TEXT_BYTES_MAX as u64 + 1;
        let read = std::fs::File::open(&file).and_then(|file| file.take(limit).read_to_string(&mut text));
        read.map_err(|error| stack.fault(at, format!("cannot read {shown}: {error}")))?;
        let document = match TemplateDocument::parse(&shown, &text) {
            Ok(document) => Arc::new(document),
            Err(faults) => {
                self.faults.extend(faults.iter().cloned());
                return Err(stack.fault(at, format!("{shown} is not a template")));
            }
        };
        self.documents.insert(path.to_owned(), Arc::clone(&document));
        Ok(document)
    }

    /// Sets the parameters of a nested stack to the parent's values, or to their defaults.
    fn given(&mut self, parent: &Stack, at: &str, given: &Value, child: &mut Resolver) -> Result<(), Fault> {
        let document = Arc::clone(&child.document);
        let given = match given {
            Value::Null => &Value::Object(Map::new()),
            written => written,
        };
        let given = given.as_object().ok_or_else(|| parent.fault(at, "must be a mapping"))?;
        for name in given.keys().filter(|name| document.value["Parameters"].get(name).is_none()) {
            let reason = format!("{} has no parameter `{name}`", document.file);
            self.faults.push(parent.fault(&pointer::child(at, name), reason));
        }
        for (name, parameter) in document.value["Parameters"].as_object().into_iter().flatten() {
            let (at, own) = (pointer::child(at, name), format!("/Parameters/{name}"));
            parent.resolver.met_unknown.set(false);
            let value = given.get(name).map(|value| parent.resolver.resolve(value, &at));
            let value = match value.transpose() {
                Ok(value) => value.flatten(),
                Err(_) if parent.resolver.met_unknown.get() => Some(Value::from(stand_in(name))),
                Err(fault) => {
                    self.faults.push(fault);
                    Some(Value::from(stand_in(name)))
                }
            };
            if is_stored(parameter) {
                child.remote.insert(name.clone());
                continue;
            }
            let is_given = value.is_some();
            let Some(value) = value.or_else(|| parameter.get("Default").cloned()) else {
                let reason = format!("`{name}` is missing, which has no default in {}", document.file);
                self.faults.push(parent.fault(&at, reason));
                continue;
            };
            let value = Value::from(written(&value));
            let refused = if is_stand_in(&value) { None } else { refusal(parameter, &value) };
            if let Some(reason) = refused {
                let place = format!(" ({}:{})", document.file, document.line(&own));
                self.faults.push(match is_given {
                    true => parent.fault(&at, reason + &place),
                    false => document.fault(&own, reason),
                });
            }
            child.parameters.insert(name.clone(), parameter_value(parameter, &value));
        }
        Ok(())
    }
}

/// Returns a resolver with the pseudo parameters of a stack.
fn resolver(document: Arc<TemplateDocument>, prefix: &str) -> Resolver {
    let name = Stack::name(prefix);
    let id = format!("arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/local");
    let pseudo = pseudo_parameters("aws", REGION, ACCOUNT, &name, &id);
    let mut resolver = Resolver::new(document, pseudo);
    resolver.remote.extend(SAM_MADE.map(str::to_owned));
    resolver
}

/// Returns the properties that determine the values of `Ref` and `GetAtt`.
fn identity(kind: &str) -> &'static [&'static str] {
    match kind {
        "AWS::CloudFormation::Stack" => &["TemplateURL", "Parameters"],
        "AWS::Serverless::Application" => &["Location", "Parameters"],
        "AWS::SQS::Queue" => &["QueueName", "FifoQueue"],
        "AWS::SecretsManager::Secret" => &["Name"],
        "AWS::DynamoDB::Table" => &["TableName"],
        "AWS::S3::Bucket" => &["BucketName"],
        "AWS::Serverless::Function" => &["FunctionName", "AutoPublishAlias"],
        _ => &[],
    }
}

/// Returns the path below a folder, without `.` and `..`; `None` if it leads out of the outermost folder.
fn inside(folder: &Path, path: &Path) -> Option<PathBuf> {
    let mut found = folder.to_owned();
    for component in path.components() {
        match component {
            Component::Normal(name) => found.push(name),
            Component::CurDir => {}
            Component::ParentDir if found.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(found)
}
