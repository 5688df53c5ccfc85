//! `AWS::SQS::Queue`: CloudFormation's properties as the attributes of CreateQueue.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Fault, Plan, Reader, Resource, Stack};

/// A queue to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The queue's name.
    pub name: String,
    /// What `Ref` gives.
    pub url: String,
    /// What `GetAtt Arn` gives.
    pub arn: String,
    /// First in, first out.
    pub fifo: bool,
    /// Attributes for CreateQueue, as SQS writes them.
    pub attributes: BTreeMap<String, String>,
    /// Attributes that name other queues, so they are set after every queue is created.
    pub redrive_attributes: BTreeMap<String, String>,
}

/// Properties that are attributes of the same name.
const ATTRIBUTES: [&str; 12] = [
    "ContentBasedDeduplication",
    "DeduplicationScope",
    "DelaySeconds",
    "FifoQueue",
    "FifoThroughputLimit",
    "KmsDataKeyReusePeriodSeconds",
    "KmsMasterKeyId",
    "MaximumMessageSize",
    "MessageRetentionPeriod",
    "ReceiveMessageWaitTimeSeconds",
    "SqsManagedSseEnabled",
    "VisibilityTimeout",
];
const REDRIVE_ATTRIBUTES: [&str; 2] = ["RedrivePolicy", "RedriveAllowPolicy"];

/// The visibility timeout of a queue that sets none.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
pub const VISIBILITY_S_DEFAULT: u64 = 30;

impl QueuePlan {
    /// Returns how long a received message stays hidden.
    pub fn visibility_s(&self) -> u64 {
        let set = self.attributes.get("VisibilityTimeout").and_then(|seconds| seconds.parse().ok());
        set.unwrap_or(VISIBILITY_S_DEFAULT)
    }
}

impl Reader<'_> {
    pub(super) fn queue(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let physical = self.stack.resolver.physical.get(resource.logical_id).cloned().unwrap_or_default();
        let attribute = |name: &str| physical.attributes.get(name).cloned().unwrap_or_default();
        let (mut attributes, mut redrive_attributes) = (BTreeMap::new(), BTreeMap::new());
        for (property, value) in resource.body["Properties"].as_object().into_iter().flatten() {
            let path = format!("{}/{property}", resource.properties_pointer());
            let Some(value) = self.stack.resolver.resolve(value, &path)? else { continue };
            let written = match &value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            match property.as_str() {
                "QueueName" | "Tags" => {}
                // AWS refuses `FifoQueue: false`; CloudFormation leaves it out.
                "FifoQueue" if written == "false" => {}
                name if ATTRIBUTES.contains(&name) => drop(attributes.insert(name.to_owned(), written)),
                name if REDRIVE_ATTRIBUTES.contains(&name) => drop(redrive_attributes.insert(name.to_owned(), written)),
                _ => self.notice(&path, "has no effect locally"),
            }
        }
        let (name, fifo) = (attribute("QueueName"), attributes.contains_key("FifoQueue"));
        if fifo != name.ends_with(".fifo") {
            let reason = "the name of a FIFO queue, and no other, ends with .fifo";
            return Err(self.fault(&format!("{}/QueueName", resource.properties_pointer()), reason));
        }
        if let Some(other) = self.plan.queues.iter().find(|other| other.name == name) {
            let reason = format!("`{name}` is also the name of {}", other.logical_id);
            return Err(self.fault(&format!("{}/QueueName", resource.properties_pointer()), reason));
        }
        self.plan.queues.push(QueuePlan {
            logical_id: self.id(resource),
            name,
            url: physical.reference.clone(),
            arn: attribute("Arn"),
            fifo,
            attributes,
            redrive_attributes,
        });
        Ok(())
    }
}

impl Plan {
    /// Notes a fault where a function may run longer than a message stays hidden: Lambda refuses such a mapping.
    pub(super) fn check_visibility(&self, stacks: &[Stack], faults: &mut Vec<Fault>) {
        for mapping in &self.mappings {
            let queue = self.queues.iter().find(|queue| queue.name == mapping.queue);
            let function = self.functions.iter().find(|function| function.name == mapping.function);
            let (Some(queue), Some(function)) = (queue, function) else { continue };
            if queue.visibility_s() < function.timeout.as_secs() {
                let id = queue.logical_id.rsplit('/').next().unwrap_or_default();
                let prefix = queue.logical_id.strip_suffix(id).unwrap_or_default();
                let path = format!("/Resources/{id}/Properties/VisibilityTimeout");
                let reason = format!(
                    "the visibility timeout of {} s is shorter than the {} s {} may run; Lambda refuses that",
                    queue.visibility_s(),
                    function.timeout.as_secs(),
                    function.name
                );
                let stack = stacks.iter().find(|stack| stack.prefix == prefix);
                faults.extend(stack.map(|stack| stack.resolver.fault(&path, reason)));
            }
        }
    }
}
