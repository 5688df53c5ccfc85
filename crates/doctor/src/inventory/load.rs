//! The loader of a template and its nested templates.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;
use sluicegate_sam::{
    ACCOUNT, NESTED_DEPTH_MAX, REGION, Reason, ResolvedResource, Resolver, Resource as Written, STACK_NAME,
    TemplateDocument, is_known, is_nested, is_stored, parameter_value, pseudo_parameters, refusal, text, unknown,
};

use super::{Inventory, Origin, Resource};
use crate::{
    Error,
    identity::{StackIdentity, name_property},
};

/// A stack as CloudFormation describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deployed {
    pub(crate) name: String,
    /// `arn:PARTITION:cloudformation:REGION:ACCOUNT:stack/…`
    pub(crate) arn: String,
    /// The template, with transforms applied.
    pub(crate) template: String,
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) outputs: BTreeMap<String, String>,
    /// Physical ids by logical ids.
    pub(crate) physical: BTreeMap<String, String>,
    /// The nested stacks, by logical id.
    pub(crate) nested: BTreeMap<String, Deployed>,
}

/// Where a template comes from.
enum Source<'a> {
    File(PathBuf),
    Stack(&'a Deployed),
}

/// A template to load into the inventory.
struct Stack<'a> {
    source: Source<'a>,
    /// The prefix of its resources' ids: empty, or `Parent/`.
    prefix: String,
    name: String,
    identity: StackIdentity,
    depth: usize,
}

pub(super) fn template(
    inventory: &mut Inventory,
    file: &Path,
    text: &str,
    parameters: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let identity = StackIdentity { partition: "aws".into(), region: REGION.into(), account: ACCOUNT.into() };
    let stack =
        Stack { source: Source::File(file.into()), prefix: String::new(), name: STACK_NAME.into(), identity, depth: 0 };
    let given: BTreeMap<_, _> = parameters.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    stack.load(inventory, text, &given).map(drop)
}

pub(super) fn deployed(inventory: &mut Inventory, stack: &Deployed) -> Result<(), Error> {
    let mut parts = stack.arn.split(':').skip(1).map(str::to_owned);
    let mut part = |default: &str| parts.next().filter(|part| !part.is_empty()).unwrap_or_else(|| default.to_owned());
    let (partition, _, region, account) = (part("aws"), part(""), part(REGION), part(ACCOUNT));
    let identity = StackIdentity { partition, region, account };
    let (name, prefix) = (stack.name.clone(), String::new());
    let given = stack.parameters.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    Stack { source: Source::Stack(stack), prefix, name, identity, depth: 0 }
        .load(inventory, &stack.template, &given)
        .map(drop)
}

