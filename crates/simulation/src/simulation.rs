//! One simulation, from its seed to what it found.

use std::error::Error;
use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use sluicegate_batch::{AnyStore, MemoryStore};
use sluicegate_envelope::Envelope;
use sluicegate_lambda_emulator::{RabbitmqMapping, SqsMapping, SqsMappingSpec};
use sluicegate_queue::dead_letter::{CODE, REASON, REDRIVES};
use sluicegate_queue::sqs::sdk_config;
use sqs_emulator::{Clock, QueueEvent, Sqs, SqsConfig};
use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::BoxError;
use crate::archiver::{self, PolledArchive};
use crate::client::Client;
use crate::clock::{self, START_UNIX_S, VirtualClock};
use crate::consumer;
use crate::dice::Dice;
use crate::fault::FaultId;
use crate::function::{LocalFunction, variable};
use crate::ingress::IngressFunction;
use crate::log::Outcomes;
use crate::message::{Message, Sender};
use crate::polled_sqs::PolledSqs;
use crate::rabbitmq::{self, Links, Rabbitmq};
use crate::redrive;
use crate::scenario::{MESSAGE_BYTES_MAX, Scenario};
use crate::trace::Trace;
use crate::world::{Only, Queues, World};

/// The queue is empty this long after the last fault and the last request.
const DRAINS_WITHIN: Duration = Duration::from_secs(4 * 3_600);

/// Time between looks at the queue.
const LOOKS_EVERY: Duration = Duration::from_secs(30);

/// How the queue of the archive is read, if it is a standard queue. The window of the template is longer.
const ARCHIVE_BATCH_SIZE: usize = 100;
const ARCHIVE_WINDOW: Duration = Duration::from_secs(10);

const QUEUE_ARN: &str = "arn:aws:sqs:us-east-1:000000000000:";

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The seed of every decision.
    pub seed: u64,
    /// The number of messages.
    pub messages: u32,
    /// Whether the queue is one of RabbitMQ instead of SQS.
    pub is_rabbitmq: bool,
    pub(crate) is_printed: bool,
    pub(crate) only: Only,
}

impl Settings {
    /// Returns the whole simulation of a seed: of every third seed on RabbitMQ, of the others on SQS.
    #[must_use]
    pub fn new(seed: u64, messages: u32) -> Self {
        Self { seed, messages, is_rabbitmq: seed.is_multiple_of(3), is_printed: false, only: Only::default() }
    }

    /// Simulates RabbitMQ if `is_rabbitmq`, or else SQS, whatever the seed.
    #[must_use]
    pub fn on_rabbitmq(mut self, is_rabbitmq: bool) -> Self {
        self.is_rabbitmq = is_rabbitmq;
        self
    }

    /// Writes the schedule to the standard output.
    #[must_use]
    pub fn printed(mut self) -> Self {
        self.is_printed = true;
        self
    }

    /// Sends these messages alone, and lets these faults alone happen.
    ///
    /// # Errors
    /// A fault is not one.
    pub fn only(mut self, messages: Option<Vec<u32>>, faults: Option<Vec<String>>) -> Result<Self, String> {
        self.only.messages = messages.map(|messages| messages.into_iter().collect());
        let parsed = |faults: Vec<String>| {
            faults.iter().filter(|fault| !fault.is_empty()).map(|fault| fault.parse()).collect::<Result<_, _>>()
        };
        self.only.faults = faults.map(parsed).transpose()?;
        Ok(self)
    }
}

/// What a simulation found.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The hash of the schedule.
    pub hash: u64,
    /// Each property that did not hold, with when and what.
    pub violations: Vec<String>,
    /// The messages that were stored on the queue.
    pub stored: u64,
    /// Those that were handled.
    pub handled: u64,
    /// Those in the dead-letter queue.
    pub dead: u64,
    /// The receives of messages.
    pub receives: u64,
    /// The virtual time that passed.
    pub lasted: Duration,
    pub(crate) faults: Vec<FaultId>,
}

impl Run {
    /// Returns how many faults happened.
    #[must_use]
    pub fn faults(&self) -> usize {
        self.faults.len()
    }
}

/// Simulates a seed on this thread.
///
/// # Errors
/// The simulation itself failed, which says nothing about the product.
pub fn run(settings: &Settings) -> Result<Run, BoxError> {
    // On a thread of its own, because the order of a hash table depends on how many were made before it on its thread.
    let settings = settings.clone();
    let simulated = std::thread::spawn(move || {
        clock::repeat_random_bytes();
        // Of the jitter, the tokens and the ids of the product.
        fastrand::seed(settings.seed);
        let links = Links::default();
        let idle = links.clone();
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).on_thread_park(move || idle.run()).build()?;
        LocalSet::new().block_on(&runtime, async {
            let _clock = VirtualClock::start();
            let run = simulate(&settings, &links).await;
            links.release();
            run
        })
    });
    simulated.join().unwrap_or_else(|_| Err("the thread of the simulation panicked".into()))
}

