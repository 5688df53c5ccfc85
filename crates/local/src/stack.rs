//! The local stack: reads the template, creates the queues, builds and starts the functions, and opens the ports.
//!
//! All servers listen on the loopback address only and end with the [`Stack`], as do the functions' processes. Ports
//! are opened first, so a port conflict fails fast.

mod concurrency;
mod error;
mod functions;
#[cfg(feature = "kafka")]
mod kafka;
mod options;
mod planning;
mod ports;
mod provision;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
mod shared;
mod status;
#[cfg(test)]
mod tests;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sluicegate_lambda_emulator::{Function, MappingObserver, SqsMapping, SqsMappingSpec};
use sluicegate_sam::{JwtAuthorizer, MappingPlan, StackPlan};
use tokio::{net::TcpListener, task::JoinSet};

pub use concurrency::{CONCURRENCY_MAX, CONCURRENCY_MIN};
pub use error::{CreateError, StackError};
pub use options::Options;
pub use ports::Addresses;

#[cfg(not(feature = "kafka"))]
use crate::kafka::RunningKafka;
#[cfg(not(feature = "rabbitmq"))]
use crate::rabbitmq::Running;
use crate::{
    broker_faults::BrokerFaults,
    gateway::{self, Authorizer, Integration, Patience, RouteTable},
    kafka::PlannedKafka,
    mappings::{Mappings, RunningMapping},
    rabbitmq::{PlannedBroker, read_topology},
};
#[cfg(feature = "kafka")]
use kafka::RunningKafka;
use ports::Ports;
#[cfg(feature = "rabbitmq")]
use rabbitmq::Running;
use shared::Shared;

/// Limit for invocations in flight when the stack stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// A running stack.
pub struct Stack {
    addresses: Addresses,
    routes: Vec<String>,
    authorizers: Vec<JwtAuthorizer>,
    functions: BTreeMap<String, Function>,
    mappings: Mappings,
    faults: BrokerFaults,
    rabbitmq: Option<Running>,
    kafka: Option<RunningKafka>,
    /// The servers and the watcher; they end with this set.
    tasks: JoinSet<()>,
}

impl Stack {
    /// Starts all parts and waits until every function has started.
    ///
    /// # Errors
    /// See [`StackError`]. Parts already started are stopped.
    pub async fn start(options: Options) -> Result<Self, StackError> {
        let text = planning::read(&options.template)?;
        let mut ports = Ports::open(&options).await?;
        let broker = options.rabbitmq.as_ref().map(PlannedBroker::choose).transpose()?;
        if let Some(broker) = &broker {
            ports.addresses.add(broker);
        }
        let kafka = options.kafka.as_ref().map(PlannedKafka::choose).transpose()?;
        if let Some(kafka) = &kafka {
            ports.addresses.add_kafka(kafka);
        }
        let settings = planning::settings(&options, &text, &ports.addresses.aws, broker.as_ref(), kafka.as_ref());
        let plan = planning::plan(&options, &text, &settings, broker.as_ref()).await?;
        let topology = if broker.is_some() { read_topology(&options.template)? } else { None };
        let shared = Shared::new(&options, &plan, &ports.addresses.aws)?;
        // Not before: a command without DynamoDB is built again here, and has other ports then.
        options.terminal.starting(&ports.addresses);

        let counts = broker.as_ref().map(|broker| broker.counts(topology.as_ref(), &plan));
        let topic_counts = kafka.as_ref().map(|kafka| kafka.counts(&plan));
        shared.mark_down(&plan, &options);
        let build = async {
            // Before the first build, so that no change is missed.
            let seen = tokio::task::spawn_blocking({
                let (template, functions) = (options.template.clone(), plan.functions.clone());
                move || watch::fingerprints(&template, &functions)
            });
            let seen = seen.await.unwrap_or_default();
            Ok::<_, StackError>((seen, functions::build(&options, &plan.functions).await?))
        };
        // The queues, the servers and the node start while cargo builds.
        let mut tasks = JoinSet::new();
        let start = async {
            let plan = planning::with_queues(&options, &text, settings, &plan, &shared.client).await?;
            shared.create_tables(&plan, options.endpoint_url.as_deref()).await?;
            shared.create_buckets(&plan, options.endpoint_url.as_deref()).await?;
            let admin = shared.admin(&plan, &ports.addresses, counts, topic_counts);
            if let Some(status) = shared.terminal.status() {
                tasks.spawn(status::show(status, admin.clone()));
            }
            tasks.spawn(shared.serve_admin(ports.admin, admin));
            shared.aws(ports.aws, &plan).into_iter().for_each(|server| drop(tasks.spawn(server)));
            let rabbitmq = match broker {
                Some(broker) => {
                    Some(broker.run(topology.as_ref(), &shared.terminal, &shared.journal, &shared.faults).await?)
                }
                None => None,
            };
            let kafka = match kafka {
                Some(kafka) => {
                    let remote = options.endpoint_url.clone();
                    Some(kafka.run(&plan, &shared.terminal, &shared.journal, remote).await?)
                }
                None => None,
            };
            Ok((plan, rabbitmq, kafka))
        };
        let ((seen, executables), (plan, rabbitmq, kafka)) = tokio::try_join!(build, start)?;
        shared.mark_broker_up();
        let specs = functions::specs(&options, &plan.functions, &executables, &ports.addresses)?;
        let functions = functions::start(specs, &shared).await?;

        let (addresses, routes) = (ports.addresses, Vec::new());
        let (mappings, faults) = (shared.mappings.clone(), shared.faults.clone());
        let authorizers = authorizers(&plan);
        let mut stack = Self { addresses, routes, authorizers, functions, mappings, faults, rabbitmq, kafka, tasks };
        stack.start_mappings(&plan, &shared)?;
        stack.open_gateway(ports.gateway, &plan, &shared, &options);
        if options.watch && options.binaries.is_none() {
            let functions = stack.functions.clone();
            let watched = watch::Watched { functions, running: shared.functions, health: shared.health };
            stack.tasks.spawn(watch::watch(options, plan.functions, seen, executables, watched));
        }
        Ok(stack)
    }

