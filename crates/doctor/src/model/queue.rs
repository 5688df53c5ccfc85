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
    /// It has a queue policy, which may allow what roles do not.
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
    /// Returns whether it denies the action to the role with this ARN. The ARN of a role that SAM generates is unknown.
    pub(crate) fn denies(&self, action: &str, role: Option<&str>) -> bool {
        let everyone = |principal: &String| principal == "*" || principal.ends_with(":root");
        let named = |principal: &String| everyone(principal) || Some(principal.as_str()) == role;
        self.principals.iter().any(named)
            && self.actions.iter().any(|pattern| matches(&pattern.to_lowercase(), &action.to_lowercase()))
    }
}

/// Returns what the policies of the queue with this URL deny. Statements with a condition, `NotAction`, `NotPrincipal`
/// or `NotResource` may not apply to the role and are left out.
fn denials(inventory: &Inventory, url: &str) -> Vec<Denial> {
    let own = |policy: &&Resource| targets(policy).iter().any(|queue| queue.is(url));
    let statements = policies(inventory)
        .filter(own)
        .filter_map(|policy| policy.props().object("PolicyDocument").items("Statement").known());
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
    let with_policy: Vec<Setting<String>> = policies(inventory).flat_map(targets).collect();
    let queue = |resource: &Resource| {
        let (url, props) = (&resource.reference, resource.props());
        let opens = |target: &Setting<String>| target.is_unknown() || target.is(url);
        Queue {
            origin: resource.origin.clone(),
            settings: sluicegate_sam::Queue::read(url, &resource.arn, props),
            opened: with_policy.iter().any(opens) || props.get("Policy").is_written(),
            denials: denials(inventory, url),
        }
    };
    inventory.of_kind("AWS::SQS::Queue").map(queue).collect()
}

fn policies(inventory: &Inventory) -> impl Iterator<Item = &Resource> {
    ["AWS::SQS::QueuePolicy", "AWS::SQS::QueueInlinePolicy"].into_iter().flat_map(|kind| inventory.of_kind(kind))
}

/// Returns the URLs of the queues that a policy is for.
fn targets(policy: &Resource) -> Vec<Setting<String>> {
    let mut targets = policy.props().listed("Queues");
    targets.extend(Some(policy.props().text("Queue")).filter(Setting::is_written));
    targets
}
