//! The local stack: reads the template, creates the queues, builds and starts the functions, and opens the ports.
//!
//! Everything listens on the loopback address only and ends with the [`Stack`]: no process of a function outlives it.
//! Ports are opened first, so a port conflict fails fast.

mod concurrency;
mod error;
mod functions;
mod options;
mod ports;
mod provision;
mod rabbitmq;
#[cfg(test)]
mod tests;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use http::StatusCode;
use serde::Deserialize;
use sluicegate_lambda_emulator::{Function, RemoteSqs, SqsClient, SqsMapping, SqsMappingSpec};
use sluicegate_sam::{MappingPlan, Notice, Plan, REGION, Settings};
use sqs_emulator::{Clock, Sqs, SqsConfig};
use tokio::{net::TcpListener, task::JoinSet};

pub(crate) use concurrency::concurrency_default;
pub use concurrency::{CONCURRENCY_MAX, CONCURRENCY_MIN};
pub use error::StackError;
pub use options::Options;
pub use ports::Addresses;

use crate::{
    admin::{self, Admin, Health},
    aws,
    gateway::{self, Integration, Patience, RouteTable},
    journal::Journal,
    metrics::Metrics,
    rabbitmq::{PlannedBroker, read_topology},
    secrets, sources,
    terminal::Terminal,
};
use ports::Ports;

/// The template's parameter that chooses the broker.
pub(crate) const BROKER_PARAMETER: &str = "Broker";
/// The environment variable with RabbitMQ's URL.
const RABBITMQ_URL: &str = "RABBITMQ_URL";
/// The environment variable with the ARN of the URL's secret in the cloud; functions prefer [`RABBITMQ_URL`].
const RABBITMQ_SECRET_ARN: &str = "RABBITMQ_SECRET_ARN";
/// The broker's name in [`Health`].
const RABBITMQ: &str = "RabbitMQ";
/// Limit for invocations in flight when the stack stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// A running stack.
pub struct Stack {
    addresses: Addresses,
    routes: Vec<String>,
    functions: BTreeMap<String, Function>,
    mappings: Vec<SqsMapping>,
    rabbitmq: Option<rabbitmq::Running>,
    /// The servers and the watcher; they end with this set.
    tasks: JoinSet<()>,
}

