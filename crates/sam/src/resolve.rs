//! CloudFormation's intrinsic functions, with parameters, pseudo parameters and conditions.
//!
//! Only requested values are resolved, so an unsupported function is a fault only where its value is needed.
//! `AWS::NoValue` removes the property, as in CloudFormation.
//!
//! A value that only AWS knows (a bucket's name, a parameter of Systems Manager) has a stand-in. A caller that needs
//! the real value resets [`Resolver::met_unknown`] first and reads it afterwards.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde_json::{Map, Value};
use sluicegate_yaml::{Fault, pointer};

use super::{Reason, TemplateDocument, setting::unknown};

/// The values of `Ref` and `GetAtt` of a resource.
#[derive(Debug, Clone, Default)]
pub struct ResolvedResource {
    /// The value of `Ref`.
    pub reference: String,
    /// The value of `GetAtt`, by attribute.
    pub attributes: BTreeMap<String, String>,
}

impl ResolvedResource {
    /// Returns a resource with these values of `Ref` and `GetAtt`.
    pub fn new<const N: usize>(reference: String, attributes: [(&str, String); N]) -> Self {
        let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { reference, attributes }
    }

    /// Returns the value of `GetAtt Arn`, or an empty text.
    #[must_use]
    pub fn arn(&self) -> String {
        self.attributes.get("Arn").cloned().unwrap_or_default()
    }

    /// Returns the values of a SAM function, with those of the alias and the version that SAM generates.
    /// <https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html>
    #[must_use]
    pub fn function(name: String, arn: String, alias: Option<&str>) -> Self {
        let mut function = Self::new(name, [("Arn", arn.clone())]);
        if let Some(alias) = alias {
            let made = [("Alias", format!("{arn}:{alias}")), ("Version", format!("{arn}:1"))];
            let made = made.into_iter().chain([("Version.Version", "1".to_owned())]);
            function.attributes.extend(made.map(|(name, value)| (name.to_owned(), value)));
        }
        function
    }
}

/// Resolves intrinsic functions in values.
#[derive(Debug)]
pub struct Resolver {
    /// The template, with conditions and mappings.
    pub document: Arc<TemplateDocument>,
    /// The values of the parameters.
    pub parameters: BTreeMap<String, Value>,
    /// Pseudo parameters, such as `AWS::Region`.
    pub pseudo: BTreeMap<&'static str, String>,
    /// The resolved resources, by logical id.
    pub physical: BTreeMap<String, ResolvedResource>,
    /// Resources and parameters whose values only AWS knows; `Ref` and `GetAtt` return a stand-in.
    pub remote: BTreeSet<String>,
    /// Set when a value was requested that only AWS knows, with or without a stand-in. The resolver never resets it.
    pub met_unknown: Cell<bool>,
}

/// Returns the pseudo parameters of a stack.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/pseudo-parameter-reference.html>
#[must_use]
pub fn pseudo_parameters(
    partition: &str,
    region: &str,
    account: &str,
    stack_name: &str,
    stack_id: &str,
) -> BTreeMap<&'static str, String> {
    let pseudo = [
        ("AWS::AccountId", account),
        ("AWS::Region", region),
        ("AWS::Partition", partition),
        ("AWS::StackName", stack_name),
        ("AWS::StackId", stack_id),
        ("AWS::URLSuffix", "amazonaws.com"),
    ];
    pseudo.map(|(name, value)| (name, value.to_owned())).into()
}

/// Returns whether CloudFormation looks the value up in Systems Manager or Secrets Manager.
fn is_dynamic(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("{{resolve:"))
}

/// The end of a stand-in. A value that contains a stand-in contains it too.
const STAND_IN: &str = "-is-not-known-locally";

/// Returns the stand-in for a value that only AWS knows.
pub(super) fn stand_in(name: &str) -> String {
    format!("{name}{STAND_IN}")
}

/// Returns whether the value contains a stand-in.
pub(super) fn is_stand_in(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains(STAND_IN),
        Value::Array(items) => items.iter().any(is_stand_in),
        _ => false,
    }
}

