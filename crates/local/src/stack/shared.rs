//! The parts that the servers, functions and mappings of a stack share, and the servers that use them.

use std::{sync::Arc, time::Instant};

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use sluicegate_lambda_emulator::{RemoteSqs, SqsClient};
use sluicegate_sam::{REGION, StackPlan};
use sqs_emulator::{Clock, Sqs, SqsConfig};
use tokio::net::TcpListener;

use super::{Addresses, error::StackError, options::Options, provision};
use crate::{
    activity::Activity,
    admin::{self, Actions, Admin, Health, PublishedDocument},
    aws,
    broker_faults::BrokerFaults,
    contract_facts::ContractFacts,
    dynamodb::{self, DynamoDb},
    function_lines::FunctionLines,
    gateway,
    journal::Journal,
    kafka::TopicCounts,
    mappings::Mappings,
    metrics::Metrics,
    project::{ApiClient, WatchedProject},
    queue_history::QueueHistory,
    queues::Queues,
    rabbitmq::QueueCounts,
    running_functions::RunningFunctions,
    s3::S3,
    secrets,
    terminal::Terminal,
};

/// The brokers' names in [`Health`].
const RABBITMQ: &str = "RabbitMQ";
const KAFKA: &str = "Kafka";

/// The shared parts. Each of them is a cheap clone.
pub(super) struct Shared {
    pub(super) terminal: Terminal,
    pub(super) journal: Journal,
    pub(super) client: SqsClient,
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) mappings: Mappings,
    pub(super) functions: RunningFunctions,
    pub(super) faults: BrokerFaults,
    activity: Activity,
    pub(super) lines: FunctionLines,
    secrets: Map<String, Value>,
    /// `None` if the template has no table, or the options have an endpoint.
    pub(super) dynamodb: Option<DynamoDb>,
    s3: S3,
    published: Vec<PublishedDocument>,
    contract: ContractFacts,
    project: Option<WatchedProject>,
}

impl Shared {
    /// Creates the shared parts for a plan. Unless the options have an endpoint, SQS is emulated and queue URLs start
    /// with `aws`.
    pub(super) fn new(options: &Options, plan: &StackPlan, aws: &str) -> Result<Self, StackError> {
        let terminal = options.terminal.clone();
        let s3 = S3::new(options.archive.clone());
        let (activity, lines) = (Activity::default(), FunctionLines::default());
        let journal = Journal::new(provision::dead_letter_queues(plan), s3.clone(), {
            let (terminal, activity) = (terminal.clone(), activity.clone());
            Arc::new(move |id: &str, step: &_| {
                activity.record(id, step, Instant::now());
                terminal.step(id, step);
            })
        });
        let client = match &options.endpoint_url {
            Some(url) => SqsClient::Remote(RemoteSqs::new(url, REGION)?),
            None => SqsClient::Emulated(emulated(aws, &journal)),
        };
        let dynamodb = match (plan.tables.first(), &options.endpoint_url) {
            (Some(table), None) => {
                let none = || StackError::NoDynamoDb { table: table.name.clone() };
                Some(DynamoDb::start().ok_or_else(none)?)
            }
            _ => None,
        };
        Ok(Self {
            terminal,
            journal,
            client,
            health: Health::default(),
            metrics: Metrics::default(),
            functions: RunningFunctions::new(lines.clone()),
            lines,
            mappings: Mappings::default(),
            faults: BrokerFaults::default(),
            activity,
            secrets: options.secrets.clone(),
            dynamodb,
            s3,
            published: options.published.clone(),
            contract: options.contract.clone(),
            project: options.contract.project.clone().map(|project| WatchedProject::new(project, &options.template)),
        })
    }

    /// Creates the tables of the plan.
    pub(super) async fn create_tables(&self, plan: &StackPlan, endpoint_url: Option<&str>) -> Result<(), StackError> {
        let created = dynamodb::create(&plan.tables, self.dynamodb.as_ref(), endpoint_url).await;
        created.map_err(|(name, source)| StackError::Create { name: format!("table {name}"), source })
    }

