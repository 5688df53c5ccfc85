//! [`PolledSqs`]: the queue as the event source mapping reaches it, with faults.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use sluicegate_lambda_emulator::SqsApi;
use sqs_emulator::ApiError;
use tokio::time::sleep;

use crate::aws_service::{add_failed, take_entries};
use crate::fault::{Kind, Site};
use crate::world::{Injected, World};

/// The queue. Clones share the receipts.
#[derive(Clone)]
pub(crate) struct PolledSqs {
    world: Arc<World>,
    /// The message of each receipt handle that was not deleted yet.
    receipts: Arc<Mutex<HashMap<String, u32>>>,
}

impl PolledSqs {
    pub(crate) fn new(world: Arc<World>) -> Self {
        Self { world, receipts: Arc::default() }
    }

    fn receipts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.receipts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, input: Value) -> Result<Value, ApiError> {
        let world = &self.world;
        let answer = world.sqs.call("ReceiveMessage", input).await?;
        let received: Vec<(u32, String)> = answer["Messages"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|message| {
                Some((world.number_in(message["Body"].as_str()?)?, message["ReceiptHandle"].as_str()?.to_owned()))
            })
            .collect();
        let Some((first, _)) = received.first() else { return Ok(answer) };
        // An answer without messages can be lost, too, and a call that has no effect is as one that comes later.
        if world.fault(Site::Receive, u64::from(*first)).is_some() {
            for (message, _) in &received {
                world.ledger().touch(*message);
            }
            return Err(unavailable());
        }
        for (message, receipt) in received {
            if let Some(Injected { mut rng, .. }) = world.fault(Site::Early, u64::from(message)) {
                world.ledger().touch(message);
                let after = world.scenario.visibility.mul_f64(rng.f64().powi(3));
                tokio::spawn(run_out(Arc::clone(world), receipt.clone(), after));
            }
            self.receipts().insert(receipt, message);
        }
        Ok(answer)
    }

    async fn delete(&self, mut input: Value) -> Result<Value, ApiError> {
        let world = &self.world;
        let receipts = input["Entries"].as_array().into_iter().flatten();
        let receipts: Vec<String> =
            receipts.filter_map(|entry| Some(entry["ReceiptHandle"].as_str()?.to_owned())).collect();
        let messages: Vec<u32> = {
            let known = self.receipts();
            receipts.iter().filter_map(|receipt| known.get(receipt).copied()).collect()
        };
        let subject = messages.first().map_or(0, |message| u64::from(*message));
        let fault = world.fault(Site::Delete, subject);
        if fault.is_some() {
            for message in messages {
                world.ledger().touch(message);
            }
        }
        let Some(Injected { kind, mut rng }) = fault else {
            let answer = world.sqs.call("DeleteMessageBatch", input).await?;
            let mut known = self.receipts();
            for receipt in receipts {
                known.remove(&receipt);
            }
            return Ok(answer);
        };
        match kind {
            Kind::CutAfter => {
                world.sqs.call("DeleteMessageBatch", input).await?;
                Err(unavailable())
            }
            Kind::Late => {
                sleep(Duration::from_secs(rng.u64(1..5))).await;
                world.sqs.call("DeleteMessageBatch", input).await
            }
            Kind::Partly => {
                let failed = take_entries(&mut input, |_| rng.bool());
                let mut answer = json!({});
                if input["Entries"].as_array().is_some_and(|left| !left.is_empty()) {
                    answer = world.sqs.call("DeleteMessageBatch", input).await?;
                }
                add_failed(&mut answer, failed);
                Ok(answer)
            }
            _ => Err(unavailable()),
        }
    }
}

impl SqsApi for PolledSqs {
    async fn call(&self, action: &str, input: Value) -> Result<Value, ApiError> {
        match action {
            "ReceiveMessage" => self.receive(input).await,
            "DeleteMessageBatch" => self.delete(input).await,
            _ => self.world.sqs.call(action, input).await,
        }
    }
}

/// Makes a received message visible after a time.
async fn run_out(world: Arc<World>, receipt: String, after: Duration) {
    sleep(after).await;
    let input = json!({ "QueueUrl": world.queue_url, "ReceiptHandle": receipt, "VisibilityTimeout": 0 });
    // It may have been deleted.
    let _ = world.sqs.call("ChangeMessageVisibility", input).await;
}

pub(crate) fn unavailable() -> ApiError {
    ApiError::remote("ServiceUnavailable".to_owned(), None, 503, "simulated".to_owned())
}