impl Stack {
    /// Starts everything and waits until every function is up.
    ///
    /// # Errors
    /// See [`StackError`]. Parts already started are stopped.
    pub async fn start(options: Options) -> Result<Self, StackError> {
        let terminal = options.terminal.clone();
        let text = std::fs::read_to_string(&options.template)
            .map_err(|source| StackError::Template { path: options.template.clone(), source })?;
        let mut ports = Ports::open(&options).await?;
        let broker = options.rabbitmq.as_ref().map(PlannedBroker::choose).transpose()?;
        if let Some(broker) = &broker {
            ports.addresses.rabbitmq = Some(broker.public_url());
            let management = broker.endpoint().management();
            ports.addresses.rabbitmq_management = management.map(|management| management.url().to_owned());
        }
        let file = options.template.display().to_string();
        let mut settings = Settings {
            parameters: options.parameters.clone(),
            environment: options.environment.clone(),
            queue_url_base: ports.addresses.aws.clone(),
            physical: BTreeMap::new(),
        };
        if let Some(broker) = &broker {
            settings.parameters.entry(BROKER_PARAMETER.to_owned()).or_insert_with(|| "rabbitmq".to_owned());
            settings.environment.insert(RABBITMQ_URL.to_owned(), broker.endpoint().url());
            settings.environment.entry(RABBITMQ_SECRET_ARN.to_owned()).or_insert_with(|| "none-is-needed".to_owned());
        }
        let mut plan = Plan::read(&file, &text, &settings)?;
        if options.binaries.is_none() {
            functions::name_binaries(&options.template, &mut plan.functions).await?;
        }
        print_notices(&terminal, &plan.notices);
        if let (Some(mapping), None) = (plan.mq_mappings.first(), &broker) {
            return Err(StackError::NoBroker { function: mapping.function.clone() });
        }
        let topology = if broker.is_some() { read_topology(&options.template)? } else { None };
        terminal.line(&ports.addresses);

        let journal = Journal::new(provision::dead_letter_queues(&plan), {
            let terminal = terminal.clone();
            Arc::new(move |id: &str, step: &_| terminal.step(id, step))
        });
        let client = match &options.endpoint_url {
            Some(url) => SqsClient::Remote(RemoteSqs::new(url, REGION)?),
            None => SqsClient::Emulated(emulated(&ports.addresses.aws, &journal)),
        };
        settings.physical = provision::create(&client, &plan, options.endpoint_url.as_deref()).await?;
        let functions = std::mem::take(&mut plan.functions);
        let mut plan = Plan::read(&file, &text, &settings)?;
        for (function, named) in plan.functions.iter_mut().zip(functions) {
            function.binary = named.binary;
        }
        provision::set_redrive(&client, &plan).await?;

        let mut tasks = JoinSet::new();
        let health = Health::default();
        for function in &plan.functions {
            health.down(&function.name, "being built");
        }
        if broker.is_some() {
            health.down(RABBITMQ, "starting");
        }
        let queues = plan.queues.iter().map(|queue| (queue.name.clone(), queue.url.clone())).collect();
        let counts = broker.as_ref().map(|broker| rabbitmq::counts(broker.endpoint(), topology.as_ref(), &plan));
        let metrics = Metrics::default();
        let admin = Admin {
            health: health.clone(),
            journal: journal.clone(),
            client: client.clone(),
            queues,
            dead_letter_queues: provision::dead_letter_queues(&plan),
            rabbitmq: counts,
            metrics: metrics.clone(),
        };
        tasks.spawn(serve("admin", terminal.clone(), admin::serve(ports.admin, admin)));
        if let (Some(listener), SqsClient::Emulated(sqs)) = (ports.aws, &client) {
            let server = aws::serve(listener, sqs.clone(), secrets::lookup(&plan.secrets));
            tasks.spawn(serve("aws", terminal.clone(), server));
        }

        let folders = functions::folders(&options.template, &plan.functions).into_keys();
        let seen = folders.map(|folder| (folder.clone(), sources::fingerprint(&sources::root(&folder)))).collect();
        let starting = async {
            match broker {
                Some(broker) => rabbitmq::start(broker, topology.as_ref(), &terminal, &journal).await.map(Some),
                None => Ok(None),
            }
        };
        // The node starts while cargo builds.
        let (executables, rabbitmq) = tokio::try_join!(functions::build(&options, &plan.functions), starting)?;
        health.up(RABBITMQ);
        let concurrency = options.concurrency.unwrap_or_else(|| concurrency_default(plan.functions.len()));
        let aws = &ports.addresses.aws;
        let specs =
            plan.functions.iter().map(|function| functions::spec(function, &executables, aws, &options, concurrency));
        let functions = functions::start(specs.collect(), &terminal, &health, &metrics).await?;
        let (addresses, routes, mappings) = (ports.addresses, Vec::new(), Vec::new());
        let mut stack = Self { addresses, routes, functions, mappings, rabbitmq, tasks };
        for mapping in &plan.mappings {
            stack.mappings.extend(stack.map(mapping, &plan, &client, &journal)?);
        }
        let answers = match &mut stack.rabbitmq {
            Some(rabbitmq) => {
                rabbitmq.map(&plan, &stack.functions, &terminal)?;
                rabbitmq.answers()
            }
            None => {
                let (journal, remote) = (journal.clone(), options.endpoint_url.clone());
                Arc::new(move |id: &str| journal.answered(id, remote.as_deref()))
            }
        };
        stack.open_gateway(ports.gateway, &plan, &terminal, observer(&terminal, answers));
        if options.watch && options.binaries.is_none() {
            let (functions, plans) = (stack.functions.clone(), plan.functions);
            stack.tasks.spawn(watch::watch(options, plans, seen, functions, executables, health));
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

    /// Closes the ports, waits briefly for invocations in flight, and returns when every process has ended.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let mut stopping: JoinSet<()> = self.mappings.drain(..).map(SqsMapping::stop).collect();
        let mq_mappings = self.rabbitmq.as_mut().map(rabbitmq::Running::take_mappings).unwrap_or_default();
        mq_mappings.into_iter().for_each(|mapping| drop(stopping.spawn(mapping.stop())));
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
    }

    fn map(
        &self,
        mapping: &MappingPlan,
        plan: &Plan,
        client: &SqsClient,
        journal: &Journal,
    ) -> Result<Option<SqsMapping>, StackError> {
        let queue = plan.queues.iter().find(|queue| queue.name == mapping.queue);
        let (Some(queue), Some(function)) = (queue, self.functions.get(&mapping.function)) else { return Ok(None) };
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
        let journal = journal.clone();
        let observer = Arc::new(move |event: &_| journal.mapping_event(event));
        let mapping = SqsMapping::start(spec, client.clone(), function.clone(), observer);
        mapping.map(Some).map_err(|error| StackError::Filter { queue: queue.name.clone(), error })
    }

    fn open_gateway(
        &mut self,
        listener: TcpListener,
        plan: &Plan,
        terminal: &Terminal,
        observer: gateway::ExchangeObserver,
    ) {
        self.routes = plan.routes.iter().map(|route| route.key.clone()).collect();
        let integrations = plan.routes.iter().filter_map(|route| {
            let function = self.functions.get(&route.function)?.clone();
            Some((route.key.clone(), Integration { function, timeout: route.timeout }))
        });
        let routes = RouteTable::new(integrations);
        self.tasks.spawn(serve(
            "gateway",
            terminal.clone(),
            gateway::serve(listener, routes, observer, Patience::default()),
        ));
    }
}

/// Runs a server, which ends only if it cannot accept connections any more.
async fn serve(name: &'static str, terminal: Terminal, server: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = server.await {
        terminal.error(format_args!("the {name} port: {error}"));
    }
}

fn emulated(base_url: &str, journal: &Journal) -> Sqs {
    let sqs = Sqs::new(Clock::system(), SqsConfig::default());
    sqs.set_base_url(base_url);
    let journal = journal.clone();
    sqs.observe(Arc::new(move |event| journal.queue_event(event)));
    sqs
}

/// Returns the gateway's observer: prints each answer and passes on the message id of a 202.
fn observer(terminal: &Terminal, answers: Arc<dyn Fn(&str) + Send + Sync>) -> gateway::ExchangeObserver {
    #[derive(Deserialize)]
    struct Accepted {
        id: String,
    }
    let terminal = terminal.clone();
    Arc::new(move |exchange| {
        terminal.request(exchange);
        if exchange.status == StatusCode::ACCEPTED
            && let Ok(Accepted { id }) = serde_json::from_slice(exchange.body)
        {
            answers(&id);
        }
    })
}

/// Prints one line per kind of resource that is not run, and one per property without effect.
fn print_notices(terminal: &Terminal, notices: &[Notice]) {
    let mut not_run: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for notice in notices {
        match notice {
            Notice::NotRun { kind, logical_id, .. } => not_run.entry(kind).or_default().push(logical_id),
            Notice::Ignored { .. } | Notice::StandIn { .. } => terminal.warn(notice),
        }
    }
    for (kind, names) in not_run {
        terminal.line(format_args!("not run locally: {kind} ({})", names.join(", ")));
    }
}
