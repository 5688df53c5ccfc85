//! The resources that messages pass, as plain data: one form for SAM's resources with their events, for what SAM makes of them,
//! and for what is deployed.

mod access;
mod alarm;
mod api;
mod function;
mod mapping;
mod network;
mod queue;
mod watch;

use sluicegate_contract::{Contract, binding_variable};

use crate::{
    Project,
    inventory::{Inventory, Origin},
    setting::Setting,
};

pub(crate) use access::{Access, Policies};
pub(crate) use alarm::{Alarm, Metric, Topic};
pub(crate) use api::{Api, Url};
pub(crate) use function::{Function, TIMEOUT_S_DEFAULT};
pub(crate) use mapping::{BATCH_SIZE_DEFAULT, Mapping, Source};
pub(crate) use network::{Group, Network};
pub(crate) use queue::{MESSAGE_BYTES_DEFAULT, Queue, RETENTION_S_DEFAULT, Redrive};
pub(crate) use watch::{Broker, DAYS_UNCHANGED, LogGroup, Secret, VERSIONS};

/// All that checks look at.
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
    /// How many environments the account may run at once.
    pub(crate) account_concurrency: Option<u64>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) network: Network,
    /// Functions, and what their deployments do with the deployment's role.
    pub(crate) deployments: Vec<(Origin, &'static str, Access)>,
    /// Keys that are written twice.
    pub(crate) repeated: &'a [(Origin, String)],
    /// There are nested stacks that could not be looked into: what is not here may be there.
    pub(crate) hidden: bool,
    /// Some key's own policy allows its use to others than who its account's policies name.
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
            // A consumer may have such a variable for purposes of its own, or from the globals.
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
            log_groups: watch::log_groups(inventory),
            secrets: watch::secrets(inventory),
            brokers: watch::brokers(inventory),
            functions,
            hidden: inventory.hidden,
            keys_opened: watch::keys_opened(inventory),
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

    /// The queue with this ARN.
    pub(crate) fn queue(&self, arn: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.arn == arn)
    }

    /// The function with this name.
    pub(crate) fn function(&self, name: &str) -> Option<&Function> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// Each event source mapping from one of the queues, with both of its ends.
    pub(crate) fn consumed(&self) -> impl Iterator<Item = (&Queue, &Mapping, &Function)> {
        self.mappings.iter().filter_map(|mapping| {
            let Source::Sqs { queue: Setting::Known(arn) } = &mapping.source else { return None };
            Some((self.queue(arn)?, mapping, self.function(mapping.function.as_ref().known()?)?))
        })
    }

    /// Each event source mapping from a RabbitMQ broker, with its function.
    pub(crate) fn fed_by_brokers(&self) -> impl Iterator<Item = (&Mapping, &Function)> {
        self.mappings.iter().filter_map(|mapping| {
            let Source::Mq { .. } = &mapping.source else { return None };
            Some((mapping, self.function(mapping.function.as_ref().known()?)?))
        })
    }

    /// Whether something works the messages of this queue off.
    pub(crate) fn is_consumed(&self, queue: &Queue) -> bool {
        self.consumed().any(|(consumed, ..)| consumed.arn == queue.arn)
    }

    /// Each queue with the queue its messages are given up to, as far as both are here.
    pub(crate) fn redriven(&self) -> impl Iterator<Item = (&Queue, &Redrive, &Queue)> {
        self.queues.iter().filter_map(|queue| {
            let Setting::Known(redrive) = &queue.redrive else { return None };
            Some((queue, redrive, self.queue(redrive.target.as_ref().known()?)?))
        })
    }

    /// The queues that messages are given up to.
    pub(crate) fn dead_letter_queues(&self) -> Vec<&Queue> {
        let mut found: Vec<&Queue> = Vec::new();
        for (_, _, target) in self.redriven() {
            if !found.iter().any(|known| known.arn == target.arn) {
                found.push(target);
            }
        }
        found
    }

    /// Whether messages are given up to this queue, and nothing works it off.
    pub(crate) fn rests(&self, queue: &Queue) -> bool {
        !self.is_consumed(queue) && self.redriven().any(|(_, _, target)| target.arn == queue.arn)
    }

    /// The queue with this URL. Hosts differ between endpoints, account and name do not.
    pub(crate) fn queue_at(&self, url: &str) -> Option<&Queue> {
        let mut parts = url.rsplit('/');
        let (name, account) = (parts.next()?, parts.next()?);
        self.queues.iter().find(|queue| queue.arn.ends_with(&format!(":{account}:{name}")))
    }

    /// Each function with a variable that binds one of the queues, and the queue.
    pub(crate) fn senders(&self) -> impl Iterator<Item = (&Function, &str, &Queue)> {
        self.functions.iter().flat_map(move |function| {
            let queue = |value: &Setting<String>| self.queue_at(value.as_ref().known()?);
            function.bindings().filter_map(move |(variable, value)| Some((function, variable, queue(value)?)))
        })
    }

    /// The queues that the logical queue `name` is bound to.
    pub(crate) fn bound(&self, name: &str) -> Vec<&Queue> {
        let wanted = binding_variable(name);
        self.senders().filter(|(_, variable, _)| *variable == wanted).map(|(.., queue)| queue).collect()
    }
}

/// The names of the variables that bind a logical queue: those of the contract's queues, and others with the value of a binding,
/// except the name that functions of every make use for their own queue.
fn binds(function: &Function, contract: Option<&Contract>) -> Vec<String> {
    let contracted: Vec<String> = contract.into_iter().flat_map(Contract::queues).map(binding_variable).collect();
    let is_binding = |name: &&String| {
        let value = function.variable(name).known();
        let looks = value.is_some_and(|value| value.contains("://") || value.starts_with("rabbitmq:"));
        contracted.contains(name) || (looks && name.starts_with("QUEUE_") && *name != "QUEUE_URL")
    };
    function.environment.keys().filter(is_binding).cloned().collect()
}
