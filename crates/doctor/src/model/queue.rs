//! `AWS::SQS::Queue`. SQS gives attributes the names of CloudFormation's properties, so one reader serves both.

use serde_json::Value;

use super::access::matches;
use crate::{
    inventory::{Inventory, Origin, Resource},
    setting::{Props, Setting, text},
};

/// Four days. <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_CreateQueue.html>
pub(crate) const RETENTION_S_DEFAULT: u64 = 345_600;
/// Same page: 1 MiB.
pub(crate) const MESSAGE_BYTES_DEFAULT: u64 = 1_048_576;

/// One queue.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) origin: Origin,
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) fifo: bool,
    pub(crate) visibility_s: Setting<u64>,
    pub(crate) retention_s: Setting<u64>,
    pub(crate) message_bytes_max: Setting<u64>,
    pub(crate) delay_s: Setting<u64>,
    pub(crate) redrive: Setting<Redrive>,
    pub(crate) redrive_allow: Setting<RedriveAllow>,
    pub(crate) deduplication_scope: Setting<String>,
    pub(crate) throughput_limit: Setting<String>,
    pub(crate) managed_encryption: Setting<bool>,
    /// The key's id, ARN or alias.
    pub(crate) kms_key: Setting<String>,
    /// A queue policy may allow what roles do not.
    pub(crate) opened: bool,
    /// What queue policies deny without a condition.
    pub(crate) denials: Vec<Denial>,
}

/// A statement of a queue's policy that denies.
#[derive(Clone, Debug)]
pub(crate) struct Denial {
    actions: Vec<String>,
    /// Principals; `*` is everyone.
    principals: Vec<String>,
}

impl Denial {
    /// Returns whether it denies the action to a role; the ARN of a role that SAM makes is not known.
    pub(crate) fn denies(&self, action: &str, role: Option<&str>) -> bool {
        let everyone = |principal: &String| principal == "*" || principal.ends_with(":root");
        let named = |principal: &String| everyone(principal) || Some(principal.as_str()) == role;
        self.principals.iter().any(named)
            && self.actions.iter().any(|pattern| matches(&pattern.to_lowercase(), &action.to_lowercase()))
    }
}

/// `RedrivePolicy`
#[derive(Debug)]
pub(crate) struct Redrive {
    /// The dead-letter queue's ARN.
    pub(crate) target: Setting<String>,
    pub(crate) receives_max: Setting<u64>,
}

/// `RedriveAllowPolicy`
#[derive(Debug)]
pub(crate) struct RedriveAllow {
    pub(crate) permission: Setting<String>,
    /// The sources' ARNs.
    pub(crate) sources: Vec<Setting<String>>,
}

/// Returns what the policies of the queue with this URL deny. Statements with a condition, or with `NotAction` and the
/// like, may spare the role and are left out.
fn denials(inventory: &Inventory, url: &str) -> Vec<Denial> {
    let own = |policy: &&Resource| {
        let listed = policy.props().texts("Queues").or(Vec::new()).unwrap_or_default();
        let single = policy.props().text("Queue");
        listed.into_iter().chain(Some(single)).any(|queue| queue == Setting::Known(url.to_owned()))
    };
    let policies = ["AWS::SQS::QueuePolicy", "AWS::SQS::QueueInlinePolicy"].into_iter();
    let policies = policies.flat_map(|kind| inventory.of_kind(kind)).filter(own);
    let statements = policies.filter_map(|policy| policy.props().object("PolicyDocument").items("Statement").known());
    let known = |texts: Setting<Vec<Setting<String>>>| {
        texts.known().unwrap_or_default().into_iter().filter_map(Setting::known).collect::<Vec<_>>()
    };
    let denial = |statement: &Value| {
        let statement = Props(statement);
        let open = ["Condition", "NotAction", "NotPrincipal", "NotResource"];
        if statement.text("Effect").known()? != "Deny" || open.iter().any(|name| statement.get(name).is_written()) {
            return None;
        }
        let principals = match statement.text("Principal") {
            Setting::Known(everyone) => vec![everyone],
            _ => known(statement.object("Principal").texts("AWS")),
        };
        Some(Denial { actions: known(statement.texts("Action")), principals })
    };
    statements.flatten().filter_map(denial).collect()
}

pub(super) fn all(inventory: &Inventory) -> Vec<Queue> {
    let opened = opened(inventory);
    let queue = |resource: &Resource| queue(resource, &opened, denials(inventory, &resource.reference));
    inventory.of_kind("AWS::SQS::Queue").map(queue).collect()
}

/// Returns the URLs of the queues that have a policy of their own.
fn opened(inventory: &Inventory) -> Vec<Setting<String>> {
    let policies = ["AWS::SQS::QueuePolicy", "AWS::SQS::QueueInlinePolicy"].into_iter();
    let policies = policies.flat_map(|kind| inventory.of_kind(kind));
    policies
        .flat_map(|policy| {
            let listed = policy.props().texts("Queues").or(Vec::new()).unwrap_or_else(|| vec![Setting::Unknown]);
            listed.into_iter().chain(Some(policy.props().text("Queue")).filter(Setting::is_written))
        })
        .collect()
}

fn queue(resource: &Resource, opened: &[Setting<String>], denials: Vec<Denial>) -> Queue {
    let props = resource.props();
    let name = resource.reference.rsplit('/').next().unwrap_or_default().to_owned();
    Queue {
        origin: resource.origin.clone(),
        fifo: props.flag("FifoQueue").known().unwrap_or(false) || name.ends_with(".fifo"),
        name,
        arn: resource.arn.clone(),
        visibility_s: props.number("VisibilityTimeout"),
        retention_s: props.number("MessageRetentionPeriod"),
        message_bytes_max: props.number("MaximumMessageSize"),
        delay_s: props.number("DelaySeconds"),
        redrive: policy(props, "RedrivePolicy", |policy| Redrive {
            target: policy.text("deadLetterTargetArn"),
            receives_max: policy.number("maxReceiveCount"),
        }),
        redrive_allow: policy(props, "RedriveAllowPolicy", |policy| RedriveAllow {
            permission: policy.text("redrivePermission"),
            sources: policy.texts("sourceQueueArns").or(Vec::new()).unwrap_or_else(|| vec![Setting::Unknown]),
        }),
        deduplication_scope: props.text("DeduplicationScope"),
        throughput_limit: props.text("FifoThroughputLimit"),
        managed_encryption: props.flag("SqsManagedSseEnabled"),
        kms_key: props.text("KmsMasterKeyId"),
        opened: opened.iter().any(|url| *url == Setting::Unknown || *url == Setting::Known(resource.reference.clone()))
            || props.get("Policy").is_written(),
        denials,
    }
}

/// Returns a policy as an object; it may be written as JSON text.
fn policy<T>(props: Props<'_>, name: &str, read: impl FnOnce(Props<'_>) -> T) -> Setting<T> {
    match props.get(name) {
        Setting::Absent => Setting::Absent,
        Setting::Unknown => Setting::Unknown,
        Setting::Known(value) if value.is_object() => Setting::Known(read(Props(value))),
        Setting::Known(value) => match text(value).and_then(|text| serde_json::from_str::<Value>(&text).ok()) {
            Some(parsed) => Setting::Known(read(Props(&parsed))),
            None => Setting::Unknown,
        },
    }
}