    /// Returns its addresses.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns the HTTP API's routes, such as `POST /orders`.
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// Returns its JWT authorizers, each with the scopes of every route that it is in front of.
    pub fn authorizers(&self) -> &[JwtAuthorizer] {
        &self.authorizers
    }

    /// Closes the ports, waits briefly for invocations in flight, and returns when every process has ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        // A node that hangs would delay the mappings' end.
        self.faults.freeze_node(false);
        let mut stopping = JoinSet::new();
        self.mappings.stop(&mut stopping);
        let all = async { while stopping.join_next().await.is_some() {} };
        // Invocations still in flight are aborted with the mappings.
        let _ = tokio::time::timeout(STOP_PATIENCE, all).await;
        stopping.abort_all();
        let mut stopping = JoinSet::new();
        for function in std::mem::take(&mut self.functions).into_values() {
            stopping.spawn(async move { function.stop().await });
        }
        while stopping.join_next().await.is_some() {}
        if let Some(rabbitmq) = self.rabbitmq.take() {
            rabbitmq.stop().await;
        }
        if let Some(kafka) = self.kafka.take() {
            kafka.stop().await;
        }
    }

    /// Starts a mapping for each event from SQS, RabbitMQ and Kafka.
    fn start_mappings(&self, plan: &StackPlan, shared: &Shared) -> Result<(), StackError> {
        for mapping in &plan.mappings {
            self.start_sqs_mapping(mapping, plan, shared)?;
        }
        if let Some(rabbitmq) = &self.rabbitmq {
            rabbitmq.map(plan, &self.functions, &shared.terminal, &self.mappings)?;
        }
        match &self.kafka {
            Some(kafka) => kafka.map(plan, &self.functions, &shared.client, &shared.terminal, &self.mappings),
            None => Ok(()),
        }
    }

    fn start_sqs_mapping(&self, mapping: &MappingPlan, plan: &StackPlan, shared: &Shared) -> Result<(), StackError> {
        let queue = plan.queues.iter().find(|queue| queue.name == mapping.queue);
        let (Some(queue), Some(function)) = (queue, self.functions.get(&mapping.function)) else { return Ok(()) };
        let spec = SqsMappingSpec {
            function: mapping.function.clone(),
            queue_name: queue.name.clone(),
            queue_arn: queue.arn.clone(),
            queue_url: queue.url.clone(),
            batch_size: mapping.batch_size,
            batching_window: mapping.batching_window,
            maximum_concurrency: mapping.maximum_concurrency,
            report_batch_item_failures: mapping.report_batch_item_failures,
            filters: mapping.filters.clone(),
            fifo: queue.fifo,
        };
        let journal = shared.journal.clone();
        let observer: MappingObserver = Arc::new(move |event: &_| journal.mapping_event(event));
        let (client, function) = (shared.client.clone(), function.clone());
        let start = Box::new(move || {
            let started = SqsMapping::start(spec.clone(), client.clone(), function.clone(), Arc::clone(&observer));
            started.map(RunningMapping::Sqs)
        });
        let started = self.mappings.start(&mapping.function, &queue.name, start);
        started.map_err(|error| StackError::Filter { queue: queue.name.clone(), error })
    }

    /// Opens the gateway, which passes the ids of 202 answers to the logs of messages.
    fn open_gateway(&mut self, listener: TcpListener, plan: &StackPlan, shared: &Shared, options: &Options) {
        self.routes = plan.routes.iter().map(|route| route.key.clone()).collect();
        let integrations = plan.routes.iter().filter_map(|route| {
            let function = self.functions.get(&route.function)?.clone();
            let authorizer = route.authorizer.clone().zip(options.verify_token.clone());
            let authorizer = authorizer.map(|(settings, verify)| Authorizer { settings, verify });
            Some((route.key.clone(), Integration { function, timeout: route.timeout, authorizer }))
        });
        let routes = RouteTable::new(integrations);
        let answers = match (&self.rabbitmq, &self.kafka) {
            (Some(rabbitmq), _) => rabbitmq.answers(),
            (None, Some(kafka)) => kafka.answers(),
            (None, None) => shared.answers(options.endpoint_url.clone()),
        };
        let server = gateway::serve(listener, routes, shared.observer(answers), Patience::default());
        self.tasks.spawn(shared::serve("gateway", shared.terminal.clone(), server));
    }
}

/// Returns the authorizers of routes, each once, with the scopes of all its routes.
fn authorizers(plan: &StackPlan) -> Vec<JwtAuthorizer> {
    let mut authorizers: Vec<JwtAuthorizer> = Vec::new();
    for authorizer in plan.routes.iter().filter_map(|route| route.authorizer.as_ref()) {
        match authorizers.iter_mut().find(|known| known.name == authorizer.name) {
            Some(known) => known.scopes.extend(authorizer.scopes.iter().cloned()),
            None => authorizers.push(authorizer.clone()),
        }
    }
    for authorizer in &mut authorizers {
        authorizer.scopes.sort();
        authorizer.scopes.dedup();
    }
    authorizers
}
