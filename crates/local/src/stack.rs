//! The whole local stack: reads the template, makes the queues, builds and starts the functions, and opens the ports.
//!
//! Everything listens on the loopback address only, and everything ends with the [`Stack`]: no process of a function
//! outlives it. Ports are taken before anything else is done, so that a taken one is told at once.

mod broker;
mod concurrency;
mod place;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use serde::Deserialize;
use sluicegate_lambda_emulator::{
    Concurrency, EndpointError, FilterError, Function, FunctionSpec, RemoteSqs, SqsClient, SqsMapping, SqsMappingSpec,
    StartError,
};
use sluicegate_sam::{Faults, FunctionPlan, MappingPlan, Notice, Plan, REGION, Settings};
use sqs_emulator::{Clock, Sqs, SqsConfig};
use tokio::{net::TcpListener, task::JoinSet};

pub use self::concurrency::{CONCURRENCY_MAX, CONCURRENCY_MIN, concurrency_default};
use crate::{
    admin::{self, Admin, Health},
    aws,
    gateway::{self, Integration, Patience, RouteTable},
    journal::Journal,
    metrics::Metrics,
    rabbitmq::{self, BrokerChoice, BrokerError},
    secrets,
    terminal::Terminal,
    workspace::{self, BuildError, Executable},
};

/// The template's parameter that says what the queues are.
pub const BROKER_PARAMETER: &str = "Broker";
/// The variable that tells functions where RabbitMQ is.
const RABBITMQ_URL: &str = "RABBITMQ_URL";
/// The variable that says which secret has it in the cloud; functions prefer [`RABBITMQ_URL`].
const RABBITMQ_SECRET_ARN: &str = "RABBITMQ_SECRET_ARN";
/// What [`Health`] calls the broker.
const RABBITMQ: &str = "RabbitMQ";
/// How long invocations in flight may go on when the stack stops.
const STOP_PATIENCE: Duration = Duration::from_secs(1);

/// What to run and how.
#[derive(Clone)]
pub struct Options {
    /// The SAM template.
    pub template: PathBuf,
    /// The gateway's port; 0 picks a free one, here and below.
    pub port: u16,
    /// The admin port.
    pub admin_port: u16,
    /// The AWS port; not opened with `endpoint_url`.
    pub aws_port: u16,
    /// LocalStack or another endpoint for SQS and Secrets Manager, instead of the embedded services.
    pub endpoint_url: Option<String>,
    /// A RabbitMQ broker, which the parameter [`BROKER_PARAMETER`] then chooses, too.
    pub rabbitmq: Option<BrokerChoice>,
    /// Build with optimisation.
    pub release: bool,
    /// Stop processes between invocations, as Lambda does.
    pub freeze: bool,
    /// How many environments of a function work at once, unless the template reserves a number. Without it,
    /// [`concurrency_default`].
    pub concurrency: Option<usize>,
    /// Executables by the name of their binary. Given, nothing is built.
    pub binaries: Option<BTreeMap<String, PathBuf>>,
    /// Build again and restart a function when its sources change.
    pub watch: bool,
    /// Values for the template's parameters.
    pub parameters: BTreeMap<String, String>,
    /// Overrides variables that the functions declare; usually the caller's environment.
    pub environment: BTreeMap<String, String>,
    /// Where lines for people go.
    pub terminal: Terminal,
}

/// Why the stack did not start.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// No template.
    #[error("cannot read {}: {source}", path.display())]
    Template {
        /// Its path.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A template with mistakes.
    #[error(transparent)]
    Faults(#[from] Faults),
    /// A port that cannot be had.
    #[error("cannot listen on 127.0.0.1:{port}: {source} (choose another with {flag} PORT; 0 picks a free one)")]
    Port {
        /// The port.
        port: u16,
        /// The option that chooses it.
        flag: &'static str,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The endpoint's URL cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A queue or secret could not be made.
    #[error("cannot create {name}: {reason}")]
    Create {
        /// Which.
        name: String,
        /// What the service said.
        reason: String,
    },
    /// The functions are not built.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A function did not come up.
    #[error("{error}{}", log_tail(&error.log))]
    Start {
        /// Which, and why.
        error: StartError,
    },
    /// RabbitMQ is not there, or not as it has to be.
    #[error(transparent)]
    Rabbitmq(#[from] BrokerError),
    /// A mapping without a broker to map.
    #[error("{function} has MQ events: choose a RabbitMQ broker with --rabbitmq or --rabbitmq-url URL")]
    NoBroker {
        /// The function's name.
        function: String,
    },
    /// A mapping's filter is wrong.
    #[error("the mapping from {queue}: {error}")]
    Filter {
        /// The queue's name.
        queue: String,
        /// What is wrong.
        error: FilterError,
    },
}

fn log_tail(log: &[String]) -> String {
    log.iter().map(|line| format!("\n  | {line}")).collect()
}

/// Where the stack listens. Displayed as one line for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addresses {
    /// The HTTP API.
    pub gateway: String,
    /// Health, timelines and counts.
    pub admin: String,
    /// SQS and Secrets Manager.
    pub aws: String,
    /// RabbitMQ, if one is used; with the password only of a private node.
    pub rabbitmq: Option<String>,
    /// RabbitMQ's management API and page, where they should be; not in the line for scripts.
    pub rabbitmq_management: Option<String>,
}

impl fmt::Display for Addresses {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "gateway={} admin={} aws={}", self.gateway, self.admin, self.aws)?;
        self.rabbitmq.iter().try_for_each(|url| write!(out, " rabbitmq={url}"))
    }
}

