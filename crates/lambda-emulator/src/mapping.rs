//! What the event source mappings of every broker share: the steps they report, the function they invoke, how they stop.

mod backoff;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use crate::environment::Invocation;
use crate::pool::Function;
pub(crate) use backoff::Backoff;

/// A message as a mapping sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedMessage {
    /// The queue's name.
    pub queue: Arc<str>,
    /// The function's name.
    pub function: Arc<str>,
    /// The id that SQS gave it.
    pub message_id: Arc<str>,
    /// Its body.
    pub body: Arc<str>,
    /// How often it has been received, this time included.
    pub receive_count: u32,
}

/// One step in a message's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingEvent {
    /// It is handed to the function.
    Delivered(MappedMessage),
    /// The function worked it off and it is deleted.
    Done(MappedMessage),
    /// The function listed it as failed: it stays in the queue and becomes visible again.
    Returned(MappedMessage),
    /// No filter matches it and it is deleted.
    FilteredOut(MappedMessage),
    /// Nobody listed it, and still it stays in the queue and becomes visible again: its whole batch failed, or deleting it did.
    BatchFailed {
        /// Which message.
        message: MappedMessage,
        /// Why.
        reason: String,
    },
    /// No invocation can ever take it, so it is gone.
    Dropped {
        /// Which message.
        message: MappedMessage,
        /// Why.
        reason: String,
    },
}

impl MappingEvent {
    /// The message it is about.
    #[must_use]
    pub fn message(&self) -> &MappedMessage {
        match self {
            MappingEvent::Delivered(message)
            | MappingEvent::Done(message)
            | MappingEvent::Returned(message)
            | MappingEvent::FilteredOut(message)
            | MappingEvent::BatchFailed { message, .. }
            | MappingEvent::Dropped { message, .. } => message,
        }
    }
}

/// Is told each step. It must be quick.
pub type MappingObserver = Arc<dyn Fn(&MappingEvent) + Send + Sync>;

/// What a mapping invokes.
pub trait Invoke: Clone + Send + Sync + 'static {
    /// Runs the function once with this event.
    fn invoke(&self, event: Bytes) -> impl Future<Output = Invocation> + Send;
}

impl Invoke for Function {
    async fn invoke(&self, event: Bytes) -> Invocation {
        Function::invoke(self, event, None).await
    }
}

/// Tells the tasks of a mapping to come to an end.
#[derive(Clone)]
pub(crate) struct Stop(pub(crate) watch::Receiver<bool>);

impl Stop {
    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for it. Cancel-safe.
    pub(crate) async fn set(&mut self) {
        // An error means that the mapping is gone, which says the same.
        let _ = self.0.wait_for(|stop| *stop).await;
    }
}