/// Adds the names of parameters and resources that a value refers to, except in branches of `Fn::If` not taken.
pub(super) fn references(resolver: &Resolver, value: &Value, names: &mut Vec<String>) {
    let entries = match value {
        Value::Array(items) => return items.iter().for_each(|item| references(resolver, item, names)),
        Value::Object(entries) => entries,
        _ => return,
    };
    let mut name = |text: &str| names.push(text.split('.').next().unwrap_or(text).to_owned());
    match call(entries) {
        Some(("Ref", Value::String(text))) => name(text),
        Some(("Fn::GetAtt", Value::Array(path))) => path.first().and_then(Value::as_str).into_iter().for_each(name),
        Some(("Fn::If", Value::Array(branches))) if branches.len() == 3 => {
            let holds = branches[0].as_str().and_then(|name| resolver.condition(name, "", 0).ok());
            let taken = match holds {
                Some(true) => &branches[1..2],
                Some(false) => &branches[2..],
                None => &branches[1..],
            };
            taken.iter().for_each(|branch| references(resolver, branch, names));
        }
        Some(("Fn::Sub", argument)) => {
            let template = argument.get(0).unwrap_or(argument).as_str().unwrap_or_default();
            template
                .split("${")
                .skip(1)
                .filter_map(|rest| rest.split_once('}'))
                .for_each(|(text, _)| name(text.trim()));
            argument.get(1).into_iter().for_each(|variables| references(resolver, variables, names));
        }
        _ => entries.values().for_each(|item| references(resolver, item, names)),
    }
}

/// Conditions may refer to one another; a longer chain is a circle.
const CONDITION_DEPTH_MAX: usize = 50;

impl Resolver {
    /// Returns a resolver that knows no parameter and no resource yet.
    #[must_use]
    pub fn new(document: Arc<TemplateDocument>, pseudo: BTreeMap<&'static str, String>) -> Self {
        Self {
            document,
            parameters: BTreeMap::new(),
            pseudo,
            physical: BTreeMap::new(),
            remote: BTreeSet::new(),
            met_unknown: Cell::new(false),
        }
    }

    pub(super) fn fault(&self, path: &str, reason: impl Into<String>) -> Fault {
        self.document.fault(path, reason)
    }

