//! The consumer function: its execution environments, as the event source mapping invokes them.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use lambda_runtime::LambdaEvent;
use serde::Deserialize;
use serde_json::value::RawValue;
use sluicegate_aws_client::AwsEnvironment;
use sluicegate_batch::{AnyStore, Consumer, DynamoDbStore, IdempotencyRule};
use sluicegate_lambda_emulator::Invocation;
use sluicegate_telemetry::Emitter;
use tokio::time::timeout;

use crate::BoxError;
use crate::aws_service::Caller;
use crate::clock::{Skew, Skewed};
use crate::deploy::Handlers;
use crate::dynamodb::TABLE;
use crate::fault::Site;
use crate::function::{self, Fate, LocalFunction, killed, variable};
use crate::handlers;
use crate::http_server;
use crate::killable::Killable;
use crate::ledger::Ended;
use crate::rabbitmq::{self, Process, Rabbitmq, User};
use crate::s3::BUCKET;
use crate::world::World;

/// The execution environments of the function.
struct Environments {
    world: Arc<World>,
    /// That in memory.
    store: Arc<AnyStore>,
    /// Those that are not in use, the latest last.
    free: RefCell<Vec<Environment>>,
    /// How many were started.
    started: Cell<u64>,
}

struct Environment {
    consumer: Consumer,
    handlers: Handlers,
    skew: Skew,
    /// The number of the invocation.
    invocation: Arc<AtomicU64>,
    process: Process,
}

/// The records of an event, as far as they are read here.
#[derive(Deserialize)]
struct Event<'e> {
    #[serde(borrow, default, rename = "Records")]
    records: Vec<Record<'e>>,
    #[serde(default, rename = "rmqMessagesByQueue")]
    by_queue: BTreeMap<String, Vec<rabbitmq::Record>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'e> {
    #[serde(borrow)]
    message_id: Cow<'e, str>,
    /// As a JSON string, because only the number of the message is read.
    #[serde(borrow)]
    body: &'e RawValue,
}

/// Starts the function on this thread, with a store in memory.
pub(crate) fn start(world: &Arc<World>, store: AnyStore) -> LocalFunction {
    let environments = Environments {
        world: Arc::clone(world),
        store: Arc::new(store),
        free: RefCell::default(),
        started: Cell::new(0),
    };
    LocalFunction::start(world, async move |event| environments.run(event).await)
}

impl Environments {
    /// Starts an environment of the version with these handlers.
    fn start(&self, handlers: Handlers) -> Result<Environment, BoxError> {
        let Self { world, store, .. } = self;
        let scenario = &world.scenario;
        let invocation = Arc::new(AtomicU64::new(0));
        let caller = Caller::Consumer(Arc::clone(&invocation));
        let environment = AwsEnvironment::read(variable)?.with_dialer(http_server::dialer(world, caller));
        let process = Process::default();
        let mut builder = Consumer::builder()
            .on("sim.*", handlers::handler(world, &invocation, handlers))
            .aws_environment(environment.clone())
            .payload_buckets(&environment, [BUCKET])
            .emitter(self.emitter(&invocation))
            .fifo_receive_count_max(scenario.fifo_receive_count_max);
        if scenario.rabbitmq {
            let user = User::Consumer(Arc::clone(&invocation));
            let ordered = scenario.fifo.then_some(rabbitmq::QUEUE);
            builder = builder
                .broker(Rabbitmq::client(world, &process, user)?)
                .receive_count_max(scenario.receive_count_max)
                .ordered_queues(ordered);
        }
        let raw = if scenario.rabbitmq { "rabbitmq.message" } else { "sqs.message" };
        for (is_handled, pattern) in [(handlers.accepts_raw, raw), (handlers.handles_others, "other.type")] {
            if is_handled {
                builder = builder.on(pattern, handlers::handler(world, &invocation, handlers));
            }
        }
        if scenario.has_table || scenario.has_statuses {
            builder = builder.store(Arc::new(AnyStore::DynamoDb(Box::new(DynamoDbStore::new(&environment, TABLE)))));
        } else if scenario.has_store {
            builder = builder.store(Arc::clone(store));
        }
        if scenario.has_store {
            builder = builder.idempotency_for("*", IdempotencyRule::default());
        }
        let number = self.started.replace(self.started.get() + 1);
        let skew = world.skew("consumer-skew", number);
        Ok(Environment { consumer: builder.build()?, handlers, skew, invocation, process })
    }

