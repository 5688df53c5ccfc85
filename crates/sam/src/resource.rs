//! The resources of a template, before functions are resolved.

use serde_json::{Map, Value};
use sluicegate_yaml::Node;

use crate::{TemplateDocument, resolve::call};

/// The nested template of a queue with its dead-letter queue, mapping and alarms, relative to its parent. Its parameter
/// `Name` is the name of the queue in the contract.
pub const QUEUE_TEMPLATE: &str = "infra/queue.yaml";

/// A resource as it is written.
#[derive(Debug, Clone, Copy)]
pub struct Resource<'a> {
    /// The resource's name in the template.
    pub logical_id: &'a str,
    /// The type, such as `AWS::SQS::Queue`; empty if there is none.
    pub kind: &'a str,
    /// The resource as JSON, with functions.
    pub body: &'a Value,
    /// The resource in the tree.
    pub node: &'a Node,
}

impl TemplateDocument {
    /// Returns every resource, ordered by name, including those whose condition does not hold.
    pub fn resources(&self) -> impl Iterator<Item = Resource<'_>> {
        let nodes = self.root.get("Resources");
        let bodies = self.value["Resources"].as_object().into_iter().flatten();
        bodies.filter_map(move |(logical_id, body)| {
            let kind = body["Type"].as_str().unwrap_or_default();
            Some(Resource { logical_id, kind, body, node: nodes?.get(logical_id)? })
        })
    }

    /// Returns the names of the queues that the template declares: the parameter `Name` of each nested
    /// [`QUEUE_TEMPLATE`].
    pub fn declared_queues(&self) -> impl Iterator<Item = &str> {
        let nested = self.resources().filter(|resource| resource.kind == "AWS::CloudFormation::Stack");
        let properties = nested.map(|resource| &resource.body["Properties"]);
        let queues = properties.filter(|properties| {
            properties["TemplateURL"].as_str().is_some_and(|url| url.trim_start_matches("./") == QUEUE_TEMPLATE)
        });
        queues.filter_map(|properties| properties["Parameters"]["Name"].as_str())
    }

    /// Returns a resource by its name.
    #[must_use]
    pub fn resource(&self, logical_id: &str) -> Option<Resource<'_>> {
        self.resources().find(|resource| resource.logical_id == logical_id)
    }
}

impl Resource<'_> {
    /// Returns the JSON pointer to the properties, even if there are none.
    #[must_use]
    pub fn properties_pointer(&self) -> String {
        self.node.child_pointer("Properties")
    }

    /// Returns the name of the condition under which the resource exists.
    #[must_use]
    pub fn condition(&self) -> Option<&str> {
        self.body["Condition"].as_str()
    }

    /// Returns the properties, merged with those of `Globals` as by SAM: maps are merged, lists are joined, and other
    /// values are replaced. Only functions and HTTP APIs have globals.
    #[must_use]
    pub fn properties(&self, document: &TemplateDocument) -> Value {
        let globals = match self.kind {
            "AWS::Serverless::Function" => &document.value["Globals"]["Function"],
            "AWS::Serverless::HttpApi" => &document.value["Globals"]["HttpApi"],
            _ => return self.body["Properties"].clone(),
        };
        let mut merged = if globals.is_null() { Value::Object(Map::new()) } else { globals.clone() };
        if let Some(properties) = self.body.get("Properties") {
            merge(&mut merged, properties);
        }
        merged
    }
}

fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        // `!Ref A` replaces `!Sub B` of the globals; the two are not merged.
        (base, Value::Object(over)) if call(over).is_some() => *base = Value::Object(over.clone()),
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(over)) => base.extend(over.iter().cloned()),
        (base, over) => *base = over.clone(),
    }
}