    /// Returns the value with every function replaced by its result; `None` is `AWS::NoValue`.
    ///
    /// # Errors
    /// The first function that cannot be resolved.
    pub fn resolve(&self, value: &Value, path: &str) -> Result<Option<Value>, Fault> {
        match value {
            Value::Array(items) => {
                let mut out = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    out.extend(self.resolve(item, &format!("{path}/{index}"))?);
                }
                Ok(Some(Value::Array(out)))
            }
            Value::Object(entries) => match call(entries) {
                Some((function, argument)) => self.call(function, argument, path),
                None => {
                    let mut out = Map::new();
                    for (key, item) in entries {
                        if let Some(item) = self.resolve(item, &pointer::child(path, key))? {
                            out.insert(key.clone(), item);
                        }
                    }
                    Ok(Some(Value::Object(out)))
                }
            },
            plain => Ok(Some(plain.clone())),
        }
    }

    /// Returns the value with every function replaced by its result, or by an unknown value with the reason. `None` is
    /// `AWS::NoValue`.
    pub fn settings(&self, value: &Value, path: &str) -> Option<Value> {
        let unresolved = |fault: Fault| {
            unknown(Reason::Unresolved { pointer: fault.pointer, fault: fault.reason, remote: self.met_unknown.get() })
        };
        self.met_unknown.set(false);
        match value {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                Some(items.filter_map(|(index, item)| self.settings(item, &format!("{path}/{index}"))).collect())
            }
            Value::Object(entries) => match call(entries) {
                Some(("Fn::If", Value::Array(branches))) if branches.len() == 3 && branches[0].is_string() => {
                    match self.condition(branches[0].as_str().unwrap_or_default(), path, 0) {
                        Ok(holds) => self.settings(&branches[if holds { 1 } else { 2 }], path),
                        Err(fault) => Some(unresolved(fault)),
                    }
                }
                Some(_) => match self.resolve(value, path) {
                    Ok(Some(value)) if self.met_unknown.get() || is_dynamic(&value) => {
                        Some(unknown(Reason::StandIn(value)))
                    }
                    Ok(value) => value,
                    Err(fault) => Some(unresolved(fault)),
                },
                None => {
                    let member = |(name, item): (&String, &Value)| {
                        Some((name.clone(), self.settings(item, &pointer::child(path, name))?))
                    };
                    Some(Value::Object(entries.iter().filter_map(member).collect()))
                }
            },
            dynamic if is_dynamic(dynamic) => Some(unknown(Reason::StandIn(dynamic.clone()))),
            plain => Some(plain.clone()),
        }
    }

    /// Returns the value as text: a string, or a number or boolean as it is written.
    pub(super) fn text(&self, value: &Value, path: &str) -> Result<String, Fault> {
        match self.resolve(value, path)? {
            Some(Value::String(text)) => Ok(text),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(Value::Bool(flag)) => Ok(flag.to_string()),
            _ => Err(self.fault(path, "must be a string")),
        }
    }

    /// Returns a property's value as text; `None` is `AWS::NoValue`.
    pub(super) fn optional_text(&self, value: &Value, path: &str) -> Result<Option<String>, Fault> {
        self.resolve(value, path)?.map(|value| self.text(&value, path)).transpose()
    }

    fn call(&self, function: &str, argument: &Value, path: &str) -> Result<Option<Value>, Fault> {
        let text = |text: String| Ok(Some(Value::String(text)));
        match function {
            "Ref" => match argument.as_str() {
                Some("AWS::NoValue") => Ok(None),
                Some(name) => self.reference(name, path).map(Some),
                None => Err(self.fault(path, "Ref takes a name")),
            },
            "Fn::GetAtt" => {
                let [resource, attribute] = self.arguments(function, argument, path)?;
                text(self.attribute(&self.text(resource, path)?, &self.text(attribute, path)?, path)?)
            }
            "Fn::Sub" => text(self.substitute(argument, path)?),
            "Fn::Join" => {
                let [separator, list] = self.arguments(function, argument, path)?;
                text(self.list(list, path)?.join(&self.text(separator, path)?))
            }
            "Fn::Split" => {
                let [separator, whole] = self.arguments(function, argument, path)?;
                let (separator, whole) = (self.text(separator, path)?, self.text(whole, path)?);
                Ok(Some(whole.split(&separator).map(Value::from).collect()))
            }
            "Fn::Select" => {
                let [index, list] = self.arguments(function, argument, path)?;
                let index = self.text(index, path)?.parse::<usize>().ok();
                let item = index.and_then(|index| self.list(list, path).ok()?.into_iter().nth(index));
                text(item.ok_or_else(|| self.fault(path, "Fn::Select: no such element"))?)
            }
            "Fn::FindInMap" => {
                let [map, first, second] = self.arguments(function, argument, path)?;
                let keys = [self.text(map, path)?, self.text(first, path)?, self.text(second, path)?];
                let found = keys.iter().try_fold(&self.document.value["Mappings"], |value, key| value.get(key));
                found.cloned().map(Some).ok_or_else(|| self.fault(path, format!("no mapping {}", keys.join("."))))
            }
            "Fn::If" => {
                let [condition, yes, no] = self.arguments(function, argument, path)?;
                let name = condition.as_str().ok_or_else(|| self.fault(path, "Fn::If takes a condition's name"))?;
                self.resolve(if self.condition(name, path, 0)? { yes } else { no }, path)
            }
            "Fn::Equals" | "Fn::And" | "Fn::Or" | "Fn::Not" | "Condition" => {
                Err(self.fault(path, format!("{function} belongs in Conditions")))
            }
            other => {
                self.met_unknown.set(true);
                Err(self.fault(path, format!("{other} cannot be resolved locally")))
            }
        }
    }

    fn reference(&self, name: &str, path: &str) -> Result<Value, Fault> {
        if let Some(value) = self.parameters.get(name) {
            self.met_unknown.set(self.met_unknown.get() || is_stand_in(value));
            return Ok(value.clone());
        }
        if let Some(value) = self.pseudo.get(name) {
            return Ok(Value::from(value.as_str()));
        }
        if self.remote.contains(name) {
            self.met_unknown.set(true);
            return Ok(Value::from(stand_in(name)));
        }
        // SAM's `!Ref Function.Alias` and `!Ref Function.Version`.
        if let Some((function, made)) = name.split_once('.') {
            return self.attribute(function, made, path).map(Value::from);
        }
        match self.physical.get(name) {
            Some(physical) => Ok(Value::from(physical.reference.as_str())),
            None if self.document.value["Parameters"].get(name).is_some() => {
                let reason = format!("has no default: give --parameter {name}=VALUE");
                Err(self.fault(&format!("/Parameters/{name}"), reason))
            }
            None if self.document.value["Resources"].get(name).is_some() => {
                Err(self.fault(path, format!("`{name}` does not exist locally, so nothing can refer to it")))
            }
            None => Err(self.fault(path, format!("`{name}` is neither a parameter nor a resource of this template"))),
        }
    }

    fn attribute(&self, resource: &str, attribute: &str, path: &str) -> Result<String, Fault> {
        if self.remote.contains(resource) {
            self.met_unknown.set(true);
            return Ok(stand_in(&format!("{resource}.{attribute}")));
        }
        let physical = self.physical.get(resource);
        if let Some(value) = physical.and_then(|physical| physical.attributes.get(attribute)) {
            self.met_unknown.set(self.met_unknown.get() || value.contains(STAND_IN));
            return Ok(value.clone());
        }
        Err(self.fault(
            path,
            match attribute.strip_prefix("Outputs.") {
                Some(output) if physical.is_some() => format!("the stack `{resource}` has no output `{output}`"),
                _ => format!("`{resource}.{attribute}` is not known locally"),
            },
        ))
    }

    fn substitute(&self, argument: &Value, path: &str) -> Result<String, Fault> {
        let nothing = Value::Object(Map::new());
        let (template, variables) = match argument {
            Value::Array(pair) if pair.len() == 2 => (&pair[0], &pair[1]),
            plain => (plain, &nothing),
        };
        let template = template.as_str().ok_or_else(|| self.fault(path, "Fn::Sub takes a string"))?;
        let (mut out, mut rest) = (String::new(), template);
        while let Some(start) = rest.find("${") {
            out.push_str(&rest[..start]);
            let after = &rest[start + 2..];
            let end = after.find('}').ok_or_else(|| self.fault(path, "Fn::Sub: `${` without `}`"))?;
            let name = after[..end].trim();
            match (name.strip_prefix('!'), variables.get(name), name.split_once('.')) {
                (Some(literal), _, _) => out.push_str(&format!("${{{literal}}}")),
                (None, Some(value), _) => out.push_str(&self.text(value, path)?),
                (None, None, Some((resource, attribute))) => {
                    out.push_str(&self.attribute(resource, attribute, path)?);
                }
                (None, None, None) => out.push_str(&self.text(&self.reference(name, path)?, path)?),
            }
            rest = &after[end + 1..];
        }
        out.push_str(rest);
        Ok(out)
    }

    /// Returns whether the named condition of the template holds. `depth` is how many conditions led here.
    ///
    /// # Errors
    /// It is missing, is not a condition, or refers to a value that cannot be resolved.
    pub fn condition(&self, name: &str, path: &str, depth: usize) -> Result<bool, Fault> {
        let condition = self.document.value["Conditions"].get(name);
        let condition = condition.ok_or_else(|| self.fault(path, format!("no condition `{name}`")))?;
        self.holds(condition, &format!("/Conditions/{name}"), depth)
    }

    fn holds(&self, condition: &Value, path: &str, depth: usize) -> Result<bool, Fault> {
        if depth > CONDITION_DEPTH_MAX {
            return Err(self.fault(path, "conditions refer to one another in a circle"));
        }
        let call = condition.as_object().and_then(call);
        let (function, argument) = call.ok_or_else(|| self.fault(path, "is not a condition"))?;
        let each = || -> Result<Vec<bool>, Fault> {
            let operands = argument.as_array().ok_or_else(|| self.fault(path, format!("{function} takes a list")))?;
            operands.iter().map(|operand| self.holds(operand, path, depth + 1)).collect()
        };
        match function {
            "Condition" => self.condition(argument.as_str().unwrap_or_default(), path, depth + 1),
            "Fn::Equals" => {
                let [left, right] = self.arguments(function, argument, path)?;
                Ok(self.text(left, path)? == self.text(right, path)?)
            }
            "Fn::Not" => Ok(!each()?.into_iter().any(|holds| holds)),
            "Fn::And" => Ok(each()?.into_iter().all(|holds| holds)),
            "Fn::Or" => Ok(each()?.into_iter().any(|holds| holds)),
            other => Err(self.fault(path, format!("{other} is not a condition"))),
        }
    }

    fn list(&self, value: &Value, path: &str) -> Result<Vec<String>, Fault> {
        match self.resolve(value, path)? {
            Some(Value::Array(items)) => items.iter().map(|item| self.text(item, path)).collect(),
            _ => Err(self.fault(path, "must be a list")),
        }
    }

    fn arguments<'v, const N: usize>(
        &self,
        function: &str,
        argument: &'v Value,
        path: &str,
    ) -> Result<[&'v Value; N], Fault> {
        let items: Vec<&Value> = argument.as_array().map(|items| items.iter().collect()).unwrap_or_default();
        items.try_into().map_err(|_| self.fault(path, format!("{function} takes a list of {N}")))
    }
}

/// Returns function and argument of an object that is `{"Fn::…": argument}`, `{"Ref": …}` or `{"Condition": …}` alone.
pub fn call(entries: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = entries.iter().next().filter(|_| entries.len() == 1)?;
    let is_function = name.starts_with("Fn::") || name == "Ref" || (name == "Condition" && argument.is_string());
    is_function.then_some((name.as_str(), argument))
}
