//! The current state of a deployed stack, in place of the template's values, so that checks see changes made by hand.
//! Each change is listed.
//!
//! Values have the names of CloudFormation's properties.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sluicegate_sam::{
    BATCH_SIZE_DEFAULT, MQ_BATCH_SIZE_DEFAULT, RETENTION_S_DEFAULT, TIMEOUT_S_DEFAULT, VISIBILITY_S_DEFAULT, is_known,
};

use crate::{
    inventory::{Inventory, Origin, Resource},
    model::{DAYS_UNCHANGED, VERSIONS},
};

/// The current state. Where it could not be read, the template's values stay.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub(crate) struct Overlay {
    /// Attributes, by the queue's ARN; `None` for a deleted queue.
    pub(crate) queues: BTreeMap<String, Option<Map<String, Value>>>,
    /// Properties, by the function's name.
    pub(crate) functions: BTreeMap<String, Map<String, Value>>,
    /// Properties, by the mapping's UUID; `None` for a deleted mapping.
    pub(crate) mappings: BTreeMap<String, Option<Map<String, Value>>>,
    /// The account's limit of concurrent environments.
    pub(crate) account_concurrency: Option<u64>,
    /// By the secret's ARN.
    pub(crate) secrets: BTreeMap<String, SecretState>,
}

/// The state of a secret, known without reading its value.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(test, derive(serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct SecretState {
    /// The number of versions; a secret that was never changed has one.
    pub(crate) versions: u64,
    /// The days since its last change.
    pub(crate) days_unchanged: u64,
}

/// The value of a property that is not set.
#[derive(Clone, Copy)]
enum Unset {
    Number(u64),
    Text(&'static str),
    /// It depends on the age of the resource, so only a value in the template is compared.
    ByAge,
}

/// The properties to compare, with their defaults.
type Defaults = &'static [(&'static str, Unset)];

const NOTHING: Unset = Unset::Text("");
const OF_QUEUES: Defaults = &[
    ("ContentBasedDeduplication", Unset::Text("false")),
    ("DeduplicationScope", Unset::Text("queue")),
    ("DelaySeconds", Unset::Number(0)),
    ("FifoThroughputLimit", Unset::Text("perQueue")),
    ("KmsMasterKeyId", NOTHING),
    ("MaximumMessageSize", Unset::ByAge),
    ("MessageRetentionPeriod", Unset::Number(RETENTION_S_DEFAULT)),
    ("RedriveAllowPolicy", NOTHING),
    ("RedrivePolicy", NOTHING),
    ("SqsManagedSseEnabled", Unset::ByAge),
    ("VisibilityTimeout", Unset::Number(VISIBILITY_S_DEFAULT)),
];
const OF_FUNCTIONS: Defaults = &[
    ("Environment", NOTHING),
    ("ReservedConcurrentExecutions", NOTHING),
    ("Runtime", NOTHING),
    ("Timeout", Unset::Number(TIMEOUT_S_DEFAULT)),
];
const OF_MAPPINGS: Defaults = &[
    ("BatchSize", Unset::Number(BATCH_SIZE_DEFAULT)),
    ("Enabled", Unset::Text("true")),
    ("FilterCriteria", NOTHING),
    ("FunctionResponseTypes", NOTHING),
    ("MaximumBatchingWindowInSeconds", Unset::Number(0)),
    ("ProvisionedPollerConfig", NOTHING),
    ("ScalingConfig", NOTHING),
];

/// Without the batching window: if it is not set, Lambda reports a value other than the default of half a second.
const OF_MQ_MAPPINGS: Defaults = &[
    ("BatchSize", Unset::Number(MQ_BATCH_SIZE_DEFAULT)),
    ("Enabled", Unset::Text("true")),
    ("FilterCriteria", NOTHING),
    ("Queues", NOTHING),
];

fn is_of_broker(mapping: &Resource) -> bool {
    mapping.props().get("Queues").is_written()
}