/// A running stack.
pub struct Stack {
    addresses: Addresses,
    routes: Vec<String>,
    functions: BTreeMap<String, Function>,
    mappings: Vec<SqsMapping>,
    rabbitmq: Option<broker::Running>,
    /// The servers and the watch; they end with this set.
    tasks: JoinSet<()>,
}

impl Stack {
    /// Starts everything; ready when every function is up.
    ///
    /// # Errors
    /// See [`StackError`]. What was started until then is stopped.
    pub async fn start(options: Options) -> Result<Self, StackError> {
        let terminal = options.terminal.clone();
        let text = std::fs::read_to_string(&options.template)
            .map_err(|source| StackError::Template { path: options.template.clone(), source })?;
        let mut ports = Ports::open(&options).await?;
        let broker = options.rabbitmq.as_ref().map(rabbitmq::Broker::choose).transpose()?;
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
            name_binaries(&options.template, &mut plan.functions).await?;
        }
        tell_notices(&terminal, &plan.notices);
        if let (Some(mapping), None) = (plan.mq_mappings.first(), &broker) {
            return Err(StackError::NoBroker { function: mapping.function.clone() });
        }
        let topology = if broker.is_some() { rabbitmq::read_topology(&options.template)? } else { None };
        terminal.line(&ports.addresses);

        let journal = Journal::new(place::dead_letter_queues(&plan), {
            let terminal = terminal.clone();
            Arc::new(move |id: &str, step: &_| terminal.step(id, step))
        });
        let client = match &options.endpoint_url {
            Some(url) => SqsClient::Remote(RemoteSqs::new(url, REGION)?),
            None => SqsClient::Embedded(embedded(&ports.addresses.aws, &journal)),
        };
        settings.physical = place::create(&client, &plan, options.endpoint_url.as_deref()).await?;
        let functions = std::mem::take(&mut plan.functions);
        let mut plan = Plan::read(&file, &text, &settings)?;
        for (function, named) in plan.functions.iter_mut().zip(functions) {
            function.binary = named.binary;
        }
        place::set_redrive(&client, &plan).await?;

        let mut tasks = JoinSet::new();
        let health = Health::default();
        for function in &plan.functions {
            health.down(&function.name, "it is being built");
        }
        if broker.is_some() {
            health.down(RABBITMQ, "it is starting");
        }
        let queues = plan.queues.iter().map(|queue| (queue.name.clone(), queue.url.clone())).collect();
        let counts = broker.as_ref().map(|broker| broker::counts(broker.endpoint(), topology.as_ref(), &plan));
        let metrics = Metrics::default();
        let admin = Admin {
            health: health.clone(),
            journal: journal.clone(),
            client: client.clone(),
            queues,
            dead_letter_queues: place::dead_letter_queues(&plan),
            rabbitmq: counts,
            metrics: metrics.clone(),
        };
        tasks.spawn(serve("admin", terminal.clone(), admin::serve(ports.admin, admin)));
        if let (Some(listener), SqsClient::Embedded(sqs)) = (ports.aws, &client) {
            let server = aws::serve(listener, sqs.clone(), secrets::lookup(&plan.secrets));
            tasks.spawn(serve("aws", terminal.clone(), server));
        }

