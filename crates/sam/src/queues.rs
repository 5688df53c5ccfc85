//! `AWS::SQS::Queue`: its settings, and its properties as attributes of CreateQueue.

use std::collections::BTreeMap;

use super::{Fault, Props, Reader, Resource, Setting, Stack, StackPlan, text};

/// The visibility timeout of a queue that sets none.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
pub const VISIBILITY_S_DEFAULT: u64 = 30;
/// Same page.
const VISIBILITY_S_MAX: u64 = 43_200;
/// Same page: four days.
pub const RETENTION_S_DEFAULT: u64 = 345_600;
/// Same page: 1 MiB.
const MESSAGE_BYTES_DEFAULT: u64 = 1_048_576;

/// The settings of a queue, from a template or as deployed: SQS's attributes have the names of CloudFormation's
/// properties. An absent setting has SQS's default, if there is one.
#[derive(Debug, Clone)]
pub struct Queue {
    /// The queue's name.
    pub name: String,
    /// The value of `Ref`.
    pub url: String,
    /// The value of `GetAtt Arn`.
    pub arn: String,
    /// `FifoQueue`
    pub fifo: Setting<bool>,
    /// How long a received message stays hidden.
    pub visibility_s: Setting<u64>,
    /// How long a message is kept.
    pub retention_s: Setting<u64>,
    /// The size of the largest message.
    pub message_bytes_max: Setting<u64>,
    /// How long each message waits before its first delivery.
    pub delay_s: Setting<u64>,
    /// `RedrivePolicy`
    pub redrive: Setting<Redrive>,
    /// `RedriveAllowPolicy`
    pub redrive_allow: Setting<RedriveAllow>,
    /// `DeduplicationScope`
    pub deduplication_scope: Setting<String>,
    /// `FifoThroughputLimit`
    pub throughput_limit: Setting<String>,
    /// `SqsManagedSseEnabled`
    pub managed_encryption: Setting<bool>,
    /// The key's id, ARN or alias.
    pub kms_key: Setting<String>,
}

/// `RedrivePolicy`
#[derive(Debug, Clone)]
pub struct Redrive {
    /// The dead-letter queue's ARN.
    pub target: Setting<String>,
    /// `maxReceiveCount`
    pub receives_max: Setting<u64>,
}

/// `RedriveAllowPolicy`
#[derive(Debug, Clone)]
pub struct RedriveAllow {
    /// `redrivePermission`
    pub permission: Setting<String>,
    /// The sources' ARNs.
    pub sources: Vec<Setting<String>>,
}

impl Queue {
    /// Reads the properties of the queue with this URL and ARN.
    #[must_use]
    pub fn read(url: &str, arn: &str, props: Props<'_>) -> Self {
        Self {
            name: url.rsplit('/').next().unwrap_or_default().to_owned(),
            url: url.to_owned(),
            arn: arn.to_owned(),
            fifo: props.flag("FifoQueue").or_default(false),
            visibility_s: props.number("VisibilityTimeout").or_default(VISIBILITY_S_DEFAULT),
            retention_s: props.number("MessageRetentionPeriod").or_default(RETENTION_S_DEFAULT),
            message_bytes_max: props.number("MaximumMessageSize").or_default(MESSAGE_BYTES_DEFAULT),
            delay_s: props.number("DelaySeconds").or_default(0),
            redrive: props.parsed("RedrivePolicy", |policy| Redrive {
                target: policy.text("deadLetterTargetArn"),
                receives_max: policy.number("maxReceiveCount"),
            }),
            redrive_allow: props.parsed("RedriveAllowPolicy", |policy| RedriveAllow {
                permission: policy.text("redrivePermission"),
                sources: policy.listed("sourceQueueArns"),
            }),
            deduplication_scope: props.text("DeduplicationScope").or_default("queue".to_owned()),
            throughput_limit: props.text("FifoThroughputLimit").or_default("perQueue".to_owned()),
            managed_encryption: props.flag("SqsManagedSseEnabled"),
            kms_key: props.text("KmsMasterKeyId"),
        }
    }

    /// Returns `maxReceiveCount` of the redrive policy, if it is known.
    #[must_use]
    pub fn receives_max(&self) -> Option<u64> {
        self.redrive.as_ref().known()?.receives_max.copied()
    }

