//! The common parts of event source mappings: the events they report, the function they invoke.

mod backoff;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
mod invoke;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;

use crate::environment::Invocation;
use crate::pool::Function;
pub(crate) use backoff::Backoff;
#[cfg(feature = "rabbitmq")]
pub(crate) use invoke::InvokeError;
#[cfg(any(feature = "kafka", feature = "rabbitmq"))]
pub(crate) use invoke::invoke;

/// The largest event of a synchronous invocation, in bytes.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub(crate) const EVENT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// A message in a mapping's event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedMessage {
    /// The queue's name.
    pub queue: Arc<str>,
    /// The function's name.
    pub function: Arc<str>,
    /// The broker's message id.
    pub message_id: Arc<str>,
    /// Its body.
    pub body: Arc<str>,
    /// The number of receives, this one included.
    pub receive_count: u32,
}

/// The queue and function names, shared by every message of a mapping.
#[derive(Debug)]
pub(crate) struct MappingNames {
    pub(crate) queue: Arc<str>,
    pub(crate) function: Arc<str>,
}

impl MappingNames {
    pub(crate) fn new(queue: &str, function: &str) -> Self {
        Self { queue: queue.into(), function: function.into() }
    }

    /// Returns a message of the mapping.
    pub(crate) fn message(&self, message_id: &Arc<str>, body: &Arc<str>, receive_count: u32) -> MappedMessage {
        MappedMessage {
            queue: Arc::clone(&self.queue),
            function: Arc::clone(&self.function),
            message_id: Arc::clone(message_id),
            body: Arc::clone(body),
            receive_count,
        }
    }
}

/// One step of a message through a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MappingEvent {
    /// It was sent to the function.
    Delivered(MappedMessage),
    /// The function processed it and it is deleted.
    Done(MappedMessage),
    /// The function listed it as failed: it stays in the queue and becomes visible again.
    Returned(MappedMessage),
    /// No filter matches it and it is deleted.
    FilteredOut(MappedMessage),
    /// It stays in the queue and becomes visible again, because its whole batch or its deletion failed.
    BatchFailed {
        /// The message.
        message: MappedMessage,
        /// The reason.
        reason: String,
    },
    /// It is given up and stored at a destination of the mapping.
    DeadLettered {
        /// The message.
        message: MappedMessage,
        /// The name of the queue or topic.
        destination: String,
        /// The reason.
        reason: String,
    },
    /// It is too large for an event, or given up without a destination, and is dropped.
    Dropped {
        /// The message.
        message: MappedMessage,
        /// The reason.
        reason: String,
    },
}

impl MappingEvent {
    /// Returns the message of the event.
    #[must_use]
    pub fn message(&self) -> &MappedMessage {
        match self {
            MappingEvent::Delivered(message)
            | MappingEvent::Done(message)
            | MappingEvent::Returned(message)
            | MappingEvent::FilteredOut(message)
            | MappingEvent::BatchFailed { message, .. }
            | MappingEvent::DeadLettered { message, .. }
            | MappingEvent::Dropped { message, .. } => message,
        }
    }
}

/// Receives each event. It must return quickly.
pub type MappingObserver = Arc<dyn Fn(&MappingEvent) + Send + Sync>;

/// A function that a mapping can invoke.
pub trait Invoke: Clone + Send + Sync + 'static {
    /// Invokes the function once with this event.
    fn invoke(&self, event: Bytes) -> impl Future<Output = Invocation> + Send;
}

impl Invoke for Function {
    async fn invoke(&self, event: Bytes) -> Invocation {
        Function::invoke(self, event, None).await
    }
}