    /// Creates the buckets of the plan.
    pub(super) async fn create_buckets(&self, plan: &StackPlan, endpoint_url: Option<&str>) -> Result<(), StackError> {
        let created = self.s3.create(&plan.buckets, endpoint_url).await;
        created.map_err(|(name, source)| StackError::Create { name: format!("bucket {name}"), source })
    }

    /// Marks every part that has not started as not running.
    pub(super) fn mark_down(&self, plan: &StackPlan, options: &Options) {
        self.functions.expect(plan.functions.iter().map(|function| function.name.as_str()));
        for function in &plan.functions {
            self.health.down(&function.name, "being built");
        }
        if options.rabbitmq.is_some() {
            self.health.down(RABBITMQ, "starting");
        }
        if options.kafka.is_some() {
            self.health.down(KAFKA, "starting");
        }
    }

    /// Marks the broker as running.
    pub(super) fn mark_broker_up(&self) {
        self.health.up(RABBITMQ);
        self.health.up(KAFKA);
    }

    /// Returns what the admin port and the status line show.
    pub(super) fn admin(
        &self,
        plan: &StackPlan,
        addresses: &Addresses,
        rabbitmq: Option<QueueCounts>,
        kafka: Option<TopicCounts>,
    ) -> Admin {
        let sqs = plan.queues.iter().map(|queue| (queue.name.clone(), queue.url.clone())).collect();
        let dead_letter_queues = provision::dead_letter_queues(plan);
        let queues = Queues::new(self.client.clone(), &addresses.aws, sqs, dead_letter_queues, rabbitmq, kafka);
        let history = QueueHistory::new(queues.clone(), self.activity.clone());
        Admin {
            health: self.health.clone(),
            journal: self.journal.clone(),
            actions: Actions {
                queues,
                history: history.clone(),
                mappings: self.mappings.clone(),
                functions: self.functions.clone(),
                health: self.health.clone(),
                faults: self.faults.clone(),
                api: ApiClient::new(&addresses.gateway),
                project: self.project.clone(),
            },
            metrics: self.metrics.clone(),
            lines: self.lines.clone(),
            published: self.published.clone().into(),
            contract: self.contract.clone(),
        }
    }

    /// Returns the server of the admin port.
    pub(super) fn serve_admin(&self, listener: TcpListener, admin: Admin) -> impl Future<Output = ()> + Send + 'static {
        let history = admin.actions.history.clone();
        let server = serve("admin", self.terminal.clone(), admin::serve(listener, admin));
        async move {
            tokio::select! { () = server => {}, () = history.sample() => {} }
        }
    }

    /// Returns the server of the AWS port, if SQS is emulated.
    pub(super) fn aws(
        &self,
        listener: Option<TcpListener>,
        plan: &StackPlan,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let (Some(listener), SqsClient::Emulated(sqs)) = (listener, &self.client) else { return None };
        let secrets = secrets::lookup(&plan.secrets, &self.secrets);
        let server = aws::serve_with_faults(
            listener,
            sqs.clone(),
            secrets,
            self.dynamodb.clone(),
            self.s3.clone(),
            self.faults.clone(),
        );
        Some(serve("aws", self.terminal.clone(), server))
    }

    /// Returns the gateway's observer: prints each answer and passes on the message id of a 202.
    pub(super) fn observer(&self, answers: Arc<dyn Fn(&str) + Send + Sync>) -> gateway::ExchangeObserver {
        #[derive(Deserialize)]
        struct Accepted {
            id: String,
        }
        let (terminal, journal) = (self.terminal.clone(), self.journal.clone());
        Arc::new(move |exchange| {
            terminal.request(exchange);
            journal.exchanged(exchange);
            if exchange.status == StatusCode::ACCEPTED
                && let Ok(Accepted { id }) = serde_json::from_slice(exchange.body)
            {
                answers(&id);
            }
        })
    }

    /// Returns the journal's function that records the ids of 202 answers.
    pub(super) fn answers(&self, endpoint_url: Option<String>) -> Arc<dyn Fn(&str) + Send + Sync> {
        let journal = self.journal.clone();
        Arc::new(move |id: &str| journal.answered(id, endpoint_url.as_deref()))
    }
}

/// Runs a server, which ends only when it cannot accept connections.
pub(super) async fn serve(name: &'static str, terminal: Terminal, server: impl Future<Output = std::io::Result<()>>) {
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