        let sources = folders(&options.template, &plan.functions).into_keys();
        let seen = sources.map(|folder| (folder.clone(), workspace::fingerprint(&workspace::root(&folder)))).collect();
        let starting = async {
            match broker {
                Some(broker) => broker::start(broker, topology.as_ref(), &terminal, &journal).await.map(Some),
                None => Ok(None),
            }
        };
        // The node starts while the compiler works.
        let (executables, rabbitmq) = tokio::try_join!(build(&options, &plan.functions), starting)?;
        health.up(RABBITMQ);
        let concurrency = options.concurrency.unwrap_or_else(|| concurrency_default(plan.functions.len()));
        let aws = &ports.addresses.aws;
        let specs = plan.functions.iter().map(|function| spec(function, &executables, aws, &options, concurrency));
        let functions = start_functions(specs.collect(), &terminal, &health, &metrics).await?;
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
                let (journal, elsewhere) = (journal.clone(), options.endpoint_url.clone());
                Arc::new(move |id: &str| journal.answered(id, elsewhere.as_deref()))
            }
        };
        stack.open_gateway(ports.gateway, &plan, &terminal, observer(&terminal, answers));
        if options.watch && options.binaries.is_none() {
            let (functions, plans) = (stack.functions.clone(), plan.functions);
            stack.tasks.spawn(watch::watch(options, plans, seen, functions, executables, health));
        }
        Ok(stack)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The HTTP API's routes, such as `POST /orders`.
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// Closes the ports, gives invocations in flight a moment, and returns when every process is gone.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        let mut stopping: JoinSet<()> = self.mappings.drain(..).map(SqsMapping::stop).collect();
        let mq_mappings = self.rabbitmq.as_mut().map(broker::Running::take_mappings).unwrap_or_default();
        mq_mappings.into_iter().for_each(|mapping| drop(stopping.spawn(mapping.stop())));
        let all = async { while stopping.join_next().await.is_some() {} };
        // What is still in flight after that is aborted with the mappings.
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

    fn open_gateway(&mut self, listener: TcpListener, plan: &Plan, terminal: &Terminal, observer: gateway::Observer) {
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

/// The listeners, opened before anything else.
struct Ports {
    addresses: Addresses,
    gateway: TcpListener,
    admin: TcpListener,
    aws: Option<TcpListener>,
}

impl Ports {
    async fn open(options: &Options) -> Result<Self, StackError> {
        let gateway = listen(options.port, "--port").await?;
        let admin = listen(options.admin_port, "--admin-port").await?;
        let aws = match &options.endpoint_url {
            None => Some(listen(options.aws_port, "--aws-port").await?),
            Some(_) => None,
        };
        let url =
            |listener: &TcpListener| listener.local_addr().map_or_else(|_| String::new(), |at| format!("http://{at}"));
        let elsewhere = options.endpoint_url.as_deref().unwrap_or_default().trim_end_matches('/');
        let addresses = Addresses {
            gateway: url(&gateway),
            admin: url(&admin),
            aws: aws.as_ref().map_or_else(|| elsewhere.to_owned(), url),
            rabbitmq: None,
            rabbitmq_management: None,
        };
        Ok(Self { addresses, gateway, admin, aws })
    }
}

async fn listen(port: u16, flag: &'static str) -> Result<TcpListener, StackError> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpListener::bind(address).await.map_err(|source| StackError::Port { port, flag, source })
}

/// Runs a server; it ends only if it cannot accept connections any more.
async fn serve(name: &'static str, terminal: Terminal, server: impl Future<Output = std::io::Result<()>>) {
    if let Err(error) = server.await {
        terminal.error(format_args!("the {name} port: {error}"));
    }
}

fn embedded(base_url: &str, journal: &Journal) -> Sqs {
    let sqs = Sqs::new(Clock::system(), SqsConfig::default());
    sqs.set_base_url(base_url);
    let journal = journal.clone();
    sqs.observe(Arc::new(move |event| journal.queue_event(event)));
    sqs
}

/// Notes what the gateway answered. A 202 names the message it was given for.
fn observer(terminal: &Terminal, answers: Arc<dyn Fn(&str) + Send + Sync>) -> gateway::Observer {
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

/// Names the binary of each function whose template leaves that to SAM.
async fn name_binaries(template: &Path, functions: &mut [FunctionPlan]) -> Result<(), BuildError> {
    for function in functions.iter_mut().filter(|function| function.binary.is_none()) {
        function.binary = Some(workspace::only_binary(&folder(template, function)).await?);
    }
    Ok(())
}

/// The executable of each function, by the function's name.
async fn build(options: &Options, functions: &[FunctionPlan]) -> Result<BTreeMap<String, PathBuf>, StackError> {
    let mut executables = BTreeMap::new();
    if let Some(binaries) = &options.binaries {
        for function in functions {
            let binary = function.binary.as_deref().unwrap_or(&function.logical_id);
            let path = binaries.get(binary).ok_or_else(|| BuildError::Missing(binary.to_owned()))?;
            executables.insert(function.name.clone(), path.clone());
        }
        return Ok(executables);
    }
    let mut package_of: BTreeMap<PathBuf, String> = BTreeMap::new();
    for (folder, names) in folders(&options.template, functions) {
        options.terminal.line(format_args!("Building {} in {}", names.join(", "), folder.display()));
        let built = workspace::build(&folder, &names, options.release).await?;
        for Executable { path, package } in built.values() {
            if package_of.insert(path.clone(), package.clone()).is_some_and(|other| other != *package) {
                return Err(BuildError::SamePath { path: path.clone() }.into());
            }
        }
        executables.extend(of_functions(&options.template, functions, &folder, &built));
    }
    Ok(executables)
}

/// The executables of the functions that are built in `folder`, by the functions' names.
fn of_functions<'a>(
    template: &'a Path,
    functions: &'a [FunctionPlan],
    folder: &'a Path,
    built: &'a BTreeMap<String, Executable>,
) -> impl Iterator<Item = (String, PathBuf)> + 'a {
    let here = functions.iter().filter(move |function| self::folder(template, function) == folder);
    here.filter_map(|function| Some((function.name.clone(), built.get(function.binary.as_deref()?)?.path.clone())))
}