async fn simulate(settings: &Settings, links: &Links) -> Result<Run, BoxError> {
    let dice = Dice::new(settings.seed);
    let scenario = Scenario::new(&dice, settings.messages, settings.is_rabbitmq);
    let queues = create_queues(&scenario, links).await?;
    let trace = Trace::new(settings.is_printed);
    let world = Arc::new(World::new(scenario, dice, settings.only.clone(), trace, queues));
    let scenario = &world.scenario;
    observe(&world);
    let _logged = tracing::subscriber::set_default(Outcomes(Arc::clone(&world)));

    let store = AnyStore::Memory(MemoryStore::default());
    let sdk_config = sdk_config(variable)?;
    let mapping = Mapping::start(&world, consumer::start(&world, store))?;
    let archive = scenario.has_archive.then(|| {
        SqsMapping::start(
            archive_spec(&world),
            PolledArchive(Arc::clone(&world)),
            archiver::start(&world),
            Arc::new(|_| {}),
        )
    });
    let archive = archive.transpose()?;

    let ingress = Arc::new(IngressFunction::new(Arc::clone(&world), scenario.api().contracts()?));
    let started = Instant::now();
    let mut redrives = JoinSet::new();
    for (number, at) in (0..).zip(scenario.redrives.iter().copied()) {
        let redrive = redrive::run(Arc::clone(&world), sdk_config.clone(), number);
        redrives.spawn_local(async move {
            sleep_until(started + at).await;
            redrive.await;
        });
    }
    let mut senders = JoinSet::new();
    for sending in scenario.sendings.iter().filter_map(|sending| sending.only(|message| world.is_sent(message))) {
        sleep_until(started + sending.at).await;
        let other = sending.messages.first().and_then(|number| scenario.messages.get(*number as usize));
        match other.filter(|message| message.sender != Sender::Client) {
            None => {
                let client = Client::new(Arc::clone(&world), Arc::clone(&ingress));
                drop(senders.spawn(client.run(sending)));
            }
            Some(message) => send_by_another(&world, message).await?,
        }
    }
    while let Some(sent) = senders.join_next().await {
        sent??;
    }
    while let Some(redriven) = redrives.join_next().await {
        redriven?;
    }
    let quiet_from = world.now().max(scenario.faults_until);
    let left = loop {
        let left = count_left(&world).await?;
        let now = world.now();
        if now > quiet_from && (left == 0 || now > quiet_from + DRAINS_WITHIN) {
            break left;
        }
        sleep(LOOKS_EVERY).await;
    };
    mapping.stop().await;
    if let Some(archive) = archive {
        archive.stop().await;
    }
    let now = world.now();
    let mut ledger = world.ledger();
    ledger.finished(now, scenario, &world.table(), left);
    let (stored, handled, dead) = ledger.totals();
    let mut run = Run {
        violations: std::mem::take(&mut ledger.violations),
        faults: std::mem::take(&mut ledger.faults),
        receives: ledger.receives,
        stored,
        handled,
        dead,
        lasted: now,
        hash: 0,
    };
    drop(ledger);
    for violation in &run.violations {
        world.record(format_args!("VIOLATED {violation}"));
    }
    run.hash = world.trace().hash();
    match world.take_failure() {
        Some(failure) => Err(failure.into()),
        None => Ok(run),
    }
}

