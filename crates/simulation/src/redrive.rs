//! The redrive of dead letters while everything goes on: by the dead-letter tool, which is killed and started again, or
//! by a message move task of SQS, which is cancelled; on RabbitMQ by a shovel.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sluicegate_dlq::sqs::{SqsDeadLetterQueue, VISIBILITY_DEFAULT};
use sluicegate_dlq::{CancellationToken, DeadLetterQueue as _, Error, Filter, Redrive, redrive};
use sluicegate_queue::sqs::SdkConfig;
use tokio::time::sleep;

use crate::aws_service::Caller;
use crate::fault::Site;
use crate::killable::Killable;
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
    if world.scenario.rabbitmq {
        return world.rabbitmq.redrive(&world);
    }
    if !world.scenario.has_tool {
        return move_task(&world).await;
    }
    let mut rng = world.dice.about("redrive", number);
    for _ in 0..STARTS_MAX {
        let http_client = sdk::http_client(&world, &Caller::Tool(number));
        let config = sdk_config.to_builder().http_client(http_client).build();
        let fault = world.fault(Site::Tool, number);
        let polls = fault.map(|mut killed| killed.rng.u32(0..AWAITS_MAX));
        match Killable::new(tool(&world, &config), polls).await {
            Some(Ok(done)) => return world.record(format_args!("redrive {number} ended after {done}")),
            Some(Err(error)) => world.record(format_args!("redrive {number} failed: {error}")),
            None => {
                world.record(format_args!("redrive {number} killed"));
                world.ledger().touch_dead_letters();
            }
        }
        sleep(START_AGAIN_MAX.mul_f64(rng.f64())).await;
    }
}

/// Runs the tool once; returns how many messages it has redriven.
async fn tool(world: &World, config: &SdkConfig) -> Result<u64, Error> {
    let queue = SqsDeadLetterQueue::open(config, &world.dead_letter_arn(), VISIBILITY_DEFAULT).await?;
    let filter = Filter::default();
    let order = Redrive { filter: &filter, to: None, rate: None, limit: None, dry_run: false };
    let report = redrive(&queue, &order, &CancellationToken::new(), &|_| {}).await;
    queue.release().await?;
    match report.broke {
        Some(error) => Err(error),
        None => Ok(report.done),
    }
}

async fn move_task(world: &World) {
    let input = json!({ "SourceArn": world.dead_letter_arn(), "DestinationArn": world.queue_arn });
    // Refused while another runs.
    let Ok(task) = world.sqs.call("StartMessageMoveTask", input).await else { return };
    sleep(MOVE_LASTS).await;
    // It may have ended.
    let _ = world.sqs.call("CancelMessageMoveTask", json!({ "TaskHandle": task["TaskHandle"] })).await;
}
