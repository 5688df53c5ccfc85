//! [`LocalFunction`]: a function as an event source mapping reaches it, whose environments stay on one thread.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use sluicegate_lambda_emulator::{Invocation, Invoke};
use tokio::sync::{mpsc, oneshot};

use crate::BoxError;
use crate::world::World;

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

/// Returns the end of an invocation whose answer does not arrive.
pub(crate) fn killed() -> Invocation {
    Invocation::FunctionError { payload: Bytes::from_static(b"{\"errorType\":\"Runtime.ExitError\"}") }
}
