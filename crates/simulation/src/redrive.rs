//! The redrive of dead letters while everything goes on: by the dead-letter tool, which is killed and started again, or
//! by a message move task of SQS, which is cancelled; on RabbitMQ by a shovel.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluicegate_dlq::rabbitmq::RabbitmqDeadLetterQueue;
use sluicegate_dlq::sqs::{SqsDeadLetterQueue, VISIBILITY_DEFAULT};
use sluicegate_dlq::{CancellationToken, DeadLetterQueue, Error, Filter, Redrive, redrive};
use sluicegate_queue::sqs::SdkConfig;
use sluicegate_topology::Address;
use tokio::time::sleep;

use crate::aws_service::Caller;
use crate::fault::Site;
use crate::killable::Killable;
use crate::rabbitmq::{DEAD_LETTERS, Process, Rabbitmq, URL, User};
use crate::sdk;
use crate::world::World;

/// How long a message move task lasts. Messages that are rejected again would be moved for ever.
const MOVE_LASTS: Duration = Duration::from_millis(200);

/// How often the tool is started for one redrive, at most.
const STARTS_MAX: u32 = 4;

/// The awaits of the tool, of which it may be killed at one.
const AWAITS_MAX: u32 = 400;

/// The longest time between two starts of the tool. Messages of a killed one are hidden for a minute.
const START_AGAIN_MAX: Duration = Duration::from_secs(120);

/// Moves the messages in the dead-letter queue back. `number` is that of the redrive in its scenario.
pub(crate) async fn run(world: Arc<World>, sdk_config: SdkConfig, number: u64) {
    world.record(format_args!("redrive {number}"));
    match (world.scenario.has_tool, world.scenario.rabbitmq) {
        (true, true) => tool(&world, number, || of_rabbitmq(&world)).await,
        (true, false) => tool(&world, number, || of_sqs(&world, &sdk_config, number)).await,
        (false, true) => world.rabbitmq.shovel(&world),
        (false, false) => move_task(&world).await,
    }
}

/// Starts the tool until it has ended by itself. `run` runs it once, and returns how many messages it has redriven.
async fn tool<F: Future<Output = Result<u64, Error>>>(world: &World, number: u64, run: impl Fn() -> F) {
    let mut rng = world.dice.about("redrive", number);
    for _ in 0..STARTS_MAX {
        let fault = world.fault(Site::Tool, number);
        // Most often at one of the first awaits, because a run may have few.
        let polls = fault.map(|mut killed| killed.rng.u32(0..AWAITS_MAX)).map(|most| rng.u32(0..=most));
        match Killable::new(run(), polls).await {
            Some(Ok(done)) => return world.record(format_args!("redrive {number} ended after {done}")),
            Some(Err(error)) => {
                world.record(format_args!("redrive {number} failed: {error}"));
                world.ledger().redrive_failed(world.now(), &world.scenario, &error.to_string());
            }
            None => {
                world.record(format_args!("redrive {number} killed"));
                world.ledger().touch_dead_letters();
            }
        }
        sleep(START_AGAIN_MAX.mul_f64(rng.f64())).await;
    }
}

async fn of_sqs(world: &Arc<World>, sdk_config: &SdkConfig, number: u64) -> Result<u64, Error> {
    let http_client = sdk::http_client(world, &Caller::Tool(number));
    let config = sdk_config.to_builder().http_client(http_client).build();
    all_of(&SqsDeadLetterQueue::open(&config, &world.dead_letter_arn(), VISIBILITY_DEFAULT).await?).await
}

async fn of_rabbitmq(world: &Arc<World>) -> Result<u64, Error> {
    let address = Address::parse(URL).map_err(|error| Error::Broker(error.to_string()))?;
    // Its connections end with it.
    let process = Ends(Process::default());
    let dialer = Rabbitmq::dialer(world, &process.0, User::Tool);
    all_of(&RabbitmqDeadLetterQueue::open_in_process(&address, DEAD_LETTERS, dialer).await?).await
}

/// A process that is killed when it is dropped.
struct Ends(Process);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Redrives all messages of a queue.
async fn all_of(queue: &impl DeadLetterQueue) -> Result<u64, Error> {
    let filter = Filter::default();
    let order = Redrive { filter: &filter, to: None, rate: None, limit: None, dry_run: false };
    let report = redrive(queue, &order, &CancellationToken::new(), &|_| {}).await;
    let released = queue.release().await;
    report.broke.map_or(released, Err).map(|()| report.done)
}

async fn move_task(world: &World) {
    let input = json!({ "SourceArn": world.dead_letter_arn(), "DestinationArn": world.queue_arn });
    // Refused while another runs.
    let Ok(task) = world.sqs.call("StartMessageMoveTask", input).await else { return };
    sleep(MOVE_LASTS).await;
    // It may have ended.
    let _ = world.sqs.call("CancelMessageMoveTask", json!({ "TaskHandle": task["TaskHandle"] })).await;
}
