//! `AWS::SQS::Queue`, with the policies on it.

use std::ops::Deref;

use serde_json::Value;
use sluicegate_sam::{Props, Setting};

use super::access::matches;
use crate::inventory::{Inventory, Origin, Resource};

/// One queue: its settings, its place, and the policies on it.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) origin: Origin,
    settings: sluicegate_sam::Queue,
    /// A queue policy may allow what roles do not.
    pub(crate) opened: bool,
    /// What queue policies deny without a condition.
    pub(crate) denials: Vec<Denial>,
}

impl Deref for Queue {
    type Target = sluicegate_sam::Queue;

    fn deref(&self) -> &Self::Target {
        &self.settings
    }
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
            let listed = policy.props().listed("Queues");
            listed.into_iter().chain(Some(policy.props().text("Queue")).filter(Setting::is_written))
        })
        .collect()
}

fn queue(resource: &Resource, opened: &[Setting<String>], denials: Vec<Denial>) -> Queue {
    let props = resource.props();
    let opens = |url: &Setting<String>| url.is_unknown() || *url == Setting::Known(resource.reference.clone());
    Queue {
        origin: resource.origin.clone(),
        settings: sluicegate_sam::Queue::read(&resource.reference, &resource.arn, props),
        opened: opened.iter().any(opens) || props.get("Policy").is_written(),
        denials,
    }
}