/// Creates the queue and its dead-letter queue.
async fn create_queues(scenario: &Scenario, links: &Links) -> Result<Queues, BoxError> {
    let sqs = Sqs::new(Clock::starting_at(START_UNIX_S * 1_000), SqsConfig::default());
    sqs.set_base_url("http://sqs.simulated");
    let suffix = if scenario.fifo { ".fifo" } else { "" };
    let [name, copies, dead_letters] = ["work", "copies", "dead"].map(|name| format!("{name}{suffix}"));
    let mut attributes = json!({ "MessageRetentionPeriod": "1209600" });
    if scenario.fifo {
        attributes["FifoQueue"] = "true".into();
    }
    sqs.call("CreateQueue", json!({ "QueueName": dead_letters, "Attributes": attributes })).await?;
    let policy = json!({
        "deadLetterTargetArn": format!("{QUEUE_ARN}{dead_letters}"),
        "maxReceiveCount": scenario.receive_count_max,
    });
    if scenario.has_payloads {
        attributes["MaximumMessageSize"] = MESSAGE_BYTES_MAX.to_string().into();
    }
    // AWS: at least six times the timeout of the function, plus the window.
    let visibility = archiver::TIMEOUT * 6 + ARCHIVE_WINDOW;
    attributes["VisibilityTimeout"] = visibility.as_secs().to_string().into();
    sqs.call("CreateQueue", json!({ "QueueName": copies, "Attributes": attributes })).await?;
    attributes["RedrivePolicy"] = policy.to_string().into();
    attributes["VisibilityTimeout"] = scenario.visibility.as_secs().to_string().into();
    let created = sqs.call("CreateQueue", json!({ "QueueName": name, "Attributes": attributes })).await?;
    let url = created["QueueUrl"].as_str().unwrap_or_default().to_owned();
    let rabbitmq = Rabbitmq::new(links.clone(), scenario.fifo, scenario.nack_counts)?;
    Ok(Queues { sqs, url, arn: format!("{QUEUE_ARN}{name}"), rabbitmq })
}

/// The event source mapping of the queue.
enum Mapping {
    Sqs(SqsMapping),
    Rabbitmq(RabbitmqMapping),
}

impl Mapping {
    fn start(world: &Arc<World>, consumer: LocalFunction) -> Result<Self, BoxError> {
        if world.scenario.rabbitmq {
            tokio::spawn(Rabbitmq::expire(Arc::clone(world)));
            tokio::spawn(Rabbitmq::fail(Arc::clone(world)));
            let spec = rabbitmq::mapping_spec(world)?;
            return Ok(Self::Rabbitmq(RabbitmqMapping::start(spec, consumer, Arc::new(|_| {}))?));
        }
        let sqs = PolledSqs::new(Arc::clone(world));
        Ok(Self::Sqs(SqsMapping::start(mapping_spec(world), sqs, consumer, Arc::new(|_| {}))?))
    }

    async fn stop(self) {
        match self {
            Self::Sqs(mapping) => mapping.stop().await,
            Self::Rabbitmq(mapping) => mapping.stop().await,
        }
    }
}

/// Returns the mapping of the queue of the archive.
fn archive_spec(world: &World) -> SqsMappingSpec {
    let scenario = &world.scenario;
    let standard = (ARCHIVE_BATCH_SIZE, ARCHIVE_WINDOW);
    let (batch_size, batching_window) = if scenario.fifo { (10, Duration::ZERO) } else { standard };
    SqsMappingSpec {
        function: "archiver".to_owned(),
        queue_name: world.queue_name().replace("work", "copies"),
        queue_arn: world.queue_arn.replace(":work", ":copies"),
        queue_url: world.copies_url(),
        batch_size,
        batching_window,
        ..mapping_spec(world)
    }
}

fn mapping_spec(world: &World) -> SqsMappingSpec {
    let scenario = &world.scenario;
    SqsMappingSpec {
        function: "consumer".to_owned(),
        queue_name: world.queue_name().to_owned(),
        queue_arn: world.queue_arn.clone(),
        queue_url: world.queue_url.clone(),
        batch_size: scenario.batch_size,
        batching_window: scenario.batching_window,
        maximum_concurrency: Some(scenario.concurrency),
        report_batch_item_failures: true,
        filters: Vec::new(),
        fifo: scenario.fifo,
    }
}

/// Passes the steps of messages to the ledger.
fn observe(world: &Arc<World>) {
    let observed: Weak<World> = Arc::downgrade(world);
    world.sqs.observe(Arc::new(move |event| {
        if let Some(world) = observed.upgrade() {
            step(&world, event);
        }
    }));
}

