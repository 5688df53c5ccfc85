//! The handlers of the consumer, which do what the workload says about each message.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sluicegate_batch::{Delivery, Outcome};
use tokio::time::sleep;

use crate::deploy::Handlers;
use crate::effect;
use crate::ledger::{Decision, NEW_VERSION, REJECTION};
use crate::message::{Behaviour, Sender, number_in};
use crate::world::World;

type Handling = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Returns the handler of an environment with these handlers, whose current invocation has the number in `invocation`.
pub(crate) fn handler(
    world: &Arc<World>,
    invocation: &Arc<AtomicU64>,
    handlers: Handlers,
) -> impl Fn(Arc<Delivery>) -> Handling + Send + Sync + use<> {
    let (world, invocation) = (Arc::clone(world), Arc::clone(invocation));
    move |delivery| {
        let (world, invocation) = (Arc::clone(&world), invocation.load(Ordering::Relaxed));
        Box::pin(async move { handle(world, invocation, handlers, &delivery).await })
    }
}

/// A call of a handler. Dropped without a decision, the handler was cancelled or has panicked.
struct Call {
    world: Arc<World>,
    invocation: u64,
    message: u32,
    decision: Decision,
}

impl Drop for Call {
    fn drop(&mut self) {
        let Self { invocation, message, decision, .. } = *self;
        let scenario = &self.world.scenario;
        let group = scenario.group(message);
        let now = self.world.now();
        self.world.record(format_args!("handled {message} {decision:?}"));
        self.world.ledger().decided(now, invocation, message, group, decision);
    }
}

async fn handle(world: Arc<World>, invocation: u64, handlers: Handlers, delivery: &Delivery) -> Outcome {
    let payload = delivery.envelope().payload();
    let text = String::from_utf8_lossy(&payload);
    let Some(message) = number_in(&text).and_then(|number| world.scenario.messages.get(number as usize)) else {
        let now = world.now();
        world.ledger().invented(now, &text);
        return Outcome::Done;
    };
    let (number, behaviour) = (message.number, message.behaviour);
    let expected = if message.sender == Sender::Raw { message.raw() } else { message.payload() };
    let now = world.now();
    let calls = {
        let mut ledger = world.ledger();
        if expected != text {
            ledger.payload_differs(now, number);
        }
        ledger.delivered(now, number, delivery.envelope().id());
        if let Some(lease) = delivery.lease() {
            ledger.claimed(lease.key(), number);
        }
        let is_once = world.scenario.has_store && world.scenario.keeps_its_key(number);
        ledger.called(now, is_once, world.scenario.skew_max.is_zero(), number)
    };
    let has_effects = world.scenario.has_effects;
    let mut call = Call { world, invocation, message: number, decision: Decision::Ended };
    let (decision, outcome) = match behaviour {
        _ if handlers.rejects && number % 2 == 0 => {
            (Decision::Rejected, Outcome::reject(NEW_VERSION, "the payload is not of version 2"))
        }
        Behaviour::Succeeds { after_ms: 0 } => (Decision::Done, Outcome::Done),
        Behaviour::Succeeds { after_ms } => {
            sleep(Duration::from_millis(after_ms)).await;
            (Decision::Done, Outcome::Done)
        }
        Behaviour::FailsFirst { times } if calls < times => (Decision::Failed, failure()),
        Behaviour::Poison => (Decision::Failed, failure()),
        Behaviour::Rejects => (Decision::Rejected, Outcome::reject(REJECTION, "simulated rejection")),
        // Without the hook that prints panics.
        Behaviour::Panics { times } if calls < times => std::panic::resume_unwind(Box::new("simulated")),
        Behaviour::Waits { delay_s } if calls == 0 => {
            let delay = Duration::from_secs(delay_s);
            (Decision::Waits(delay), Outcome::RetryAfter(delay))
        }
        Behaviour::Hangs if calls == 0 => pending().await,
        _ => (Decision::Done, Outcome::Done),
    };
    let (decision, outcome) = match decision {
        Decision::Done if has_effects => {
            match delivery.complete_with(vec![effect::write(number, invocation, calls)]).await {
                Ok(()) => (decision, outcome),
                Err(error) => (Decision::Failed, Outcome::Failed(error.to_string())),
            }
        }
        _ => (decision, outcome),
    };
    call.decision = decision;
    outcome
}

fn failure() -> Outcome {
    Outcome::Failed("simulated failure".to_owned())
}