    /// Returns whether it is a FIFO queue, by its property or its name.
    #[must_use]
    pub fn is_fifo(&self) -> bool {
        self.fifo.is(&true) || self.name.ends_with(".fifo")
    }
}

/// A queue to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueuePlan {
    /// The resource's name in the template, after those of the stacks around it.
    pub logical_id: String,
    /// The queue's name.
    pub name: String,
    /// The value of `Ref`.
    pub url: String,
    /// The value of `GetAtt Arn`.
    pub arn: String,
    /// It is a FIFO queue.
    pub fifo: bool,
    /// How long a received message stays hidden.
    pub visibility_s: u64,
    /// Attributes for CreateQueue, as SQS writes them.
    pub attributes: BTreeMap<String, String>,
    /// Attributes that name other queues, to set after every queue is created.
    pub redrive_attributes: BTreeMap<String, String>,
}

/// Properties with an attribute of the same name.
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

impl Reader<'_> {
    pub(super) fn queue(&mut self, resource: &Resource<'_>) -> Result<(), Fault> {
        let path = resource.properties_pointer();
        let properties = self.properties(&resource.body["Properties"], &path);
        let resolved = self.resolved(resource);
        let queue = Queue::read(&resolved.reference, &resolved.arn(), Props(&properties));
        let (mut attributes, mut redrive_attributes) = (BTreeMap::new(), BTreeMap::new());
        for (property, value) in Props(&properties).members() {
            let path = format!("{path}/{property}");
            let value = self.required(value, &path)?;
            let written = text(&value).unwrap_or_else(|| value.to_string());
            match property {
                "QueueName" | "Tags" => {}
                // AWS refuses `FifoQueue: false`; CloudFormation leaves it out.
                "FifoQueue" if written == "false" => {}
                name if ATTRIBUTES.contains(&name) => drop(attributes.insert(name.to_owned(), written)),
                name if REDRIVE_ATTRIBUTES.contains(&name) => drop(redrive_attributes.insert(name.to_owned(), written)),
                _ => self.notice(&path, "has no effect locally"),
            }
        }
        let visibility = format!("{path}/VisibilityTimeout");
        let visibility_s = self.number(&queue.visibility_s, &visibility, 0..=VISIBILITY_S_MAX)?;
        let (name, fifo) = (queue.name, queue.fifo.is(&true));
        if fifo != name.ends_with(".fifo") {
            let reason = "the name of a FIFO queue, and no other, ends with .fifo";
            return Err(self.fault(&format!("{path}/QueueName"), reason));
        }
        if let Some(other) = self.plan.queues.iter().find(|other| other.name == name) {
            let reason = format!("`{name}` is also the name of {}", other.logical_id);
            return Err(self.fault(&format!("{path}/QueueName"), reason));
        }
        let (logical_id, url, arn) = (self.id(resource), queue.url, queue.arn);
        self.plan.queues.push(QueuePlan {
            logical_id,
            name,
            url,
            arn,
            fifo,
            visibility_s,
            attributes,
            redrive_attributes,
        });
        Ok(())
    }
}

impl StackPlan {
    /// Adds a fault where a function may run longer than a message stays hidden: Lambda refuses such a mapping.
    pub(super) fn check_visibility(&self, stacks: &[Stack], faults: &mut Vec<Fault>) {
        for mapping in &self.mappings {
            let queue = self.queues.iter().find(|queue| queue.name == mapping.queue);
            let function = self.functions.iter().find(|function| function.name == mapping.function);
            let (Some(queue), Some(function)) = (queue, function) else { continue };
            if queue.visibility_s < function.timeout.as_secs() {
                let id = queue.logical_id.rsplit('/').next().unwrap_or_default();
                let prefix = queue.logical_id.strip_suffix(id).unwrap_or_default();
                let path = format!("/Resources/{id}/Properties/VisibilityTimeout");
                let reason = format!(
                    "the visibility timeout of {} s is shorter than the {} s {} may run; Lambda refuses that",
                    queue.visibility_s,
                    function.timeout.as_secs(),
                    function.name
                );
                let stack = stacks.iter().find(|stack| stack.prefix == prefix);
                faults.extend(stack.map(|stack| stack.resolver.fault(&path, reason)));
            }
        }
    }
}