    /// Returns the emitter of an environment, whose current invocation has the number in `invocation`.
    fn emitter(&self, invocation: &Arc<AtomicU64>) -> Emitter {
        let (world, invocation) = (Arc::clone(&self.world), Arc::clone(invocation));
        Emitter::in_process("consumer", move |lines| {
            let now = world.now();
            world.ledger().counted(now, invocation.load(Ordering::Relaxed), lines);
        })
    }

    async fn run(&self, event: Bytes) -> Result<Invocation, BoxError> {
        let world = &self.world;
        let Event { records, by_queue } = serde_json::from_slice(&event)?;
        let of_sqs = records
            .iter()
            .filter_map(|record| Some((world.number_in(record.body.get())?, record.message_id.clone().into_owned())));
        let of_rabbitmq =
            by_queue.values().flatten().filter_map(|record| Some((record.number()?, record.id().to_owned())));
        let batch: Vec<_> = of_sqs.chain(of_rabbitmq).collect();
        let first = batch.first().map_or(0, |(number, _)| u64::from(*number));
        let numbers: Vec<u32> = batch.iter().map(|(number, _)| *number).collect();
        let now = world.now();
        let number = world.ledger().invoked(now, batch);
        world.record(format_args!("invoke {number} {numbers:?}"));
        let fault = world.fault(Site::Consumer, first);
        if fault.is_some() {
            world.ledger().touch_invocation(number);
        }
        let Some(Fate { is_lost, polls }) = Fate::of(fault) else { return Ok(Invocation::Throttled) };
        let ended = self.invoke_environment(number, event, polls).await?;
        let shown = match &ended {
            Ended::Answered(answer) if !is_lost => {
                format!("returned {}", answer.windows(16).filter(|part| *part == b"\"itemIdentifier\"").count())
            }
            Ended::Answered(_) => "lost".to_owned(),
            Ended::Failed(error) => format!("failed: {error}"),
            Ended::TimedOut => "timed out".to_owned(),
            Ended::Killed => "killed".to_owned(),
        };
        let now = world.now();
        world.record(format_args!("ended {number} {shown}"));
        world.ledger().ended(now, &world.scenario, number, &ended);
        Ok(match ended {
            Ended::Answered(answer) if !is_lost => Invocation::Response(answer),
            Ended::TimedOut => Invocation::TimedOut,
            // The mapping does not read the error.
            Ended::Answered(_) | Ended::Failed(_) | Ended::Killed => killed(),
        })
    }

    async fn invoke_environment(&self, number: u64, event: Bytes, polls: Option<u32>) -> Result<Ended, BoxError> {
        let world = &self.world;
        let handlers = world.scenario.handlers(world.now());
        for ended in self.free.borrow_mut().extract_if(.., |environment| environment.handlers != handlers) {
            ended.process.kill();
        }
        let free = self.free.borrow_mut().pop();
        let environment = match free {
            Some(environment) => environment,
            None => self.start(handlers)?,
        };
        environment.invocation.store(number, Ordering::Relaxed);
        environment.process.thaw().await;
        let limit = world.scenario.consumer_timeout;
        let context = function::context(number.to_string(), environment.skew, limit)?;
        let payload = serde_json::from_slice(&event)?;
        let handling = environment.consumer.handle(LambdaEvent::new(payload, context));
        let ended = match timeout(limit, Killable::new(Skewed::new(handling, environment.skew), polls)).await {
            Ok(Some(Ok(response))) => Ended::Answered(serde_json::to_vec(&response)?.into()),
            Ok(Some(Err(error))) => Ended::Failed(error.to_string()),
            Ok(None) => {
                environment.process.kill();
                return Ok(Ended::Killed);
            }
            Err(_) => {
                environment.process.kill();
                return Ok(Ended::TimedOut);
            }
        };
        environment.process.freeze();
        self.free.borrow_mut().push(environment);
        Ok(ended)
    }
}