/// The folder a function is built in.
fn folder(template: &Path, function: &FunctionPlan) -> PathBuf {
    let base = template.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // `./.` and `.` are one folder, and so one build.
    base.join(&function.code_uri).components().collect()
}

/// The binaries to build, by the folder to build them in.
fn folders(template: &Path, functions: &[FunctionPlan]) -> BTreeMap<PathBuf, Vec<String>> {
    let mut folders: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    for function in functions {
        folders.entry(folder(template, function)).or_default().extend(function.binary.clone());
    }
    folders.into_iter().map(|(folder, names)| (folder, names.into_iter().collect())).collect()
}

fn spec(
    function: &FunctionPlan,
    executables: &BTreeMap<String, PathBuf>,
    aws: &str,
    options: &Options,
    unreserved: usize,
) -> Result<FunctionSpec, StackError> {
    let missing = || BuildError::Missing(function.binary.clone().unwrap_or_default());
    let binary = executables.get(&function.name).ok_or_else(missing)?;
    let mut environment = function.environment.clone();
    environment.entry("AWS_ENDPOINT_URL".to_owned()).or_insert_with(|| aws.to_owned());
    Ok(FunctionSpec {
        name: function.name.clone(),
        arn: function.arn.clone(),
        // A process starts in another folder, so a relative path would lead nowhere.
        binary: std::path::absolute(binary).unwrap_or_else(|_| binary.clone()),
        environment,
        memory_mb: function.memory_mb,
        timeout: function.timeout,
        concurrency: match function.reserved_concurrency {
            Some(reserved) => Concurrency::Reserved(reserved),
            None => Concurrency::Unreserved(unreserved),
        },
        freeze: options.freeze,
    })
}

/// All at once; the first that does not come up ends the others.
async fn start_functions(
    specs: Vec<Result<FunctionSpec, StackError>>,
    terminal: &Terminal,
    health: &Health,
    metrics: &Metrics,
) -> Result<BTreeMap<String, Function>, StackError> {
    let mut starting = JoinSet::new();
    for spec in specs {
        let (spec, terminal, health, metrics) = (spec?, terminal.clone(), health.clone(), metrics.clone());
        health.down(&spec.name, "it is starting");
        starting.spawn(async move {
            let name = spec.name.clone();
            let log = {
                let metrics = metrics.clone();
                Arc::new(move |function: &str, line: &str| match metrics.take(line) {
                    true => {}
                    false => terminal.function(function, line),
                })
            };
            match Function::start(spec, log).await {
                Ok(function) => {
                    metrics.function(&name, function.counts());
                    health.up(&name);
                    Ok((name, function))
                }
                Err(error) => Err(StackError::Start { error }),
            }
        });
    }
    let mut functions = BTreeMap::new();
    while let Some(started) = starting.join_next().await {
        // A task that panicked is a function that is not there; its routes and mappings are missed at once.
        if let Ok(started) = started {
            functions.extend([started?]);
        }
    }
    Ok(functions)
}

/// One line per kind of thing that is not run, one per property without effect.
fn tell_notices(terminal: &Terminal, notices: &[Notice]) {
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
