//! The resources on the way of a message as plain data: one form for SAM's resources with their events, for the
//! resources that SAM generates, and for deployed ones.

mod access;
mod alarm;
mod api;
mod function;
mod mapping;
mod network;
mod queue;
mod resources;

use sluicegate_contract::{Contract, binding_variable};
use sluicegate_sam::{Setting, Source};

use crate::{
    Project,
    inventory::{Inventory, Origin},
};

pub(crate) use access::{Access, Policies};
pub(crate) use alarm::{Alarm, Metric, Topic};
pub(crate) use api::{Api, Url};
pub(crate) use function::Function;
pub(crate) use mapping::Mapping;
pub(crate) use network::{Network, SecurityGroup};
pub(crate) use queue::Queue;
pub(crate) use resources::{Broker, DAYS_UNCHANGED, LogGroup, Secret, VERSIONS};

/// The input of the checks.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    pub(crate) queues: Vec<Queue>,
    pub(crate) functions: Vec<Function>,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) apis: Vec<Api>,
    pub(crate) urls: Vec<Url>,
    pub(crate) alarms: Vec<Alarm>,
    pub(crate) log_groups: Vec<LogGroup>,
    pub(crate) secrets: Vec<Secret>,
    pub(crate) brokers: Vec<Broker>,
    pub(crate) changes: &'a [(Origin, String)],
    /// Values of parameters that CloudFormation refuses.
    pub(crate) refused: &'a [(Origin, String)],
    /// The account's limit of concurrent environments.
    pub(crate) account_concurrency: Option<u64>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) network: Network,
    /// Deployments of functions, with the property of their role and its permissions.
    pub(crate) deployments: Vec<(Origin, &'static str, Access)>,
    /// Duplicate keys.
    pub(crate) repeated: &'a [(Origin, String)],
    /// Some nested stacks could not be read, so a missing resource may exist there.
    pub(crate) hidden: bool,
    /// Some key's policy allows its use beyond the account's IAM policies.
    pub(crate) keys_opened: bool,
    pub(crate) project: &'a Project,
}

impl<'a> Model<'a> {
    pub(crate) fn of(inventory: &'a Inventory, project: &'a Project) -> Self {
        let policies = Policies::of(inventory);
        let mut functions = function::all(inventory, &policies);
        let (mappings, apis, contract) = (mapping::all(inventory), api::all(inventory), project.contract.as_ref());
        for function in &mut functions {
            let fed = mappings.iter().any(|mapping| mapping.function.as_ref().known() == Some(&function.name));
            let routed =
                apis.iter().flat_map(|api| &api.routes).any(|route| route.function.as_ref() == Some(&function.name));
            // A consumer may have such a variable for another purpose, or from the globals.
            if routed || !fed {
                function.binds = binds(function, contract);
            }
        }
        Self {
            queues: queue::all(inventory),
            mappings,
            apis,
            urls: api::urls(inventory),
            alarms: alarm::all(inventory),
            log_groups: resources::log_groups(inventory),
            secrets: resources::secrets(inventory),
            brokers: resources::brokers(inventory),
            functions,
            hidden: inventory.hidden,
            keys_opened: resources::keys_opened(inventory),
            changes: &inventory.changes,
            refused: &inventory.refused,
            account_concurrency: inventory.account_concurrency,
            topics: alarm::topics(inventory),
            network: network::network(inventory),
            deployments: function::deployments(inventory, &policies),
            repeated: &inventory.repeated,
            project,
        }
    }

    /// Returns the queue with this ARN.
    pub(crate) fn queue(&self, arn: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.arn == arn)
    }

    /// Returns the function with this name.
    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Returns each event source mapping from one of the queues, with queue and function.
    pub(crate) fn consumed(&self) -> impl Iterator<Item = (&Queue, &Mapping, &Function)> {
        self.mappings.iter().filter_map(|mapping| {
            let Source::Sqs { queue: Setting::Known(arn) } = &mapping.source else { return None };
            Some((self.queue(arn)?, mapping, self.function(mapping.function.as_ref().known()?)?))
        })
    }

    /// Returns each event source mapping from a RabbitMQ broker, with its function.
    pub(crate) fn fed_by_brokers(&self) -> impl Iterator<Item = (&Mapping, &Function)> {
        self.mappings.iter().filter_map(|mapping| {
            let Source::Mq { .. } = &mapping.source else { return None };
            Some((mapping, self.function(mapping.function.as_ref().known()?)?))
        })
    }

    /// Returns whether an event source mapping consumes the queue.
    pub(crate) fn is_consumed(&self, queue: &Queue) -> bool {
        self.consumed().any(|(consumed, ..)| consumed.arn == queue.arn)
    }

    /// Returns each queue with its dead-letter queue, where both are known.
    pub(crate) fn redriven(&self) -> impl Iterator<Item = (&Queue, &sluicegate_sam::Redrive, &Queue)> {
        self.queues.iter().filter_map(|queue| {
            let Setting::Known(redrive) = &queue.redrive else { return None };
            Some((queue, redrive, self.queue(redrive.target.as_ref().known()?)?))
        })
    }

    /// Returns the dead-letter queues.
    pub(crate) fn dead_letter_queues(&self) -> Vec<&Queue> {
        let mut found: Vec<&Queue> = Vec::new();
        for (_, _, target) in self.redriven() {
            if !found.iter().any(|known| known.arn == target.arn) {
                found.push(target);
            }
        }
        found
    }

    /// Returns whether this is a dead-letter queue without a consumer.
    pub(crate) fn rests(&self, queue: &Queue) -> bool {
        !self.is_consumed(queue) && self.redriven().any(|(_, _, target)| target.arn == queue.arn)
    }

    /// Returns the queue with this URL. Hosts differ between endpoints, account and name do not.
    pub(crate) fn queue_at(&self, url: &str) -> Option<&Queue> {
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next()?, parts.next()?);
        self.queues.iter().find(|queue| queue.arn.ends_with(&format!(":{account}:{name}")))
    }

    /// Returns each function with a variable that binds one of the queues, and the queue.
    pub(crate) fn senders(&self) -> impl Iterator<Item = (&Function, &str, &Queue)> {
        self.functions.iter().flat_map(move |function| {
            let queue = |value: &Setting<String>| self.queue_at(value.as_ref().known()?);
            function.bindings().filter_map(move |(variable, value)| Some((function, variable, queue(value)?)))
        })
    }

    /// Returns the queues that the logical queue `name` is bound to.
    pub(crate) fn bound(&self, name: &str) -> Vec<&Queue> {
        let wanted = binding_variable(name);
        self.senders().filter(|(_, variable, _)| *variable == wanted).map(|(.., queue)| queue).collect()
    }
}

/// Returns the names of the variables that bind a logical queue: those of the contract's queues, and others with the
/// value of a binding, except `QUEUE_URL`, which many functions use for another purpose.
fn binds(function: &Function, contract: Option<&Contract>) -> Vec<String> {
    let contracted: Vec<String> = contract.into_iter().flat_map(Contract::queues).map(binding_variable).collect();
    let is_binding = |name: &String| {
        let value = function.variable(name).known();
        let looks = value.is_some_and(|value| value.contains("://") || value.starts_with("rabbitmq:"));
        contracted.contains(name) || (looks && name.starts_with("QUEUE_") && name != "QUEUE_URL")
    };
    function.variables().map(|(name, _)| name.to_owned()).filter(is_binding).collect()
}