impl Inventory {
    pub(crate) fn overlay(&mut self, mut overlay: Overlay) {
        let mut changes = Vec::new();
        self.resources.retain_mut(|resource| {
            let (now, defaults) = match resource.kind.as_str() {
                "AWS::SQS::Queue" => (overlay.queues.remove(&resource.arn), OF_QUEUES),
                "AWS::Lambda::Function" => (overlay.functions.remove(&resource.reference).map(Some), OF_FUNCTIONS),
                "AWS::Lambda::EventSourceMapping" => {
                    let defaults = if is_of_broker(resource) { OF_MQ_MAPPINGS } else { OF_MAPPINGS };
                    (overlay.mappings.remove(&resource.reference), defaults)
                }
                "AWS::SecretsManager::Secret" => {
                    let now = overlay.secrets.get(&resource.reference);
                    if let (Some(now), Some(own)) = (now, resource.properties.as_object_mut()) {
                        own.insert(VERSIONS.to_owned(), now.versions.into());
                        own.insert(DAYS_UNCHANGED.to_owned(), now.days_unchanged.into());
                    }
                    return true;
                }
                _ => return true,
            };
            match now {
                None => {}
                Some(Some(now)) => changes.extend(replace(resource, now, defaults)),
                Some(None) => {
                    changes.push((resource.origin.clone(), "is gone".to_owned()));
                    return false;
                }
            }
            true
        });
        self.account_concurrency = overlay.account_concurrency;
        // The remaining mappings are in none of the templates.
        for (uuid, now) in overlay.mappings {
            let Some(now) = now else { continue };
            let origin = Origin::nowhere(format!("event source mapping {uuid}"));
            changes
                .push((origin.clone(), "is in none of the templates: created by hand, or by another stack".to_owned()));
            self.resources.push(Resource {
                origin,
                kind: "AWS::Lambda::EventSourceMapping".to_owned(),
                reference: uuid,
                arn: String::new(),
                properties: now.into(),
                certain: true,
                update_policy: Value::Null,
            });
        }
        self.changes.extend(changes);
    }
}

/// Replaces the values with the current ones; returns what differs.
fn replace(resource: &mut Resource, mut now: Map<String, Value>, defaults: Defaults) -> Vec<(Origin, String)> {
    let mut changes = Vec::new();
    if !resource.properties.is_object() {
        resource.properties = Value::Object(Map::new());
    }
    let Some(written) = resource.properties.as_object_mut() else { return changes };
    for (name, default) in defaults {
        let (was, is) = (written.remove(*name), now.remove(*name));
        let comparable = was.as_ref().map_or(!matches!(default, Unset::ByAge), is_known);
        let default = match default {
            Unset::Number(number) => number.to_string(),
            Unset::Text(text) => (*text).to_owned(),
            Unset::ByAge => String::new(),
        };
        let (before, after) = (normal(was.as_ref(), &default), normal(is.as_ref(), &default));
        if comparable && before != after {
            // Variables may be secrets.
            let shown = match *name {
                "Environment" => variables(&before, &after),
                name => format!("{name} is {}, was deployed as {}", shown(&after), shown(&before)),
            };
            changes.push((resource.origin.clone(), shown));
        }
        written.extend(is.map(|is| ((*name).to_owned(), is)));
    }
    changes
}

fn shown(value: &Value) -> String {
    match value.as_str() {
        Some("") => "not set".to_owned(),
        Some(text) => text.to_owned(),
        None => value.to_string(),
    }
}

/// Returns the names of the variables that differ.
fn variables(before: &Value, after: &Value) -> String {
    let of = |value: &Value| value["Variables"].as_object().cloned().unwrap_or_default();
    let (before, after) = (of(before), of(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let names: Vec<&str> = names.filter(|name| before.get(*name) != after.get(*name)).map(String::as_str).collect();
    format!("Environment differs in {}", names.join(", "))
}

/// Returns the same form for equal values: numbers as text, JSON text as JSON, an absent value as the default.
fn normal(value: Option<&Value>, default: &str) -> Value {
    match value {
        None | Some(Value::Null) => Value::from(default),
        Some(Value::String(text)) => match serde_json::from_str::<Value>(text) {
            Ok(object @ Value::Object(_)) => normal(Some(&object), default),
            _ => Value::from(text.as_str()),
        },
        Some(Value::Array(items)) => items.iter().map(|item| normal(Some(item), "")).collect(),
        Some(Value::Object(entries)) => {
            entries.iter().map(|(name, item)| (name.clone(), normal(Some(item), ""))).collect()
        }
        Some(scalar) => Value::from(scalar.to_string()),
    }
}