impl Stack<'_> {
    /// Adds every resource to the inventory; returns the outputs.
    fn load(
        &self,
        inventory: &mut Inventory,
        template: &str,
        given: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let file: Arc<str> = match &self.source {
            Source::File(file) => file.display().to_string().into(),
            Source::Stack(stack) => format!("stack {}", stack.name).into(),
        };
        let document = Arc::new(TemplateDocument::parse(&file, template)?);
        let lines = matches!(self.source, Source::File(_)).then(|| (Arc::clone(&file), Arc::clone(&document)));
        for fault in &document.duplicates {
            let path = &fault.pointer;
            let (around, key) = path.rsplit_once('/').unwrap_or(("", path));
            let id = around.strip_prefix("/Resources/").and_then(|rest| rest.split('/').next()).unwrap_or(key);
            let origin = Origin { id: format!("{}{id}", self.prefix), path: path.clone(), file: lines.clone() };
            inventory.repeated.push((origin, format!("{key}: {}", fault.reason)));
        }
        if !document.value["Resources"].is_object() {
            return Err(document.fault("", "is not a template: it has no Resources").into());
        }
        let mut resolver = Resolver::new(Arc::clone(&document), self.pseudo());
        resolver.parameters = self.parameters(inventory, &file, &document, given)?;
        // A resource whose condition cannot be decided may exist, so it is checked.
        let exists = |resource: &Written<'_>| {
            resource.condition().is_none_or(|name| resolver.condition(name, "", 0).unwrap_or(true))
        };
        let existing: Vec<Written<'_>> =
            document.resources().filter(|resource| !resource.kind.is_empty() && exists(resource)).collect();
        // Twice, because a name may contain the names of other resources.
        for _ in 0..2 {
            for resource in existing.iter().filter(|resource| !is_nested(resource)) {
                let physical = self.physical(&resolver, resource);
                resolver.physical.insert(resource.logical_id.to_owned(), physical);
            }
        }
        self.nested(inventory, &mut resolver, existing.iter().filter(|resource| is_nested(resource)).collect())?;
        for written in existing {
            let (id, path) = (written.logical_id, written.properties_pointer());
            let physical = resolver.physical.get(id).cloned().unwrap_or_default();
            let properties = resolver.settings(&written.properties(&document), &path).unwrap_or_default();
            inventory.resources.push(Resource {
                origin: Origin { id: format!("{}{id}", self.prefix), path, file: lines.clone() },
                kind: written.kind.to_owned(),
                arn: physical.arn(),
                reference: physical.reference,
                properties,
                certain: written.condition().is_none_or(|name| resolver.condition(name, "", 0).is_ok()),
                update_policy: written.body["UpdatePolicy"].clone(),
            });
        }
        let outputs = document.value["Outputs"].as_object().into_iter().flatten();
        let outputs = outputs.map(|(name, output)| {
            (name.clone(), resolver.settings(&output["Value"], "/Outputs").unwrap_or_else(|| unknown(Reason::Form)))
        });
        Ok(outputs.collect())
    }

    fn parameters(
        &self,
        inventory: &mut Inventory,
        file: &str,
        document: &Arc<TemplateDocument>,
        given: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let declared = document.value["Parameters"].as_object();
        let stray = given.keys().find(|name| !declared.is_some_and(|declared| declared.contains_key(*name)));
        // Only for values from the command line: CloudFormation checks those of nested and deployed stacks.
        if let (Some(name), Source::File(_), 0) = (stray, &self.source, self.depth) {
            return Err(Error::NoParameter { file: file.to_owned(), name: name.clone() });
        }
        let mut parameters = BTreeMap::new();
        for (name, parameter) in declared.into_iter().flatten() {
            let value = given.get(name).or_else(|| parameter.get("Default"));
            if let Some(value) = value.filter(|value| is_known(value))
                && (!is_stored(parameter) || matches!(self.source, Source::Stack(_)))
            {
                if let (Some(what), Source::File(_)) = (refusal(parameter, value), &self.source) {
                    let file = Some((Arc::from(file), Arc::clone(document)));
                    let (id, path) = (format!("{}{name}", self.prefix), format!("/Parameters/{name}"));
                    let origin = Origin { id, path, file };
                    inventory.refused.push((origin, what));
                }
                parameters.insert(name.clone(), parameter_value(parameter, value));
            } else if self.depth == 0 {
                inventory.notes.push(format!("what depends on the parameter {name}, whose value is not known"));
            }
        }
        Ok(parameters)
    }

    fn pseudo(&self) -> BTreeMap<&'static str, String> {
        let StackIdentity { partition, region, account } = &self.identity;
        let id = match &self.source {
            Source::Stack(stack) => stack.arn.clone(),
            Source::File(_) => format!("arn:{partition}:cloudformation:{region}:{account}:stack/{}/doctor", self.name),
        };
        pseudo_parameters(partition, region, account, &self.name, &id)
    }

    fn physical(&self, resolver: &Resolver, resource: &Written<'_>) -> ResolvedResource {
        let (id, kind) = (resource.logical_id, resource.kind);
        let property = |name: &str| {
            let value = resolver.settings(&resource.body["Properties"][name], "")?;
            text(&value)
        };
        let deployed = match &self.source {
            Source::Stack(stack) => stack.physical.get(id).cloned(),
            Source::File(_) => None,
        };
        let name = deployed.or_else(|| property(name_property(kind)?)).unwrap_or_else(|| {
            let fifo = kind == "AWS::SQS::Queue" && property("FifoQueue").is_some_and(|fifo| fifo == "true");
            format!("{}-{id}{}", self.name, if fifo { ".fifo" } else { "" })
        });
        // The ARN of an alias begins with that of its function.
        if kind == "AWS::Lambda::Alias" && !name.starts_with("arn:") {
            let function = property("FunctionName").unwrap_or_default();
            let arn = self.identity.physical("AWS::Lambda::Function", function.rsplit(':').next().unwrap_or_default());
            return ResolvedResource::new(format!("{}:{name}", arn.attributes["Arn"]), []);
        }
        let physical = self.identity.physical(kind, &name);
        let alias = match kind {
            "AWS::Serverless::Function" => {
                resolver.settings(&resource.properties(&resolver.document)["AutoPublishAlias"], "")
            }
            _ => None,
        };
        match (alias.as_ref().and_then(text), physical.attributes.get("Arn").cloned()) {
            (Some(alias), Some(arn)) => ResolvedResource::function(physical.reference, arn, Some(&alias)),
            _ => physical,
        }
    }

    /// Loads the nested templates, first those whose parameters are known, because others may need their outputs.
    fn nested(
        &self,
        inventory: &mut Inventory,
        resolver: &mut Resolver,
        mut waiting: Vec<&Written<'_>>,
    ) -> Result<(), Error> {
        while !waiting.is_empty() {
            let parameters = |nested: &Written<'_>| {
                resolver.settings(&nested.body["Properties"]["Parameters"], "").unwrap_or_default()
            };
            let next = waiting.iter().position(|nested| is_known(&parameters(nested))).unwrap_or(0);
            let given = match parameters(waiting[next]) {
                Value::Object(given) => given.into_iter().collect(),
                _ => BTreeMap::new(),
            };
            let Written { logical_id: id, body, .. } = *waiting.remove(next);
            let outputs = self.child(inventory, resolver, id, body, &given)?;
            let known = outputs.iter().filter_map(|(name, value)| Some((format!("Outputs.{name}"), text(value)?)));
            let physical = ResolvedResource { reference: format!("{}-{id}", self.name), attributes: known.collect() };
            resolver.physical.insert(id.to_owned(), physical);
        }
        Ok(())
    }

    fn child(
        &self,
        inventory: &mut Inventory,
        resolver: &Resolver,
        id: &str,
        body: &Value,
        given: &BTreeMap<String, Value>,
    ) -> Result<BTreeMap<String, Value>, Error> {
        let prefix = format!("{}{id}/", self.prefix);
        let (identity, depth) = (self.identity.clone(), self.depth + 1);
        let shown = prefix.trim_end_matches('/').to_owned();
        match &self.source {
            Source::Stack(stack) => {
                let Some(child) = stack.nested.get(id) else {
                    inventory.hidden = true;
                    inventory.notes.push(format!("{shown}: the stack could not be read"));
                    return Ok(BTreeMap::new());
                };
                let (name, source) = (child.name.clone(), Source::Stack(child));
                let given = child.parameters.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
                let mut outputs =
                    Stack { source, prefix, name, identity, depth }.load(inventory, &child.template, &given)?;
                outputs.extend(child.outputs.iter().map(|(name, value)| (name.clone(), value.clone().into())));
                Ok(outputs)
            }
            Source::File(file) => {
                let properties = &body["Properties"];
                let location = properties.get("TemplateURL").or_else(|| properties.get("Location"));
                let location = location.and_then(|location| resolver.settings(location, "")).as_ref().and_then(text);
                let path = location.map(|location| file.parent().unwrap_or(Path::new("")).join(location));
                let read = path.filter(|path| path.is_file() && depth < NESTED_DEPTH_MAX);
                let read = read.and_then(|path| Some((std::fs::read_to_string(&path).ok()?, path)));
                let Some((text, path)) = read else {
                    inventory.hidden = true;
                    inventory.notes.push(format!("{shown}: its template is not a file here"));
                    return Ok(BTreeMap::new());
                };
                let name = format!("{}-{id}", self.name);
                Stack { source: Source::File(path), prefix, name, identity, depth }.load(inventory, &text, given)
            }
        }
    }
}
