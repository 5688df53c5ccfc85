//! [`LocalFunction`]: a function as an event source mapping reaches it, whose environments stay on one thread. And what
//! all functions have: variables, a context, and a fate.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use lambda_runtime::Context;
use sluicegate_lambda_emulator::{Invocation, Invoke};
use tokio::sync::{mpsc, oneshot};

use crate::BoxError;
use crate::clock::Skew;
use crate::fault::Kind;
use crate::world::{Injected, World};

/// A function. Clones share its environments.
///
/// The environments are in a task that stays on this thread, because the future of a batch cannot move to another.
#[derive(Clone)]
pub(crate) struct LocalFunction {
    world: Arc<World>,
    invocations: mpsc::UnboundedSender<(Bytes, oneshot::Sender<Invocation>)>,
}

impl LocalFunction {
    /// Starts a function on this thread. `run` is one invocation; its error is one of the simulation itself.
    pub(crate) fn start<R>(world: &Arc<World>, run: R) -> Self
    where
        R: AsyncFn(Bytes) -> Result<Invocation, BoxError> + 'static,
    {
        let (invocations, mut invoked) = mpsc::unbounded_channel::<(Bytes, oneshot::Sender<Invocation>)>();
        let (run, of_run) = (Rc::new(run), Arc::clone(world));
        tokio::task::spawn_local(async move {
            while let Some((event, ended)) = invoked.recv().await {
                let (run, world) = (Rc::clone(&run), Arc::clone(&of_run));
                tokio::task::spawn_local(async move {
                    let invocation = run(event).await.unwrap_or_else(|error| {
                        world.failed(&*error);
                        killed()
                    });
                    // The mapping may have ended.
                    let _ = ended.send(invocation);
                });
            }
        });
        Self { world: Arc::clone(world), invocations }
    }
}

impl Invoke for LocalFunction {
    async fn invoke(&self, event: Bytes) -> Invocation {
        let (ended, end) = oneshot::channel();
        let invoked = self.invocations.send((event, ended));
        match end.await {
            Ok(invocation) if invoked.is_ok() => invocation,
            _ => {
                self.world.failed(&*BoxError::from("the function has ended"));
                killed()
            }
        }
    }
}

/// Returns the context of an invocation that may last for `limit`, by the clock of its environment.
pub(crate) fn context(request_id: String, skew: Skew, limit: Duration) -> Result<Context, BoxError> {
    let mut context = Context::default();
    context.request_id = request_id;
    let deadline = (skew.now() + limit).duration_since(SystemTime::UNIX_EPOCH)?;
    context.deadline = u64::try_from(deadline.as_millis())?;
    Ok(context)
}

/// What a fault does to an invocation.
pub(crate) struct Fate {
    /// Whether its answer is lost.
    pub(crate) is_lost: bool,
    /// After how many polls it is killed.
    pub(crate) polls: Option<u32>,
}

impl Fate {
    /// Returns what a fault does; `None` if the invocation does not start.
    pub(crate) fn of(fault: Option<Injected>) -> Option<Self> {
        match fault {
            Some(Injected { kind: Kind::Throttled, .. }) => None,
            Some(Injected { kind: Kind::Killed, mut rng }) => {
                Some(Self { is_lost: false, polls: Some(rng.u32(0..60)) })
            }
            Some(_) => Some(Self { is_lost: true, polls: None }),
            None => Some(Self { is_lost: false, polls: None }),
        }
    }
}

/// Returns the end of an invocation whose answer does not arrive.
pub(crate) fn killed() -> Invocation {
    Invocation::FunctionError { payload: Bytes::from_static(b"{\"errorType\":\"Runtime.ExitError\"}") }
}

/// Returns the variables of the functions.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = match name {
        "AWS_REGION" => "us-east-1",
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "simulated",
        "AWS_ENDPOINT_URL" => "http://sqs.simulated",
        _ => return None,
    };
    Some(value.to_owned())
}