fn step(world: &World, event: &QueueEvent) {
    let now = world.now();
    let is_work = |queue: &str| queue.starts_with("work");
    match event {
        QueueEvent::Sent { queue, body, attributes, .. } if is_work(queue) && attributes.contains_key(REDRIVES) => {
            let Some(number) = world.number_in(body) else { return };
            world.record(format_args!("redriven {number}"));
            world.ledger().copied_back(number);
        }
        QueueEvent::Sent { queue, body, .. } if is_work(queue) => {
            let number = world.number_in(body);
            world.record(format_args!("stored {number:?}"));
            let group = number.and_then(|number| world.scenario.group(number));
            world.ledger().queued(now, number, group, body);
        }
        QueueEvent::Sent { queue, body, .. } if queue.starts_with("copies") => {
            let number = world.number_in(body);
            world.record(format_args!("copy stored {number:?}"));
            let id = serde_json::from_str::<Event<'_>>(&world.whole(body)).map(|event| event.id.to_owned());
            world.ledger().copy_queued(now, number, &id.unwrap_or_default(), body);
        }
        QueueEvent::Sent { body, attributes, .. } => {
            let Some(number) = world.number_in(body) else { return };
            let attribute = |name: &str| attributes.get(name).map_or("", String::as_str);
            let (code, reason) = (attribute(CODE), attribute(REASON));
            world.record(format_args!("dead {number} {code} {reason}"));
            world.ledger().dead_lettered(now, &world.scenario, number, code, reason);
        }
        QueueEvent::Received { queue, body, receive_count, .. } if is_work(queue) => {
            let Some(number) = world.number_in(body) else { return };
            world.record(format_args!("received {number} {receive_count}"));
            world.ledger().received(now, number);
        }
        QueueEvent::Deleted { queue, body, .. } if is_work(queue) => {
            let Some(number) = world.number_in(body) else { return };
            world.record(format_args!("deleted {number}"));
            world.ledger().deleted(now, number);
        }
        QueueEvent::Deleted { queue, body, .. } if queue.starts_with("copies") => {
            let Some(number) = world.number_in(body) else { return };
            world.record(format_args!("copy deleted {number}"));
            world.ledger().copy_deleted(now, number);
        }
        QueueEvent::Deleted { body, .. } => {
            let Some(number) = world.number_in(body) else { return };
            world.ledger().dead_letter_deleted(now, number);
        }
        QueueEvent::DeadLettered { body, .. } => {
            let Some(number) = world.number_in(body) else { return };
            world.record(format_args!("dead {number} by SQS"));
            world.ledger().dead_lettered_by_the_queue(now, &world.scenario, number);
        }
        QueueEvent::Moved { body, .. } => {
            let Some(number) = world.number_in(body) else { return };
            world.record(format_args!("moved {number}"));
            world.ledger().moved(now, number);
        }
        QueueEvent::Expired { body, .. } => {
            let Some(number) = world.number_in(body) else { return };
            world.ledger().expired(now, number);
        }
        _ => {}
    }
}

/// The part of an event that is read here.
#[derive(Deserialize)]
struct Event<'e> {
    #[serde(borrow)]
    id: &'e str,
}

/// Sends a message as another program does.
async fn send_by_another(world: &World, message: &Message) -> Result<(), BoxError> {
    let payload = message.payload();
    let body = match message.sender {
        Sender::Raw => message.raw(),
        Sender::Undecodable => format!(r#"{{"specversion":"1.0","data":{payload}}}"#),
        Sender::Client | Sender::OtherType => {
            let id = format!("other-{}", message.number);
            let event = Envelope::builder(id, "/other", "other.type").payload(Some("application/json"), payload);
            event.build()?.encode()
        }
    };
    world.ledger().sent_by_another(message.number);
    if world.scenario.rabbitmq {
        let content_type = if message.sender == Sender::Raw { "text/plain" } else { "application/cloudevents+json" };
        world.rabbitmq.send_by_another(world, &format!("other-{}", message.number), content_type, body);
        return Ok(());
    }
    let mut input = json!({ "QueueUrl": world.queue_url, "MessageBody": body });
    if world.scenario.fifo {
        input["MessageGroupId"] = format!("g{}", message.group).into();
        input["MessageDeduplicationId"] = message.number.to_string().into();
    }
    world.sqs.call("SendMessage", input).await?;
    Ok(())
}

/// Returns how many messages are on the queue, in flight or not.
async fn count_left(world: &World) -> Result<u64, BoxError> {
    let copies = if world.scenario.has_archive { count_left_on(world, world.copies_url()).await? } else { 0 };
    if world.scenario.rabbitmq {
        return Ok(world.rabbitmq.left() + copies);
    }
    Ok(count_left_on(world, world.queue_url.clone()).await? + copies)
}

async fn count_left_on(world: &World, queue_url: String) -> Result<u64, BoxError> {
    let names = ["", "NotVisible", "Delayed"].map(|state| format!("ApproximateNumberOfMessages{state}"));
    let input = json!({ "QueueUrl": queue_url, "AttributeNames": names });
    let answer = world.sqs.call("GetQueueAttributes", input).await?;
    let count = |name: &String| answer["Attributes"][name].as_str().and_then(|text| text.parse::<u64>().ok());
    Ok(names.iter().filter_map(count).sum())
}

/// Describes an error with its causes.
pub(crate) fn chain(error: &dyn Error) -> String {
    std::iter::successors(error.source(), |&cause| cause.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
